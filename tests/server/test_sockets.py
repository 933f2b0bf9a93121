"""Messages handed over as they arrive: the same to whoever takes them, whether the server can do it or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketState
from websockets.asyncio.client import ClientConnection, connect

from pipeline.core.errors import BadStream
from server.sockets import DIRECT, Socket, each
from tests.twilio.rig import free_socket, serving

KINDS = pytest.mark.parametrize("ws", ["websockets-sansio", Socket])


@dataclass
class Site:
    """Accepts, waits until `go`, then takes messages until one says stop."""

    taken: list[object] = field(default_factory=list)
    found: list[object] = field(default_factory=list)
    state: list[WebSocketState] = field(default_factory=list)
    direct: bool | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.direct = DIRECT in scope["extensions"]
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await self.go.wait()
        try:
            self.found.append(await each(websocket, self._take))
        except BadStream as error:
            self.found.append(error.detail)
        self.state.append(websocket.client_state)
        self.done.set()

    def _take(self, message: Message) -> object:
        self.taken.append(message.get("text", message.get("code")))
        if message["type"] == "websocket.disconnect":
            return "gone"
        if message.get("text") == "bad":
            raise BadStream("a bad one")
        return "stopped" if message.get("text") == "stop" else None


@asynccontextmanager
async def talking(site: Site, ws: str | type[Socket]) -> AsyncIterator[ClientConnection]:
    listening, url = free_socket()
    async with serving(site, listening, ws=ws), connect(url.replace("http", "ws", 1)) as client:
        yield client


async def until_done(site: Site) -> None:
    async with asyncio.timeout(60):
        await site.done.wait()


@KINDS
async def test_what_came_before_is_taken_first_and_all_in_order(ws: str | type[Socket]) -> None:
    site = Site()
    async with talking(site, ws) as client:
        for number in range(20):
            await client.send(str(number))
        for _ in range(100):  # so that the first of them are there
            await asyncio.sleep(0)
        site.go.set()
        for number in range(20, 40):
            await client.send(str(number))
        await client.send("stop")
        await until_done(site)
    assert site.direct is (ws is Socket)
    assert site.taken == [*map(str, range(40)), "stop"]
    assert site.found == ["stopped"]
    assert site.state == [WebSocketState.CONNECTED]


@KINDS
async def test_what_goes_wrong_is_told_to_whoever_waits_and_nothing_is_taken_after_it(
    ws: str | type[Socket],
) -> None:
    site = Site()
    async with talking(site, ws) as client:
        site.go.set()
        for text in ("1", "bad", "2"):
            await client.send(text)
        await until_done(site)
        await client.close()
    assert site.taken == ["1", "bad"]
    assert site.found == ["a bad one"]


async def _drop(client: ClientConnection) -> None:
    client.transport.abort()


@KINDS
@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda client: client.close(4000), 4000),
        (lambda client: client.send("x" * 70_000), 1009),
        (_drop, 1005),
    ],
    ids=["closed", "too big", "dropped"],
)
async def test_the_end_of_the_socket_is_a_message_too(
    ws: str | type[Socket], end: Callable[[ClientConnection], Awaitable[None]], code: int
) -> None:
    site = Site()
    async with talking(site, ws) as client:
        site.go.set()
        await client.send("1")
        await end(client)
        await until_done(site)
    assert site.taken[-1] == code
    assert site.found == ["gone"]
    assert site.state == [WebSocketState.DISCONNECTED]
