"""Stopping without cutting anybody off: no new calls, the live ones go on for a while, then say goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import structlog

from pipeline.core.terms import EndReason

log = structlog.get_logger()

GOODBYES_S = 45.0
"""How long goodbyes may take to be heard and books to be closed."""


class Talk(Protocol):
    def ask_hang_up(self, reason: EndReason) -> None: ...


class Conducted(Protocol):
    """A call, as far as a drain asks anything of it."""

    @property
    def live(self) -> Talk: ...


class Drain:
    """Of the calls of one desk. `begun`: no new ones are taken. One that was let in before becomes a call yet."""

    def __init__(self, ongoing: Mapping[str, Conducted]) -> None:
        self._ongoing = ongoing
        self._deciding = 0
        self._hurried = asyncio.Event()
        self._changed = asyncio.Event()
        self.begun = False

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """While the block runs a call may begin: an order, one that comes in, one of a process that is gone.

        Around all of it, from the question whether there is room until the call is conducted: a drain waits.
        """
        self._deciding += 1
        try:
            yield
        finally:
            self._deciding -= 1
            self._changed.set()

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
        try:
            async with asyncio.timeout(patience_s):
                while (self._ongoing or self._deciding) and not self._hurried.is_set():
                    await self._change()
        except TimeoutError:
            log.warning("drain_patience_over", calls=len(self._ongoing))
        asked: set[str] = set()
        async with asyncio.timeout(GOODBYES_S):
            while self._ongoing or self._deciding:
                for call_id in [one for one in self._ongoing if one not in asked]:
                    asked.add(call_id)
                    self._ongoing[call_id].live.ask_hang_up(EndReason.DRAINED)
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
