"""Which nodes are running, so that the calls of those that are not can be settled. Decides nothing about calls.

On PostgreSQL a node holds a session lock named after it, which the database drops with the connection, also
after kill -9. On SQLite one process serves, as `storage.lockfile` sees to: every other node is dead.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage.db import Database, Tx, translated

_KEEP_ALIVE = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""Seconds, seconds, probes: a machine that vanished is taken for dead within half a minute."""

# Taken and given back in one statement, or it would be held by whoever asks.
_ALIVE = text("SELECT CASE WHEN pg_try_advisory_lock(:key) THEN NOT pg_advisory_unlock(:key) ELSE true END")


class NodeLock:
    """The sign of life of one node."""

    def __init__(self, database: Database, node: str) -> None:
        self.node = node
        self._database = database
        self._key = _key(node)
        self._connection: Tx | None = None

    async def take(self) -> None:
        """Hold the lock, on a new connection where the old one is gone. Raises `DatabaseDown`.

        To be repeated every few seconds: a restart of the database takes all locks away.
        """
        if self._database.dialect == "sqlite":
            return
        held = False
        try:
            with translated():
                if self._connection is None:
                    self._connection = await self._database.session()
                    await self._lock(self._connection)
                await self._connection.execute(text("SELECT 1"))
            held = True
        finally:
            if not held:
                await self.release()

    async def _lock(self, connection: Tx) -> None:
        for setting in _KEEP_ALIVE:
            await connection.execute(text(f"SET {setting}"))
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": self._key})

    async def release(self) -> None:
        """Let go. The connection is really closed: a pooled one would go on holding the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                await connection.invalidate()
            await connection.close()


@asynccontextmanager
async def hold_node(database: Database, node: str) -> AsyncIterator[NodeLock]:
    """This node runs for as long as the block does. Raises `DatabaseDown` when that cannot be said."""
    lock = NodeLock(database, node)
    await lock.take()
    try:
        yield lock
    finally:
        await lock.release()


async def is_alive(tx: Tx, node: str) -> bool:
    """Whether another node than this one runs. A false yes is possible while two ask at once, a false no never
    but for the moments after the database was restarted."""
    if tx.dialect.name == "sqlite":
        return False
    return bool((await tx.execute(_ALIVE, {"key": _key(node)})).scalar_one())


def _key(node: str) -> int:
    """A number for the lock; the words keep it apart from other uses of such locks."""
    digest = hashlib.sha256(f"callmeback node {node}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
