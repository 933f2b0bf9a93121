"""Every storage test runs twice: on a SQLite file and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.db import Database
from tests.storage.world import NUMBER_KEY


@pytest.fixture
def url(migrated_url: str) -> str:
    """A migrated database of one's own."""
    return migrated_url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database nothing was done to yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'test.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url)
    opened.number_key.value = NUMBER_KEY
    yield opened
    await opened.aclose()
