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
from server.casting import TOKENS, pinned
from server.desk import Desk
from server.engines import chosen
from server.flush import Flush
from server.lag import LoopLag
from server.metrics import ENGINE_BREAKERS, ENGINES_DOWN, TOKENS_LOST
from server.parts import Parts, Placing
from server.recovery import Orphans
from storage import pricing
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
        lag = LoopLag(parts.clock)
        async with asyncio.TaskGroup() as tasks:
            flushing = tasks.create_task(flush.run())
            watching = tasks.create_task(lag.run())
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
                sender=parts.settings.twilio_phone_number or SIMULATED_SENDER,
            )
            looking = tasks.create_task(orphans.run(desk.conducts))
            try:
                yield desk
            finally:
                desk.abandon()
                looking.cancel()
                watching.cancel()
                flushing.cancel()
                await flush.once()
