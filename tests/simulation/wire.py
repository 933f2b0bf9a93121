"""Requests and sockets to one node's application, without a network: in the node's own context, lost when it dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Scope

from tests.simulation.loop import Gate

TIMEOUT_S = 15.0


class Unreachable(Exception):
    """Nobody answered: the node is dead, or took too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Door:
    """The way into one running node. `tasks` is the node's own group; `closed` says that it died."""

    app: ASGIApp
    gate: Gate
    tasks: asyncio.TaskGroup
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    sockets: list[Socket] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What the application let through to its server: nothing, if it is right."""

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        patience_s: float = TIMEOUT_S,
    ) -> Reply:
        """Raises `Unreachable`."""
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._enter(lambda: self._serve(_scope("http", method, url, headers), body, replied))
        await _first(replied, self.closed, patience_s)
        if not replied.done():
            raise Unreachable
        return replied.result()

    def open(self, url: str, headers: Mapping[str, str]) -> Socket:
        """A websocket; whether it was let in shows in `accepted`."""
        socket = Socket(self.closed)
        self.sockets = [each for each in self.sockets if not each.gone] + [socket]
        self._enter(lambda: socket.serve(self.app, _scope("websocket", "GET", url, headers)))
        return socket

    def shut(self) -> None:
        """The node died: nobody gets in any more, and whoever listens hears the end."""
        self.closed.set()
        for socket in self.sockets:
            socket.end()

    def _enter(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.closed.is_set():
            return
        guarded = self._guarded(work)
        try:
            self.tasks.create_task(guarded, context=self.gate.context())
        except RuntimeError:  # the node stops
            guarded.close()

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:  # a server would log it and go on
            self.failures.append(repr(error))

    async def _serve(self, scope: Scope, body: bytes, replied: asyncio.Future[Reply]) -> None:
        status, content, asked = 0, bytearray(), False

        async def receive() -> Message:
            nonlocal asked
            if asked:  # the peer stays; only an event stream asks again
                await asyncio.get_running_loop().create_future()
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                content.extend(message.get("body", b""))
                if not message.get("more_body") and not replied.done():
                    replied.set_result(Reply(status, bytes(content)))

        await self.app(scope, receive, send)


class Socket:
    """The carrier's end of one websocket."""

    def __init__(self, died: asyncio.Event) -> None:
        self._died = died
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._in.put_nowait({"type": "websocket.connect"})
        self.accepted = asyncio.Event()
        self.over = asyncio.Event()
        self.refused = False

    async def serve(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._in.get, self._send)
        finally:
            self.end()

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.accepted.set()
        elif message["type"] == "websocket.send":
            self._out.put_nowait(message["text"] if message.get("text") is not None else message["bytes"])
        else:
            self.refused = not self.accepted.is_set()
            self.end()

    def end(self) -> None:
        """Nothing more comes from the node."""
        self.over.set()
        self._out.put_nowait(None)

    @property
    def gone(self) -> bool:
        return self.over.is_set() or self._died.is_set()

    def send(self, text: str) -> None:
        self._in.put_nowait({"type": "websocket.receive", "text": text})

    def send_bytes(self, message: bytes) -> None:
        self._in.put_nowait({"type": "websocket.receive", "bytes": message})

    def received(self) -> list[str | bytes]:
        """What came since the last time."""
        came = [self._out.get_nowait() for _ in range(self._out.qsize())]
        return [message for message in came if message is not None]

    async def next(self) -> str | bytes | None:
        """What comes next; None at the end, after which nobody asks again."""
        return await self._out.get()

    def close(self, code: int = 1000) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": code})
        self.end()

    async def let_in(self, patience_s: float) -> bool:
        accepted = asyncio.ensure_future(self.accepted.wait())
        try:
            await _first(accepted, self.over, patience_s, self._died)
        finally:
            accepted.cancel()
        return self.accepted.is_set() and not self.gone


async def _first(
    wanted: asyncio.Future[Any], other: asyncio.Event, patience_s: float, third: asyncio.Event | None = None
) -> None:
    """Until one of them comes about or patience is over."""
    events = [event for event in (other, third) if event is not None]
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(event.wait()) for event in events]
        await asyncio.wait({wanted, *waits}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _scope(kind: str, method: str, url: str, headers: Mapping[str, str]) -> Scope:
    parts = urlsplit(url)
    scope: Scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": parts.scheme,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [
            (b"host", parts.netloc.encode()),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("127.0.0.1", 4711),
        "server": (parts.hostname, parts.port),
        "extensions": {"websocket.http.response": {}},
    }
    return {**scope, "method": method} if kind == "http" else {**scope, "subprotocols": []}
