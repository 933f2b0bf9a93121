"""One running application a test, and one database as two transactions see it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from server.logs import OURS
from storage.db import Database
from tests.emulators.stripe import StripeEmulator
from tests.postgres import Server
from tests.server.rig import Rig, running, settings
from tests.storage.world import migrated


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(settings(tmp_path)) as started:
        yield started


@pytest.fixture
async def stripe() -> AsyncIterator[StripeEmulator]:
    """An emulated Stripe that listens; its events go nowhere until it is told where."""
    async with StripeEmulator() as emulator:
        yield emulator


@pytest.fixture(params=["sqlite", "postgresql"])
async def two_nodes(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Database, Database]]:
    """One migrated database: of one process on SQLite, of two on PostgreSQL."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path / 'test.db'}"
            migrated(url)
            one = Database.open(url)
            pair = (one, one)
        else:
            server: Server = request.getfixturevalue("postgres")
            url = stack.enter_context(server.fresh_database(prepare=migrated))
            pair = (Database.open(url), Database.open(url))
        yield pair
        for database in set(pair):
            await database.aclose()


@pytest.fixture
async def postgres_pair(postgres: Server) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' worth of connections to one PostgreSQL database."""
    with postgres.fresh_database(prepare=migrated) as url:
        pair = (Database.open(url), Database.open(url))
        yield pair
        for database in pair:
            await database.aclose()


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in OURS]
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in ours:
        logger.setLevel(logging.NOTSET)
    structlog.reset_defaults()
