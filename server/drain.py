"""Stopping without cutting anybody off: no new calls, the live ones go on for a while, then say goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from pipeline.core.terms import EndReason
from server.calls.ongoing import Ongoing

log = structlog.get_logger()

GOODBYES_S = 45.0
"""How long goodbyes may take to be heard and books to be closed."""


class Drain:
    """Of the calls of one desk. `begun`: no new ones are taken.

    `at_rest` returns once no order is being decided any more: one that was let in becomes a call yet.
    """

    def __init__(self, ongoing: Mapping[str, Ongoing], at_rest: Callable[[], Awaitable[None]]) -> None:
        self._ongoing = ongoing
        self._at_rest = at_rest
        self._hurried = asyncio.Event()
        self._changed = asyncio.Event()
        self.begun = False

    def ended(self) -> None:
        """A call is no more among the ongoing ones."""
        self._changed.set()

    def hurry(self) -> None:
        """Whoever drains waits no longer: goodbye now."""
        self._hurried.set()
        self._changed.set()

    async def run(self, patience_s: float) -> None:
        """Returns when all calls are settled. Raises `TimeoutError` for one that does not end."""
        self.begun = True
        await self._at_rest()
        try:
            async with asyncio.timeout(patience_s):
                while self._ongoing and not self._hurried.is_set():
                    await self._change()
        except TimeoutError:
            log.warning("drain_patience_over", calls=len(self._ongoing))
        for ongoing in list(self._ongoing.values()):
            ongoing.live.ask_hang_up(EndReason.DRAINED)
        async with asyncio.timeout(GOODBYES_S):
            while self._ongoing:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
