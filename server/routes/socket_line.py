"""The outbound half of a media socket: `play`, `clear` and `close` of `pipeline.ports.Line`, whoever listens.

Nothing here waits but `close` and `drain`: what is queued leaves in one task a call, and a
peer that does not read ends it. How sound and marks are written is the `Wire`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pipeline.core.errors import BadStream

SLOW_S = 3.0
"""How long what is queued may take to leave before the peer counts as not reading."""
BUFFER_CHARS = 256 * 1024
"""Unsent messages; with sound sent at most 2 s ahead an honest call never holds a tenth of it."""

POLICY = 1008

Message = str | bytes


class Wire(Protocol):
    """How one kind of socket says it. A message is sound or it is not: `clear` drops what is sound."""

    def play(self, chunk: int, mulaw: bytes) -> Sequence[tuple[bool, Message]]:
        """The messages of one chunk and its mark, each with whether it is sound."""

    def clear(self) -> Message: ...


class SocketLine:
    """What is sent to one socket, in order."""

    def __init__(self, websocket: WebSocket, wire: Wire) -> None:
        self._websocket = websocket
        self._wire = wire
        self._queue: deque[tuple[bool, Message]] = deque()  # (is it sound, message)
        self._held = 0
        self._wake = asyncio.Event()
        self._closing = False
        self.ours = False
        """The end of the socket is our own doing."""
        self._done = asyncio.Event()

    def play(self, chunk: int, mulaw: bytes) -> None:
        if not self._closing:
            for is_sound, message in self._wire.play(chunk, mulaw):
                self._put(is_sound, message)

    def clear(self) -> None:
        """Sound not sent yet is dropped here; its marks still go out, and come back with the others."""
        if self._closing:
            return
        kept = [message for is_sound, message in self._queue if not is_sound]
        self._queue.clear()
        self._held = 0
        for message in kept:
            self._put(False, message)
        self._put(False, self._wire.clear())

    async def close(self) -> None:
        """Close the socket behind everything queued. Returns once it has left, or cannot."""
        self._closing = self.ours = True
        self._wake.set()
        await self._done.wait()

    def _put(self, is_sound: bool, message: Message) -> None:
        self._queue.append((is_sound, message))
        self._held += len(message)
        self._wake.set()

    async def drain(self) -> None:
        """Send what is queued until closed. Raises `BadStream` when the peer does not read."""
        try:
            while not self._closing or self._queue:
                await self._wake.wait()
                self._wake.clear()
                async with asyncio.timeout(SLOW_S):
                    await self._send_all()
            async with asyncio.timeout(SLOW_S):
                await self._websocket.close()
        except TimeoutError as error:
            raise BadStream("the peer does not read") from error
        except WebSocketDisconnect:
            pass  # the listening half hears of it too
        finally:
            self._closing = True
            self._done.set()

    async def _send_all(self) -> None:
        while self._queue:
            if self._held > BUFFER_CHARS:
                raise BadStream("too much sound queued")
            _, message = self._queue.popleft()
            self._held -= len(message)
            kind = "text" if isinstance(message, str) else "bytes"
            await self._websocket.send({"type": "websocket.send", kind: message})


async def shut(websocket: WebSocket, code: int) -> None:
    """Close if it is still open; a peer that does not read is not waited for."""
    if WebSocketState.DISCONNECTED in {websocket.client_state, websocket.application_state}:
        return
    try:
        async with asyncio.timeout(1.0):
            await websocket.close(code)
    except (TimeoutError, WebSocketDisconnect):
        pass
