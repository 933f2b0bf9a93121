"""Memory: what a live call takes, and what is still there when many have ended."""

from __future__ import annotations

import asyncio

from benchmarks.child import Child
from benchmarks.concurrency import serving
from benchmarks.figures import Figure
from benchmarks.load import Exchange
from benchmarks.machine import rss_mb

AT_ONCE = 50
LASTS_S = 0.3
A_SECOND = 25
"""Calls placed a second; each goes on until its batch is complete, long enough for its greeting."""
SETTLED_S = 2.5
"""Two flushes: by then the calls that ended are settled and forgotten."""
TALK_S = 4.0


async def _finish(exchange: Exchange, server: Child, calls: int) -> float:
    """So many calls from the first ring to the settled ledger; resident memory after them."""
    for _ in range(-(-calls // AT_ONCE)):
        await exchange.place(AT_ONCE, 1 / A_SECOND)
        await asyncio.sleep(LASTS_S)
        await exchange.hang_up_all()
    await asyncio.sleep(SETTLED_S)
    return rss_mb(server.pid)


async def measure(warm_up: int, calls: int, live: int) -> list[Figure]:
    # An account has one call at a time, and is free again only when its last one is settled.
    async with serving(max(4 * AT_ONCE, live)) as (exchange, server):
        started = rss_mb(server.pid)
        await exchange.place(live, 1 / A_SECOND)
        await asyncio.sleep(TALK_S)
        talking = rss_mb(server.pid)
        await exchange.hang_up_all()
        warm = await _finish(exchange, server, warm_up)
        after = await _finish(exchange, server, calls)
        report = await server.ask(do="audit")
        if report["breaches"]:
            raise RuntimeError(f"the audit found {report['breaches']} breaches")
    return [
        Figure("memory", "the server, ready", started, "MB", note="voice activity loaded"),
        Figure(
            "memory",
            f"after {warm_up} calls",
            warm,
            "MB",
            note="the allocators' growth is all but over after 2,300",
        ),
        Figure("memory", f"left by {calls} more finished calls", after - warm, "MB", 5.0),
        Figure(
            "memory",
            "grown since it was ready, by all of them",
            after - started,
            "MB",
            note="not what the bar is held to",
        ),
        Figure(
            "memory",
            "a live call",
            (talking - started) / live,
            "MB",
            2.0,
            note=f"the first {live}, talking; pools and caches included",
        ),
    ]
