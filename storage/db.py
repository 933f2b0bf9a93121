"""Connections and transactions. What a database driver raises becomes `DatabaseDown` here and nowhere else.

SQLite has one writer connection: a lock in this process hands it out, `BEGIN IMMEDIATE` keeps other processes
(the command line tools) out, and it alone checkpoints. Readers are `query_only` and see one snapshot.
PostgreSQL writes at READ COMMITTED, since every statement that matters is a conditional update, and reads one
read-only snapshot.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiosqlite
from sqlalchemy import URL, Connection, Table, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from pipeline.core.errors import CallMeBackError
from storage.columns import Unstorable
from storage.turnstile import Turnstile

Tx = AsyncConnection
"""A connection inside a transaction that the caller opened and will end."""

NUMBER_KEY = "callmeback_number_key"
"""An execution option of the engines: the `NumberKey` that `storage/number_hashes.py` hashes with."""


@dataclass(slots=True)
class NumberKey:
    """Filled in once, at the start (`server/number_key.py`); None before, and then no number is looked for."""

    value: bytes | None = field(default=None, repr=False)


BUSY_MS = 5_000
READERS = 4
POSTGRES_LIMITS = {
    "statement_timeout": "2000",
    "lock_timeout": "1000",
    "idle_in_transaction_session_timeout": "5000",
    "timezone": "UTC",
    "application_name": "callmeback",
}

# SQLite result codes (https://www.sqlite.org/rescode.html): BUSY, LOCKED, IOERR, FULL, CANTOPEN, PROTOCOL may
# pass; NOMEM, READONLY, CORRUPT, NOTADB will not by themselves.
_PASSING_CODES = frozenset({5, 6, 10, 13, 14, 15})
_LASTING_CODES = frozenset({7, 8, 11, 26})
# SQLSTATE classes and states of PostgreSQL: connection, resources, operator intervention, lock,
# serialization, deadlock.
_PASSING_STATES = ("08", "53", "57", "58", "55P03", "40001", "40P01", "25P03", "25P04")


class DatabaseDown(CallMeBackError):
    """The database cannot serve this now. `retryable` says whether the same may work a moment later.

    After a lost answer to COMMIT the transaction may have been carried out; every write in this package can
    be repeated.
    """

    def __init__(self, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.retryable = retryable


def database_url(url: str) -> URL:
    """The URL with the driver used here. `ValueError` for anything but a SQLite file or PostgreSQL."""
    parsed = make_url(url)
    backend = "postgresql" if parsed.drivername == "postgres" else parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+asyncpg")
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.query:
            raise ValueError("SQLite is served from a plain file: sqlite+aiosqlite:///path")
        return parsed.set(drivername="sqlite+aiosqlite")
    raise ValueError(f"the database is SQLite or PostgreSQL, not {backend}")


class Database:
    """One database. Opening it does no I/O; the first transaction connects."""

    def __init__(self, url: URL, *, checkpoint: bool) -> None:
        self._file = url.database if url.get_backend_name() == "sqlite" else None
        # Waiting for the one writer takes no timer, as waiting for the pool would: tests run on virtual time.
        self._turnstile = Turnstile()
        self.number_key = NumberKey()
        if self._file is not None:
            self._writer = _sqlite_engine(
                url, size=1, begin="BEGIN IMMEDIATE", pragmas=_writer_pragmas(checkpoint)
            )
            self._reader = _sqlite_engine(
                url, size=READERS, begin="BEGIN", pragmas=("PRAGMA query_only = ON",)
            )
        else:
            self._writer = postgres_engine(url, POSTGRES_LIMITS)
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        options = {NUMBER_KEY: self.number_key}
        self._writer = self._writer.execution_options(**options)
        self._reader = self._reader.execution_options(**options)

    @classmethod
    def open(cls, url: str, checkpoint: bool = True) -> Database:
        """`checkpoint=False` for a process beside the server, which alone folds the write-ahead log in."""
        return cls(database_url(url), checkpoint=checkpoint)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return "postgresql" if self._file is None else "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A snapshot. Nothing can be written in it."""
        with translated():
            async with self._reader.connect() as tx, tx.begin():
                yield tx

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Tx]:
        """One transaction, committed at the end and rolled back on any error.

        `urgent`: somebody is on the line and hears how long this takes. On SQLite it goes before all others that
        wait for the one writer.
        """
        with translated():
            if self._file is None:
                async with self._writer.begin() as tx:
                    yield tx
            else:
                async with self._turnstile.passing(urgent=urgent), self._writer.begin() as tx:
                    yield tx

    async def session(self) -> Tx:
        """A connection of one's own, outside any transaction: for PostgreSQL's session locks. To be closed."""
        with translated():
            connection = await self._writer.connect()
            return await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def scrub(self) -> None:
        """Leaves nothing of deleted rows in SQLite's files: free pages are given back, the log is folded in and cut.

        Rewrites the file, so it takes as long as the database is large, and no write goes on meanwhile.
        PostgreSQL does this by itself, in its own time (autovacuum). Raises `DatabaseDown` while a reader holds on.
        """
        if self._file is None:
            return
        with translated():
            async with self._turnstile.passing(), self._writer.connect() as connection:
                # Outside any transaction, which the engine would open: a file is packed in one of its own.
                driver = (await connection.get_raw_connection()).driver_connection
                assert isinstance(driver, aiosqlite.Connection)
                try:
                    await driver.execute_fetchall("VACUUM")
                    ((busy, *_),) = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                except sqlite3.Error as error:
                    raise DatabaseDown(type(error).__name__, retryable=True) from error
        if busy:
            raise DatabaseDown("the log could not be folded in", retryable=True)

    async def aclose(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()


def postgres_engine(url: URL, settings: dict[str, str]) -> AsyncEngine:
    arguments = {"server_settings": settings, "timeout": 5, "command_timeout": 10}
    return create_async_engine(
        url, pool_size=8, max_overflow=8, pool_timeout=5, pool_pre_ping=True, hide_parameters=True,
        connect_args=arguments,
    )  # fmt: skip


def _writer_pragmas(checkpoint: bool) -> tuple[str, ...]:
    return (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA secure_delete = ON",
        f"PRAGMA wal_autocheckpoint = {1000 if checkpoint else 0}",
    )


def _sqlite_engine(url: URL, size: int, begin: str, pragmas: tuple[str, ...]) -> AsyncEngine:
    engine = create_async_engine(
        url, poolclass=AsyncAdaptedQueuePool, pool_size=size, max_overflow=0, pool_timeout=BUSY_MS / 1000,
        hide_parameters=True,
    )  # fmt: skip
    always = (f"PRAGMA busy_timeout = {BUSY_MS}", "PRAGMA foreign_keys = ON")

    def connected(connection: Any, _record: object) -> None:
        # The driver's own opening of transactions is switched off: it would be deferred, and a deferred
        # transaction that reads first fails when it then writes beside another writer.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*always, *pragmas):
            cursor.execute(pragma)
        cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    def connecting(_dialect: object, _record: object, where: list[str], _options: object) -> None:
        # A new file is its owner's only; SQLite gives its log and index the same mode. One that exists is not
        # opened here: closing it would drop the locks this process has on it.
        with suppress(OSError):
            os.close(os.open(where[0], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        # The driver leaves a thread behind when a file cannot be opened, so that is found out first.
        sqlite3.connect(where[0]).close()

    event.listen(engine.sync_engine, "do_connect", connecting)
    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)
    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turns a driver's errors into `DatabaseDown` where the database is at fault; others pass as they are."""
    try:
        yield
    except DBAPIError as error:
        if (retryable := _may_pass(error)) is None:
            raise
        raise DatabaseDown(type(error.orig).__name__, retryable=retryable) from error
    except StatementError as error:
        if isinstance(error.orig, Unstorable):
            raise error.orig from None
        raise
    except (PoolTimeout, OSError) as error:  # a TimeoutError is an OSError
        raise DatabaseDown(type(error).__name__, retryable=True) from error


def _may_pass(error: DBAPIError) -> bool | None:
    """Whether a later try may work; None when the statement itself is wrong."""
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        primary = code & 0xFF
        return True if primary in _PASSING_CODES else False if primary in _LASTING_CODES else None
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        return True if state.startswith(_PASSING_STATES) else None
    return None


def insert(tx: Tx, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that knows ON CONFLICT."""
    return sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)
