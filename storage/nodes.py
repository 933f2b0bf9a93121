"""Which nodes are running, so that the calls of those that are not can be taken over. Decides nothing about calls.

Two signs of life. A node's *lease* is its row in `nodes`, renewed every few seconds and judged by the database's
own clock as an interval: it runs out for a process that hangs or is frozen as well as for one that is gone. On
PostgreSQL a node also holds a *session lock* named after it, which the database drops with the connection: it tells
at once, also after kill -9, that a process is gone, where a lease would tell only seconds later. On SQLite one process
serves, as `storage.lockfile` sees to: every other node is dead. (Only where several share the file within one process,
as in a simulation, somebody else tells: `LIVES`.)
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from sqlalchemy import ColumnElement, Float, cast, delete, extract, func, select, text
from sqlalchemy.exc import DBAPIError

from storage.columns import UtcNow
from storage.db import Database, DatabaseDown, Tx, insert, translated
from storage.tables import nodes

LEASE_S = 10.0
"""A node that did not renew its lease for so long, by the database's clock, may have its calls taken over."""
KEPT_S = 86_400.0
"""Rows of nodes that stopped renewing are kept for a day, for whoever looks into what happened."""

LIVES = "callmeback_lives"
"""An execution option of SQLite's engines: a function that tells of a node whether its process is there."""

_KEEP_ALIVE = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""Seconds, seconds, probes: a machine that vanished is taken for dead within half a minute."""

# Taken and given back in one statement, or it would be held by whoever asks.
_ALIVE = text("SELECT CASE WHEN pg_try_advisory_lock(:key) THEN NOT pg_advisory_unlock(:key) ELSE true END")


class NodeLock:
    """The session lock of one node."""

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
    """This node runs for as long as the block does. Raises `DatabaseDown` when that cannot be said.

    Left in good order, the node is dead to others at once.
    """
    lock = NodeLock(database, node)
    await lock.take()
    try:
        async with database.write() as tx:
            await renew(tx, node)
        yield lock
        with suppress(DatabaseDown):  # then its lease runs out by itself
            async with database.write() as tx:
                await tx.execute(delete(nodes).where(nodes.c.boot_id == node))
    finally:
        await lock.release()


async def renew(tx: Tx, node: str, engines: str = "") -> None:
    """The node lives now, by the database's clock: its lease begins anew. `engines`: how they are, for others."""
    said = {"heartbeat_at": UtcNow(), "engines": engines}
    row = insert(tx, nodes).values(boot_id=node, **said)
    await tx.execute(row.on_conflict_do_update(index_elements=["boot_id"], set_=said))


async def forget_old(tx: Tx) -> None:
    """Nodes that are long gone leave the table."""
    await tx.execute(delete(nodes).where(_age(tx) > KEPT_S))


async def expired(tx: Tx, owners: Iterable[str], lease_s: float = LEASE_S) -> set[str]:
    """Those of the nodes whose lease has run out. A node without a row never had one, or gave it back."""
    asked = set(owners)
    if not asked:
        return set()
    # A clock that was set back by a little makes leases longer; one that jumped makes them worthless.
    living = select(nodes.c.boot_id).where(nodes.c.boot_id.in_(asked), func.abs(_age(tx)) <= lease_s)
    return asked - {row.boot_id for row in await tx.execute(living)}


async def is_alive(tx: Tx, node: str) -> bool:
    """Whether another node's process is there. A false yes is possible while two ask at once, and for one that is
    frozen or whose machine vanished; a false no never but for the moments after the database was restarted."""
    if tx.dialect.name == "sqlite":
        told = _told(tx)
        return told is not None and told(node)
    return bool((await tx.execute(_ALIVE, {"key": _key(node)})).scalar_one())


def one_process(tx: Tx) -> bool:
    """Whether this process alone serves the database, so that whatever another one has begun is abandoned."""
    return tx.dialect.name == "sqlite" and _told(tx) is None


def _told(tx: Tx) -> Callable[[str], bool] | None:
    options = {} if tx.sync_connection is None else tx.sync_connection.get_execution_options()
    told: Callable[[str], bool] | None = options.get(LIVES)
    return told


def _age(tx: Tx) -> ColumnElement[float]:
    """Seconds since the latest heartbeat."""
    if tx.dialect.name == "sqlite":
        days = func.julianday("now") - func.julianday(nodes.c.heartbeat_at)
        return cast(days * 86_400.0, Float)
    return cast(extract("epoch", func.clock_timestamp() - nodes.c.heartbeat_at), Float)


def _key(node: str) -> int:
    """A number for the lock; the words keep it apart from other uses of such locks."""
    digest = hashlib.sha256(f"callmeback node {node}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
