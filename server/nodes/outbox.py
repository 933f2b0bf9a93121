"""What waits to be sent on one internal socket: in order, bounded, and never waited for by whoever puts it there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from pipeline.core.errors import BadStream

MOST_BYTES = 256 * 1024
"""Half a minute of sound; between machines that answer, next to nothing waits."""
SLOW_S = 3.0
"""How long what waits may take to leave before the other node counts as not reading."""


class Outbox:
    """One task runs `drain`; the other methods return at once."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._held = 0
        self._finished = False
        self._wake = asyncio.Event()
        self._left = asyncio.Event()

    def put(self, message: bytes) -> None:
        if not self._finished and self._held <= MOST_BYTES:
            self._queue.append(message)
            self._held += len(message)
            self._wake.set()

    def finish(self) -> None:
        """Nothing more comes; what waits still goes out."""
        self._finished = True
        self._wake.set()

    def abandon(self) -> None:
        """Nobody sends any more: what waits is lost."""
        self._finished = True
        self._left.set()

    async def left(self) -> None:
        """Until everything has gone out, or cannot."""
        await self._left.wait()

    async def drain(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send until finished. Raises `BadStream` when the other side does not read."""
        try:
            while self._queue or not self._finished:
                await self._wake.wait()
                self._wake.clear()
                async with asyncio.timeout(SLOW_S):
                    await self._send_all(send)
        except TimeoutError as error:
            raise BadStream("the other node does not read") from error
        finally:
            self.abandon()

    async def _send_all(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        while self._queue:
            if self._held > MOST_BYTES:
                raise BadStream("the other node does not keep up")
            message = self._queue.popleft()
            self._held -= len(message)
            await send(message)
