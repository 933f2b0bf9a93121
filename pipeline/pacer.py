"""When sound may be sent: ahead of what plays, but not far, so that an interruption has little to drop."""

from __future__ import annotations

import asyncio
from typing import Protocol

from pipeline.clock import Clock

AHEAD_S = 2.0
ROUNDING_S = 1e-6
"""What sums of times may be off by; a wait for less would never end."""


class Pace(Protocol):
    """The measure that one call's sound is sent by."""

    async def room(self, seconds: float) -> None:
        """Wait until so many seconds more may be sent."""

    def sent(self, seconds: float) -> float:
        """So much was sent; in how many seconds it begins to play."""

    def cleared(self) -> None:
        """Nothing plays any more."""


class Pacer:
    """Never more than two seconds ahead of what plays."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._plays_until = 0.0

    async def room(self, seconds: float) -> None:
        while True:  # after a wait all may be otherwise: what plays may have been taken back and sent anew
            over = self._plays_until - self._clock.seconds() + seconds - AHEAD_S
            if over <= ROUNDING_S:
                return
            await asyncio.sleep(over)

    def sent(self, seconds: float) -> float:
        now = self._clock.seconds()
        begins = max(self._plays_until, now)
        self._plays_until = begins + seconds
        return begins - now

    def cleared(self) -> None:
        self._plays_until = 0.0
