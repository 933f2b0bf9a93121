"""Bringing a database up to date: one Alembic chain for both databases, prices and personas included.

Any number of processes may start at once: one of them migrates in one transaction, the others wait and find
nothing left to do.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, inspect, text

import migrations
from storage.db import Database, database_url, postgres_engine, translated
from storage.lockfile import private_dir

# Any number will do, so long as nothing else on that database uses it.
_ADVISORY_LOCK = 0x63616C6C6D65
_NAMED = re.compile(r'^(revision|down_revision) = "?(\w+)"?$', re.MULTILINE)
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


def _missing(connection: Connection) -> int:
    if _version(connection) == latest():
        return 0
    from storage import migrate_by_alembic

    return migrate_by_alembic.missing(connection)


def _upgrade(connection: Connection) -> int:
    if _version(connection) == latest():
        return 0
    from storage import migrate_by_alembic

    return migrate_by_alembic.upgrade(connection)


def _version(connection: Connection) -> str:
    """The version the database has; "" for one of none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def latest() -> str:
    """The version no other builds on, as the files of the chain say. `ValueError` where it is not one chain."""
    folder = Path(next(iter(migrations.__path__)), "versions")
    found = [dict(_NAMED.findall(path.read_text(encoding="utf-8"))) for path in folder.glob("[0-9]*.py")]
    newest: str
    (newest,) = {one["revision"] for one in found} - {one["down_revision"] for one in found}
    return newest


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
