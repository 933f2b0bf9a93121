"""The carrier's media socket: lets in whoever proves to be a call of ours, then carries its sound.

Decides who may speak on the socket and when it has to end; must not decide anything about the
call. Until the stream token checks out nothing is bought: no engine hears of the socket. After
that a frame costs one decode and one call; sending has one task a call and a bounded buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import structlog
from starlette.types import Message as ASGIMessage
from starlette.websockets import WebSocket

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from pipeline.media import (
    Connected,
    Dtmf,
    Guard,
    Mark,
    Media,
    Message,
    Start,
    Stop,
    clear,
    decode,
    mark,
    media,
)
from pipeline.ports import Line, Talking
from server.routes.conversation import Hears, converse
from server.routes.entrance import Entrance, first_words
from server.routes.socket_line import SocketLine

INTRODUCTION_MESSAGES = 4
"""In how many messages a socket has to show its token."""

TOO_BIG = 1009

log = structlog.get_logger(__name__)


class Attaching(Protocol):
    async def attach(self, token: str, call_sid: str, line: Line) -> Talking:
        """Spend the token of this call. Raises `BadStream` when it is not one."""


@dataclass(frozen=True, slots=True)
class MediaWire:
    """Media Streams: a chunk is a `media` message and a `mark` behind it."""

    sid: str

    def play(self, chunk: int, mulaw: bytes) -> tuple[tuple[bool, str], ...]:
        return (True, media(self.sid, mulaw)), (False, mark(self.sid, str(chunk)))

    def clear(self) -> str:
        return clear(self.sid)


@dataclass(frozen=True, slots=True)
class _Attached:
    """A socket whose token was its call's."""

    start: Start
    line: SocketLine
    live: Talking


class MediaDoor:
    """Who comes in: the streams of one account, each with the token of its call."""

    def __init__(self, account_sid: str) -> None:
        self._account_sid = account_sid
        self._entrance = Entrance("media")

    async def serve(self, websocket: WebSocket, desk: Attaching, clock: Clock) -> None:
        """One socket whose signature is good, from the upgrade to its end."""
        guard = Guard(clock.seconds())

        async def start() -> Start:
            return await self._start(websocket, guard, clock)

        async def attach(start: Start) -> _Attached:
            line = SocketLine(websocket, MediaWire(start.stream_sid))
            live = await desk.attach(start.parameters.get("token", ""), start.call_sid, line)
            return _Attached(start, line, live)

        attached = await self._entrance.let_in(websocket, start, attach)
        if attached is not None:
            live, line, begun = attached.live, attached.line, attached.start
            hears = _hears(live, guard, clock, begun.stream_sid)
            await converse(websocket, live, line, guard, hears, door="media", call=begun.call_sid)

    async def _start(self, websocket: WebSocket, guard: Guard, clock: Clock) -> Start:
        """The `start` of a stream of our account. Raises `BadStream`, `WebSocketDisconnect`."""
        for _ in range(INTRODUCTION_MESSAGES):
            message = decode(await first_words(websocket, guard, clock))
            if isinstance(message, Connected):
                continue
            if not isinstance(message, Start):
                raise BadStream("something else before start")
            if message.account_sid != self._account_sid:
                raise BadStream("another account")
            guard.in_order(message.sequence)
            return message
        raise BadStream("no start")


def _hears(live: Talking, guard: Guard, clock: Clock, stream_sid: str) -> Hears:
    """What takes each message, 50 of them a second and call: True on `stop`, False when the socket is gone without,
    None for what goes on. It raises `BadStream`."""
    seconds, arrived, in_order, hear = clock.seconds, guard.arrived, guard.in_order, live.hear

    def take(packet: ASGIMessage) -> bool | None:
        if packet["type"] != "websocket.receive":
            if packet.get("code") == TOO_BIG:  # the socket's own limit, enforced below us
                raise BadStream("a message over 64 KiB")
            return False
        text = packet.get("text")
        if text is None:
            arrived(seconds(), len(packet["bytes"]))
            guard.spoiled()
            return None
        arrived(seconds(), len(text))
        try:
            message = decode(text, stream_sid)
        except BadStream:
            guard.spoiled()
            return None
        if isinstance(message, Media):  # first: nearly every message is one
            if in_order(message.sequence):
                hear(message.mulaw)
            else:
                guard.spoiled()
        elif isinstance(message, (Connected, Start)) or not in_order(message.sequence):
            guard.spoiled()
        elif isinstance(message, Stop):
            return True
        else:
            _pass_on(live, message)
        return None

    return take


def _pass_on(live: Talking, message: Message) -> None:
    if isinstance(message, Dtmf):
        live.pressed(message.digit)
    elif isinstance(message, Mark) and message.name.isascii() and message.name.isdigit():
        live.played(int(message.name))  # a name we never gave is no mark of ours
