"""Joins this node to the others: the bus, the switchboard, relays, and the desk that reaches any call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from server.auth import signing_ring
from server.desk import Desk
from server.inbound.reception import Reception
from server.nodes.anywhere import Anywhere
from server.nodes.bus import Bus, LocalBus, PostgresBus
from server.nodes.following import Following, Forwarding
from server.nodes.passes import Passes
from server.nodes.relay import Connect, Relays, over_the_network
from server.nodes.switchboard import Switchboard
from server.openapi import VERSION
from server.parts import Parts
from server.privacy.erasing import Erasing
from storage import addresses
from storage.db import DatabaseDown

log = structlog.get_logger()


@asynccontextmanager
async def among_nodes(parts: Parts, desk: Desk, node: str, reception: Reception) -> AsyncIterator[Anywhere]:
    """The desk of one node, joined to those of the others for as long as the block runs."""
    database, clock, news = parts.database, parts.clock, parts.news
    bus, connect = _ways(parts, node)
    passes = Passes(signing_ring(parts.settings), node, clock)
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        following, forwarding = Following(database, bus, news, tasks), Forwarding(bus, news, clock)
        switchboard = Switchboard(
            node=node, desk=desk, database=database, clock=clock, news=news, following=following,
            forwarding=forwarding, stop=lambda: parts.begin_drain(),  # noqa: PLW0108  # set once it serves
        )  # fmt: skip
        for running in (bus.run(switchboard), switchboard.run(), forwarding.run()):
            stack.callback(tasks.create_task(running).cancel)
        if database.dialect == "postgresql":
            erasing = Erasing(database, clock, parts.settings.calls_dir)
            stack.callback(tasks.create_task(erasing.run()).cancel)
        relays = Relays(passes, tasks, connect)
        async with database.write() as tx:
            await addresses.announce(tx, node, parts.settings.node_url, VERSION, clock.utc())
        try:
            yield Anywhere(
                desk=desk, bus=bus, database=database, clock=clock, passes=passes, relays=relays,
                following=following, reception=reception,
            )  # fmt: skip
        finally:
            following.abandon()
            relays.abandon()
            await forwarding.once()
            await _withdraw(parts, node)


def _ways(parts: Parts, node: str) -> tuple[Bus, Connect]:
    """How this node's words and sound get to the others."""
    if parts.neighbours is not None:
        return parts.neighbours.bus(node), parts.neighbours.connect
    if parts.database.dialect == "sqlite":
        return LocalBus(node), over_the_network
    return PostgresBus(node, parts.database, parts.clock), over_the_network


async def _withdraw(parts: Parts, node: str) -> None:
    try:
        async with parts.database.write() as tx:
            await addresses.withdraw(tx, node)
    except DatabaseDown as error:  # the others find out: its sign of life is gone
        log.warning("node_not_withdrawn", retryable=error.retryable)
