"""Opens what live calls need: engines, the flush, the desk, and the tasks in which calls run."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from pipeline.core.money import parse_usd
from pipeline.engines.base import Tokens
from pipeline.engines.breaker import State
from pipeline.engines.loading import EngineLoader, Watching
from pipeline.ports import Engines
from server.anywhere import Anywhere
from server.app import SIMULATED_SENDER
from server.auth import signing_ring
from server.bus import Bus, LocalBus, PostgresBus
from server.casting import TOKENS, pinned
from server.desk import Desk
from server.engines import chosen
from server.erasing import Erasing
from server.flush import Flush
from server.following import Following, Forwarding
from server.metrics import ENGINE_BREAKERS, ENGINES_DOWN, TOKENS_LOST
from server.openapi import VERSION
from server.parts import Parts, Placing
from server.passes import Passes
from server.recovery import Orphans
from server.relay import Relays
from server.switchboard import Switchboard
from storage import addresses, pricing
from storage.db import DatabaseDown
from storage.nodes import hold_node

log = structlog.get_logger()

OnProgress = Callable[[str, bool], None]


def log_progress(name: str, done: bool) -> None:
    log.info("engine_loaded" if done else "engine_loading", engine=name)


def _engine_changed(name: str, state: State) -> None:
    log.warning("engine_state", engine=name, state=state.value)
    ENGINES_DOWN.labels(name).set(state is not State.CLOSED)


def _tokens_lost(model: str, tokens: Tokens) -> None:
    TOKENS_LOST.labels(model).inc(tokens.uncached + tokens.cached + tokens.out)


async def _price_own_models(parts: Parts) -> None:
    """The price list learns what the operator says of models it does not know."""
    settings = parts.settings
    async with parts.database.write() as tx:
        for model, dollars in zip(settings.llm_model, settings.llm_price_usd, strict=False):
            nanos = [parse_usd(part) for part in dollars.split("/")]
            prices = list(zip(TOKENS, nanos, strict=True))
            if await pricing.set_own(tx, model, prices, parts.clock.utc(), settings.price_list):
                log.info("model_priced", model=model, dollars_a_million=dollars)


WATCHING = Watching(_engine_changed, _tokens_lost)


@asynccontextmanager
async def open_desk(
    parts: Parts, engines: Engines | None, on_progress: OnProgress = log_progress
) -> AsyncIterator[Placing]:
    """The desk of a running server. Raises `Unpriced` or `EngineError` before any call is taken.

    On the way out calls still on are left to the next start, and the last charges are written.
    """
    async with AsyncExitStack() as stack:
        if engines is None:
            models = EngineLoader(chosen(parts.settings), on_progress, WATCHING)
            engines = await stack.enter_async_context(models.open())
            ENGINE_BREAKERS.watch(models.breakers)
        await _price_own_models(parts)
        async with parts.database.read() as tx:
            pinned(await pricing.current(tx, parts.clock.utc(), parts.settings.price_list), engines)
        node = secrets.token_hex(8)
        lock = await stack.enter_async_context(hold_node(parts.database, node))
        orphans = Orphans(parts.database, parts.carrier, parts.clock, parts.settings.calls_dir, lock)
        if found := await orphans.settle_all():
            log.warning("orphans_settled", calls=found)
        flush = Flush(parts.database, parts.clock, parts.news, node)
        async with asyncio.TaskGroup() as tasks:
            flushing = tasks.create_task(flush.run())
            desk = Desk(
                settings=parts.settings,
                clock=parts.clock,
                database=parts.database,
                carrier=parts.carrier,
                news=parts.news,
                engines=engines,
                flush=flush,
                tasks=tasks,
                node=node,
                sender=parts.settings.twilio_phone_number or SIMULATED_SENDER,
            )
            looking = tasks.create_task(orphans.run(desk.conducts))
            try:
                async with _among_nodes(parts, desk, node) as anywhere:
                    yield anywhere
            finally:
                desk.abandon()
                looking.cancel()
                flushing.cancel()
                await flush.once()


@asynccontextmanager
async def _among_nodes(parts: Parts, desk: Desk, node: str) -> AsyncIterator[Anywhere]:
    """The desk of one node, joined to those of the others for as long as the block runs."""
    database, clock, news = parts.database, parts.clock, parts.news
    bus: Bus = LocalBus(node) if database.dialect == "sqlite" else PostgresBus(node, database, clock)
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
        relays = Relays(passes, tasks)
        async with database.write() as tx:
            await addresses.announce(tx, node, parts.settings.node_url, VERSION, clock.utc())
        try:
            yield Anywhere(
                desk=desk, bus=bus, database=database, clock=clock, passes=passes, relays=relays,
                following=following,
            )  # fmt: skip
        finally:
            following.abandon()
            relays.abandon()
            await forwarding.once()
            await _withdraw(parts, node)


async def _withdraw(parts: Parts, node: str) -> None:
    try:
        async with parts.database.write() as tx:
            await addresses.withdraw(tx, node)
    except DatabaseDown as error:  # the others find out: its sign of life is gone
        log.warning("node_not_withdrawn", retryable=error.retryable)
