"""Fixtures: migrated databases of one's own, each a copy of one that was migrated once in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.db import Database
from tests.postgres import Server
from tests.storage.world import NUMBER_KEY, migrated

Pair = tuple[Database, Database]


@pytest.fixture
def migrated_sqlite(tmp_path: Path) -> str:
    """Its URL."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)
    return url


@pytest.fixture
def migrated_postgres(postgres: Server) -> Iterator[str]:
    """Its URL."""
    with postgres.fresh_database(prepare=migrated) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """The test runs on both."""
    return str(request.getfixturevalue(f"migrated_{'sqlite' if request.param == 'sqlite' else 'postgres'}"))


@pytest.fixture
async def postgres_pair(migrated_postgres: str) -> AsyncIterator[Pair]:
    """Two processes' worth of connections to one PostgreSQL database, for what only PostgreSQL does."""
    one, other = Database.open(migrated_postgres), Database.open(migrated_postgres)
    one.number_key.value = other.number_key.value = NUMBER_KEY
    yield one, other
    for database in (one, other):
        await database.aclose()


@pytest.fixture
async def two_nodes(migrated_url: str) -> AsyncIterator[Pair]:
    """One database as two processes see it; SQLite has but one that writes."""
    one = Database.open(migrated_url)
    other = one if one.dialect == "sqlite" else Database.open(migrated_url)
    one.number_key.value = other.number_key.value = NUMBER_KEY
    yield one, other
    for database in {one, other}:
        await database.aclose()
