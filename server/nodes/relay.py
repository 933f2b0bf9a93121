"""A media socket here for a call on another node: frames go to the node that conducts it, and its sound comes back.

One internal websocket carries both directions, so everything keeps its order: sound, marks,
`clear`, the end. What is sent was decoded and judged where the carrier's socket is; a message
is one letter and what belongs to it (`docs/nodes.md`). Nothing is decided here about the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from pipeline.core.errors import BadStream
from pipeline.core.terms import EndReason
from pipeline.ports import Line
from server.errors import whereabouts
from server.metrics import RELAYS, SURPRISES
from server.nodes.outbox import Outbox
from server.nodes.passes import Passes

PATH = "/internal/media"
OPEN_S = 3.0
CLOSE_S = 1.0
GOODBYES_S = 45.0
"""How long a stopping node waits for the calls it relays once they were asked to say goodbye."""
MOST_BYTES = 64 * 1024

HEARD, PLAYED, PRESSED, DROPPED, BROKEN, GOING = b"h", b"m", b"d", b"x", b"b", b"g"
"""To the conductor: sound of the caller, a mark, a key, the end and why, an end without a word, this node stops."""
PLAY, CLEAR, END = b"p", b"c", b"e"
"""From it: sound and its mark, forget what is not played, close behind everything."""
CHUNK_BYTES = 8

log = structlog.get_logger(__name__)


class Socket(Protocol):
    """One end of the internal websocket, as `websockets` has it; its exceptions are that library's."""

    async def send(self, message: bytes) -> None: ...

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...

    async def close(self) -> None: ...


Connect: TypeAlias = Callable[[str, str], Awaitable[Socket]]
"""Opens a socket to a node's origin with a pass. Raises `OSError`, `TimeoutError` or `WebSocketException`."""


async def over_the_network(origin: str, authorization: str) -> Socket:
    return await connect(
        _socket_url(origin),
        additional_headers={"Authorization": authorization},
        compression=None,
        open_timeout=OPEN_S,
        close_timeout=CLOSE_S,
        max_size=MOST_BYTES,
        proxy=None,
    )


class RelayedCall:
    """What the carrier's socket takes for the live call."""

    def __init__(self, socket: Socket, line: Line, call_id: str) -> None:
        self._socket = socket
        self._line = line
        self._outbox = Outbox()
        self.call_id = call_id

    def hear(self, mulaw: bytes) -> None:
        self._outbox.put(HEARD + mulaw)

    def played(self, chunk: int) -> None:
        self._outbox.put(PLAYED + chunk.to_bytes(CHUNK_BYTES, "big"))

    def pressed(self, digit: str) -> None:
        self._outbox.put(PRESSED + digit.encode())

    def dropped(self, reason: EndReason) -> None:
        self._outbox.put(DROPPED + reason.encode())
        self._outbox.finish()

    def broken(self) -> None:
        """The socket here is gone without a word; the call waits for another one."""
        self._outbox.put(BROKEN)
        self._outbox.finish()

    def going(self) -> None:
        """This node stops: the call is to say goodbye while its sound still gets through."""
        self._outbox.put(GOING)

    async def run(self) -> None:
        """Until either side ends it; then both sockets are closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send())
                tasks.create_task(self._receive(sending))
        except* ConnectionClosed:
            pass
        except* BadStream as bad:
            log.warning("relay_broken", call=self.call_id, why=str(bad.exceptions[0]))
        finally:
            await self._socket.close()
            await self._line.close()

    async def _send(self) -> None:
        await self._outbox.drain(self._socket.send)
        await self._socket.close()

    async def _receive(self, sending: asyncio.Task[None]) -> None:
        async for message in self._socket:
            if isinstance(message, bytes):
                kind, rest = message[:1], message[1:]
                if kind == PLAY:
                    self._line.play(int.from_bytes(rest[:CHUNK_BYTES], "big"), rest[CHUNK_BYTES:])
                elif kind == CLEAR:
                    self._line.clear()
                elif kind == END:
                    break
        sending.cancel()


class Relays:
    """All of this node. They run in `tasks`."""

    def __init__(self, passes: Passes, tasks: asyncio.TaskGroup, connect: Connect = over_the_network) -> None:
        self._passes = passes
        self._connect = connect
        self._tasks = tasks
        self._open: dict[RelayedCall, asyncio.Task[None]] = {}
        self._hurried = asyncio.Event()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, url: str, owner: str, call_id: str, stream: str, line: Line) -> RelayedCall:
        """Connect a socket here with the call there. `stream` is a name used once.

        Raises `BadStream` when that node cannot be reached or does not take it.
        """
        try:
            socket = await self._connect(url, self._passes.issue(owner, call_id, stream))
        except (OSError, TimeoutError, WebSocketException) as error:
            raise BadStream(f"the call's node does not take its socket: {type(error).__name__}") from error
        relayed = RelayedCall(socket, line, call_id)
        self._open[relayed] = self._tasks.create_task(self._run(relayed))
        RELAYS.set(len(self._open))
        await asyncio.sleep(0)  # a task that is cancelled before it began would leave the socket open
        return relayed

    async def _run(self, relayed: RelayedCall) -> None:
        try:
            await relayed.run()
        except Exception as error:  # edge: of one call's sound; its conductor hears that the socket is gone
            SURPRISES.labels("relay").inc()
            log.error("surprise", call=relayed.call_id, **whereabouts(error))
        finally:
            self._open.pop(relayed, None)
            RELAYS.set(len(self._open))
            self._changed.set()

    async def drain(self, patience_s: float) -> None:
        """Let the calls go on for so long, then have them say goodbye. Raises `TimeoutError` when some do not end."""
        try:
            async with asyncio.timeout(patience_s):
                while self._open and not self._hurried.is_set():
                    await self._change()
        except TimeoutError:
            log.warning("relays_patience_over", calls=len(self._open))
        for relayed in self._open:
            relayed.going()
        async with asyncio.timeout(GOODBYES_S):
            while self._open:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def abandon(self) -> None:
        """This node stops with sockets still open: both sides are closed."""
        for running in self._open.values():
            running.cancel()

    def hurry(self) -> None:
        self._hurried.set()
        self._changed.set()


def _socket_url(origin: str) -> str:
    parts = urlsplit(origin)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{PATH}"
