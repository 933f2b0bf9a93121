"""Where each running node is reached by the others, and whether it takes calls."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from storage.db import Tx, insert
from storage.nodes import is_alive
from storage.tables import nodes


async def announce(tx: Tx, node: str, url: str, version: str, now: datetime) -> None:
    """This node is reached at `url`, an origin. The row may be there already, for its signs of life."""
    row = insert(tx, nodes).values(boot_id=node, url=url, version=version, started_at=now, heartbeat_at=now)
    known = {"url": url, "version": version, "draining": False}
    await tx.execute(row.on_conflict_do_update(index_elements=["boot_id"], set_=known))


async def withdraw(tx: Tx, node: str) -> None:
    """This node is not reached any more."""
    await tx.execute(update(nodes).where(nodes.c.boot_id == node).values(url="", draining=True))


async def url_of(tx: Tx, node: str) -> str | None:
    """Where a node is reached; None for one that does not run."""
    url = (await tx.execute(select(nodes.c.url).where(nodes.c.boot_id == node))).scalar_one_or_none()
    return url if url and await is_alive(tx, node) else None


async def drain(tx: Tx, node: str) -> bool:
    """Note that a node is to take no new calls, or takes none; False when nobody knows it."""
    done = await tx.execute(update(nodes).where(nodes.c.boot_id == node).values(draining=True))
    return done.rowcount == 1


async def drain_at(tx: Tx, url: str) -> int:
    """The same for the nodes that are reached there: the latest one, and what is left of dead ones."""
    return (await tx.execute(update(nodes).where(nodes.c.url == url).values(draining=True))).rowcount


async def is_draining(tx: Tx, node: str) -> bool:
    query = select(nodes.c.draining).where(nodes.c.boot_id == node)
    return bool((await tx.execute(query)).scalar_one_or_none())
