"""The browser phone's media socket: lets in a page with a ticket, then carries its sound.

Sound is mu-law, 8 kHz, one channel, in binary messages both ways; a frame is 20 ms. To the
page each begins with the number of its chunk (four bytes, big-endian), which the page sends
back when it has been played or dropped. Everything else is JSON in text messages:

    page:   {"ticket": …} first, then {"played": chunk} · {"digit": "9"} · {"bye": true}
    server: {"clear": true}: drop what is not played yet, and say so of each chunk

Before the ticket checks out nothing is bought. The session that fetched it has to hold: a
logout anywhere ends the call within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog
from starlette.types import Message
from starlette.websockets import WebSocket

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from pipeline.media import Guard
from pipeline.ports import Line, Talking
from server.browser import Joined
from server.routes.conversation import Hears, converse
from server.routes.entrance import Entrance, first_words
from server.routes.socket_line import SocketLine
from storage.db import DatabaseDown
from storage.records import StreamToken

log = structlog.get_logger(__name__)

CHECK_S = 5.0
"""How often the session behind a live socket is looked up."""
LONGEST_FRAME = 4_000
"""Bytes of sound in one message: half a second."""
DIGITS = frozenset("0123456789*#")


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text message of the page; one of these is set."""

    ticket: str = ""
    played: int = -1
    digit: str = ""
    bye: bool = False


class BrowserWire:
    """A chunk is one binary message: its number, then its sound."""

    def play(self, chunk: int, mulaw: bytes) -> Sequence[tuple[bool, bytes | str]]:
        return ((True, chunk.to_bytes(4, "big") + mulaw),)

    def clear(self) -> str:
        return '{"clear":true}'


class Joining(Protocol):
    """What the socket needs of `server/browser.py`."""

    async def join(self, ticket: str, line: Line) -> Joined: ...

    async def may_stay(self, ticket: StreamToken) -> bool: ...


class BrowserDoor:
    """Who comes in. `origins`: the sites whose pages may."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins
        self._entrance = Entrance("browser")

    async def serve(self, websocket: WebSocket, calls: Joining, clock: Clock) -> None:
        """One socket, from the upgrade to its end."""
        if websocket.headers.get("origin", "") not in self._origins:
            log.warning("socket_refused", door="browser", why="origin")
            await websocket.close()  # before it is accepted: the upgrade is answered 403
            return
        guard, line = Guard(clock.seconds()), SocketLine(websocket, BrowserWire())

        async def ticket() -> str:
            return _ticket(await first_words(websocket, guard, clock))

        async def join(ticket: str) -> Joined:
            return await calls.join(ticket, line)

        joined = await self._entrance.let_in(websocket, ticket, join)
        if joined is not None:
            hears, watch = _hears(joined.live, guard, clock), _keep_checking(calls, joined.ticket)
            call = joined.ticket.call_id
            await converse(websocket, joined.live, line, guard, hears, watch, door="browser", call=call)


def _ticket(text: str) -> str:
    """The ticket, which comes first. Raises `BadStream`."""
    said = _parsed(text)
    if not said.ticket:
        raise BadStream("no ticket")
    return said.ticket


async def _keep_checking(calls: Joining, ticket: StreamToken) -> None:
    """Raises `BadStream` once the session is over. A database that does not answer changes nothing: what is
    spoken is paid from the hold."""
    while True:
        await asyncio.sleep(CHECK_S)
        try:
            if not await calls.may_stay(ticket):
                raise BadStream("the session has ended")
        except DatabaseDown:
            continue


def _hears(live: Talking, guard: Guard, clock: Clock) -> Hears:
    """What takes each message: True when the page says goodbye, False when it is gone without."""
    seconds = clock.seconds

    def take(packet: Message) -> bool | None:
        if packet["type"] != "websocket.receive":
            return False
        if (sound := packet.get("bytes")) is not None:
            guard.arrived(seconds(), len(sound))
            if 0 < len(sound) <= LONGEST_FRAME:
                live.hear(sound)
            else:
                guard.spoiled()
            return None
        text = packet["text"]
        guard.arrived(seconds(), len(text))
        try:
            said = _parsed(text)
        except BadStream:
            guard.spoiled()
            return None
        if said.bye:
            return True
        _pass_on(live, said, guard)
        return None

    return take


def _pass_on(live: Talking, said: Said, guard: Guard) -> None:
    if said.played >= 0:
        live.played(said.played)
    elif said.digit in DIGITS:
        live.pressed(said.digit)
    else:
        guard.spoiled()


_decoder = msgspec.json.Decoder(Said)


def _parsed(text: str) -> Said:
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadStream("no message of ours") from error
