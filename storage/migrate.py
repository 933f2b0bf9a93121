"""Bringing a database up to date: one Alembic chain for both databases, prices and personas included.

Any number of processes may start at once: one of them migrates in one transaction, the others wait and find
nothing left to do.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text

import migrations
from storage.db import Database, database_url, postgres_engine, translated
from storage.lockfile import private_dir

# Any number will do, so long as nothing else on that database uses it.
_ADVISORY_LOCK = 0x63616C6C6D65
_PATIENCE = {"timezone": "UTC", "lock_timeout": "60000", "application_name": "callmeback migrate"}


async def migrate(url: str) -> int:
    """Applies what is missing; how many versions that was. Raises `storage.db.DatabaseDown`."""
    return await _on_latest(url, apply=True)


async def pending(url: str) -> int:
    """How many versions are missing. Changes nothing, but an absent SQLite file comes to be."""
    return await _on_latest(url, apply=False)


async def _on_latest(url: str, *, apply: bool) -> int:
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        async with _file_lock(parsed):
            database = Database.open(url)
            try:
                async with database.write() as tx:
                    return await tx.run_sync(_upgrade if apply else _missing)
            finally:
                await database.aclose()
    engine = postgres_engine(parsed, _PATIENCE)
    try:
        with translated():
            async with engine.begin() as tx:
                await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                return await tx.run_sync(_upgrade if apply else _missing)
    finally:
        await engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(migrations.__path__)))).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _missing(connection: Connection) -> int:
    here = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    return sum(1 for _ in scripts.iterate_revisions("head", here or "base"))


def _upgrade(connection: Connection) -> int:
    missing = _missing(connection)
    if missing:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return missing


@asynccontextmanager
async def _file_lock(url: URL) -> AsyncIterator[None]:
    """Beside the database: the switch to the write-ahead log happens outside any transaction."""
    path = Path(f"{url.database}.migrate.lock")
    private_dir(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
