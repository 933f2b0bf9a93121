"""How late the event loop is: measured all the time, and reason to take no more calls when it stays late.

A loop that is late is heard in every call, so what is running goes on and what is new is refused.
"""

from __future__ import annotations

import asyncio

from pipeline.clock import Clock
from server.metrics import LOOP_LAG

EVERY_S = 0.05
LATE_S = 0.1
PATIENCE_S = 1.0
"""How long every sample has to be late before calls are refused; the first one in time ends that. A single stall,
however long, is over when it is seen."""


class LoopLag:
    """`run` is a task of the server. Times are real seconds, also on a loop that runs faster."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._late_since: float | None = None
        self.overloaded = False

    async def run(self) -> None:
        while True:
            due = self._clock.seconds() + EVERY_S * self._clock.speed()
            await asyncio.sleep(due - self._clock.seconds())
            self.sample(due, self._clock.seconds())

    def sample(self, due: float, now: float) -> None:
        """A wake-up that was due then and came now."""
        speed = self._clock.speed()
        lag = max(0.0, now - due) / speed
        LOOP_LAG.observe(lag)
        if lag <= LATE_S:
            self._late_since, self.overloaded = None, False
            return
        self._late_since = now if self._late_since is None else self._late_since
        self.overloaded = (now - self._late_since) / speed >= PATIENCE_S
