"""One at a time, in the order they came; whoever is urgent goes before all who are not."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turnstile:
    """Used from one event loop only. Those who are not urgent wait as long as others are."""

    def __init__(self) -> None:
        self._taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def passing(self, *, urgent: bool = False) -> AsyncIterator[None]:
        await self._enter(self._urgent if urgent else self._others)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, waiting: deque[asyncio.Future[None]]) -> None:
        if not self._taken:  # then nobody waits: whoever leaves hands over to the next
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it had become our turn
            raise

    def _leave(self) -> None:
        for waiting in (self._urgent, self._others):
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # else it was given up
                    turn.set_result(None)
                    return
        self._taken = False
