"""Every storage test runs twice: on a SQLite file and on PostgreSQL, each a copy of a database migrated once."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.db import Database
from tests.postgres import Server
from tests.storage.world import migrated


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrated(f"sqlite:///{path}")
    return path


def sqlite_copy(template: Path, path: Path) -> str:
    shutil.copyfile(template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of one's own."""
    if request.param == "sqlite":
        yield sqlite_copy(request.getfixturevalue("sqlite_template"), tmp_path / "test.db")
    else:
        server: Server = request.getfixturevalue("postgres")
        with server.fresh_database(prepare=migrated) as postgres:
            yield postgres


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
    yield opened
    await opened.aclose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """For what only SQLite does."""
    return sqlite_copy(sqlite_template, tmp_path / "test.db")


@pytest.fixture
async def postgres_pair(postgres: Server) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' worth of connections to one PostgreSQL database, for what only PostgreSQL does."""
    with postgres.fresh_database(prepare=migrated) as url:
        pair = (Database.open(url), Database.open(url))
        yield pair
        for database in pair:
            await database.aclose()


@pytest.fixture
async def two(url: str) -> AsyncIterator[tuple[Database, Database]]:
    """One database as two processes see it; SQLite has but one that writes."""
    one = Database.open(url)
    other = one if one.dialect == "sqlite" else Database.open(url)
    yield one, other
    for database in {one, other}:
        await database.aclose()
