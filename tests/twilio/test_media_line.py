"""The outbound half of a media socket against a peer of our own making, in virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import BadStream
from server.routes.socket_line import BUFFER_CHARS, SLOW_S, SocketLine
from server.routes.twilio_media import MediaWire

SID = "MZ" + "0" * 32


class Peer:
    """The far end of a socket, as an ASGI server shows it: reads when `reading` is set."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = False

    async def receive(self) -> Message:
        return {"type": "websocket.connect"}

    async def send(self, message: Message) -> None:
        await self.reading.wait()
        if self.gone:
            raise OSError("gone")
        self.got.append(message)

    async def line(self) -> SocketLine:
        websocket = WebSocket({"type": "websocket"}, self.receive, self.send)
        await websocket.accept()
        self.got.clear()
        return SocketLine(websocket, MediaWire(SID))

    @property
    def events(self) -> list[str]:
        """Each message in short: media, mark 1, clear, or the ASGI type of another."""
        return [_short(message) for message in self.got]


def _short(message: Message) -> str:
    if message["type"] != "websocket.send":
        return str(message["type"])
    said = json.loads(message["text"])
    assert said["streamSid"] == SID
    return f"mark {said['mark']['name']}" if said["event"] == "mark" else str(said["event"])


def test_sound_then_its_mark_then_the_close() -> None:
    async def main() -> list[str]:
        peer = Peer()
        line = await peer.line()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.drain())
            line.play(1, b"\xff" * 160)
            line.play(2, b"")
            await line.close()
            line.play(3, b"\xff")
            line.clear()
        return peer.events

    assert run_virtual(main()) == ["media", "mark 1", "media", "mark 2", "websocket.close"]


def test_clear_drops_sound_not_sent_yet_but_keeps_its_marks() -> None:
    async def main() -> list[str]:
        peer = Peer()
        line = await peer.line()
        line.play(1, b"\xff" * 160)
        line.play(2, b"\xff" * 160)
        line.clear()
        line.play(3, b"\xff" * 160)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.drain())
            await line.close()
        return peer.events

    assert run_virtual(main()) == ["mark 1", "mark 2", "clear", "media", "mark 3", "websocket.close"]


def test_a_peer_that_stops_reading_is_given_three_seconds() -> None:
    async def main() -> float:
        peer = Peer()
        line = await peer.line()
        began = Clock().seconds()
        peer.reading.clear()
        line.play(1, b"\xff" * 160)
        with pytest.raises(BadStream):
            await line.drain()
        await line.close()  # must not wait for what can never leave
        return Clock().seconds() - began

    assert run_virtual(main()) == SLOW_S


def test_a_pause_shorter_than_that_is_forgiven() -> None:
    async def main() -> list[str]:
        peer = Peer()
        line = await peer.line()
        peer.reading.clear()
        line.play(1, b"\xff" * 160)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.drain())
            await asyncio.sleep(SLOW_S - 0.1)
            peer.reading.set()
            await line.close()
        return peer.events

    assert run_virtual(main()) == ["media", "mark 1", "websocket.close"]


def test_more_than_the_buffer_holds_ends_the_call() -> None:
    async def main() -> None:
        line = await Peer().line()
        line.play(1, bytes(BUFFER_CHARS))
        with pytest.raises(BadStream):
            await line.drain()

    run_virtual(main())


def test_a_peer_that_is_gone_is_nobodys_fault() -> None:
    async def main() -> None:
        peer = Peer()
        line = await peer.line()
        peer.gone = True
        line.play(1, b"\xff" * 160)
        await line.drain()
        await line.close()
        line.play(2, b"\xff" * 160)

    run_virtual(main())
