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
from server.app import SIMULATED_SENDER
from server.beside import beside
from server.calls.casting import TOKENS, pinned
from server.calls.files import open_files
from server.calls.orders import dial_order
from server.desk import Desk
from server.engines import chosen
from server.inbound.pins import Pins
from server.inbound.reception import Reception
from server.lag import LoopLag
from server.metrics import ENGINE_BREAKERS, ENGINES_DOWN, HEARD_AGAIN, SOUND_LOST, TOKENS_LOST
from server.money.admission import Admissions
from server.money.destinations import without_price
from server.money.flush import Flush
from server.nodes import health
from server.nodes.among import among_nodes
from server.nodes.lease import Lease
from server.parts import Parts, Placing
from server.recovery.orphans import Orphans
from server.recovery.resuming import Resuming
from server.recovery.takeover import Takeovers
from storage import pricing
from storage.nodes import LEASE_S, forget_old, hold_node

log = structlog.get_logger()

ASKS_S = 18.0
"""The carrier waits for the answer to a webhook for 15 s, and notices a broken socket a little after it broke."""

OnProgress = Callable[[str, bool], None]


def log_progress(name: str, done: bool) -> None:
    log.info("engine_loaded" if done else "engine_loading", engine=name)


def _engine_changed(name: str, state: State) -> None:
    log.warning("engine_state", engine=name, state=state.value)
    ENGINES_DOWN.labels(name).set(state is not State.CLOSED)


def _tokens_lost(model: str, tokens: Tokens) -> None:
    TOKENS_LOST.labels(model).inc(tokens.uncached + tokens.cached + tokens.out)


def _heard_again(model: str, seconds: int) -> None:
    HEARD_AGAIN.labels(f"stt:{model}").inc(seconds)


def _sound_lost(model: str, seconds: float) -> None:
    SOUND_LOST.labels(f"stt:{model}").inc(seconds)


async def _tidy(parts: Parts) -> None:
    """What has to be in the database before a call is taken, and what has to leave it."""
    async with parts.database.write() as tx:
        await forget_old(tx)
    await _price_own_models(parts)


async def _price_own_models(parts: Parts) -> None:
    """The price list learns what the operator says of models it does not know."""
    settings = parts.settings
    async with parts.database.write() as tx:
        for model, dollars in zip(settings.llm_model, settings.llm_price_usd, strict=False):
            nanos = [parse_usd(part) for part in dollars.split("/")]
            prices = list(zip(TOKENS, nanos, strict=True))
            if await pricing.set_own(tx, model, prices, parts.clock.utc(), settings.price_list):
                log.info("model_priced", model=model, dollars_a_million=dollars)


def _reception(parts: Parts, desk: Desk, admissions: Admissions) -> Reception:
    return Reception(
        settings=parts.settings,
        database=parts.database,
        clock=parts.clock,
        desk=desk,
        admissions=admissions,
        pins=Pins(parts.settings, parts.database, parts.clock, parts.passwords),
    )


def _takeovers(parts: Parts, admissions: Admissions, node: str, sender: str) -> Takeovers:
    return Takeovers(
        parts.database,
        parts.carrier,
        parts.clock,
        parts.settings.calls_dir,
        admissions,
        node,
        order=lambda row: dial_order(row, parts.settings, sender),
        files=lambda row, opened: open_files(parts.settings, parts.clock, row, opened),
    )


async def _check_prices(parts: Parts, engines: Engines) -> None:
    """Raises `Unpriced` for an engine; a country without a price is only not rung, and is named in the log."""
    async with parts.database.read() as tx:
        rows = await pricing.current(tx, parts.clock.utc(), parts.settings.price_list)
    pinned(rows, engines)
    for country in without_price(rows, parts.settings.operator_country):
        log.warning("country_without_price", country=country, remedy="callmeback prices import FILE")


WATCHING = Watching(_engine_changed, _tokens_lost, _heard_again, _sound_lost)


@asynccontextmanager
async def _loaded(parts: Parts, on_progress: OnProgress) -> AsyncIterator[Engines]:
    """The engines that the settings name, watched."""
    models = EngineLoader(chosen(parts.settings), on_progress, WATCHING)
    async with models.open() as engines:
        ENGINE_BREAKERS.watch(models.breakers, models.certain)
        for name in models.breakers:  # a gauge without a sample tells an alert nothing
            ENGINES_DOWN.labels(name).set(0)
        yield engines


@asynccontextmanager
async def open_desk(
    parts: Parts, engines: Engines | None, on_progress: OnProgress = log_progress
) -> AsyncIterator[Placing]:
    """The desk of a running server. Raises `Unpriced` or `EngineError` before any call is taken.

    On the way out calls still on are left to the next start, and the last charges are written.
    """
    async with AsyncExitStack() as stack:
        if engines is None:
            engines = await stack.enter_async_context(_loaded(parts, on_progress))
        await _tidy(parts)
        await _check_prices(parts, engines)
        node = secrets.token_hex(8)
        lock = await stack.enter_async_context(hold_node(parts.database, node))
        admissions = Admissions(parts.settings, engines, parts.clock, node)
        sender = parts.settings.twilio_phone_number or SIMULATED_SENDER
        takeovers = _takeovers(parts, admissions, node, sender)
        # Nobody else answers for this process: the carrier may be waiting for its answer just now.
        silent_s = ASKS_S if parts.settings.sqlite else LEASE_S
        lease_s = silent_s + parts.settings.resume_pause_s
        orphans = Orphans(parts.database, parts.clock, takeovers, lease_s)
        # The simulated carrier lives and dies with its server: nobody will ask to go on with a call, and nothing waits.
        # With a real one that may take a while; calls are taken meanwhile, and the lease is renewed.
        if parts.settings.simulated and (found := await orphans.settle_all()):
            log.warning("orphans_settled", calls=found)
        flush = Flush(parts.database, parts.clock, parts.news, node)
        lag = LoopLag(parts.clock)
        async with asyncio.TaskGroup() as tasks:
            desk = Desk(
                settings=parts.settings,
                clock=parts.clock,
                database=parts.database,
                carrier=parts.carrier,
                news=parts.news,
                engines=engines,
                flush=flush,
                lag=lag,
                tasks=tasks,
                node=node,
                sender=sender,
                resuming=Resuming(parts.database, parts.clock, takeovers),
            )
            desk.pulse = lease = Lease(
                parts.database, parts.carrier, parts.clock, lock, lambda: list(desk.ongoing().values()), health.written
            )  # fmt: skip
            scheduler, works = await beside(parts, desk, node)
            own = (lease.run(), flush.run(), lag.run(), orphans.run(desk.conducts))
            running = [tasks.create_task(work) for work in (*own, *works)]
            try:
                async with among_nodes(parts, desk, node, _reception(parts, desk, admissions)) as anywhere:
                    yield anywhere
            finally:
                await scheduler.at_rest()
                desk.abandon()
                for task in running:
                    task.cancel()
                await flush.once()
