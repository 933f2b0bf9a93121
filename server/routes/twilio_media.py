"""The carrier's media socket: lets in whoever proves to be a call of ours, then carries its sound.

Decides who may speak on the socket and when it has to end; must not decide anything about the
call. Until the stream token checks out nothing is bought: no engine hears of the socket. After
that a frame costs one decode and one call; sending has one task a call and a bounded buffer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from pipeline.core.terms import EndReason
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
from pipeline.ports import Line
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.routes.socket_line import POLICY, SocketLine, shut
from storage.db import DatabaseDown

INTRODUCTION_S = 5.0
"""How long a socket has to show its token, and `INTRODUCTION_MESSAGES` in how many messages."""
INTRODUCTION_MESSAGES = 4
MAX_STRANGERS = 20
"""Sockets without a token at one time; one more is turned away with 503."""

TOO_BIG = 1009
INTERNAL = 1011

log = structlog.get_logger(__name__)


class Live(Protocol):
    """What a socket tells a live call. None of these waits."""

    def hear(self, mulaw: bytes) -> None: ...
    def played(self, chunk: int) -> None: ...
    def pressed(self, digit: str) -> None: ...
    def dropped(self, reason: EndReason) -> None: ...
    def broken(self) -> None: ...


class Attaching(Protocol):
    async def attach(self, token: str, call_sid: str, line: Line) -> Live:
        """Spend the token of this call. Raises `BadStream` when it is not one."""


@dataclass(frozen=True, slots=True)
class MediaWire:
    """Media Streams: a chunk is a `media` message and a `mark` behind it."""

    sid: str

    def play(self, chunk: int, mulaw: bytes) -> tuple[tuple[bool, str], ...]:
        return (True, media(self.sid, mulaw)), (False, mark(self.sid, str(chunk)))

    def clear(self) -> str:
        return clear(self.sid)


class MediaDoor:
    """Who comes in: counts the sockets that have not proved themselves yet."""

    def __init__(self, account_sid: str) -> None:
        self._account_sid = account_sid
        self.strangers = 0

    async def serve(self, websocket: WebSocket, desk: Attaching, clock: Clock) -> None:
        """One socket whose signature is good, from the upgrade to its end."""
        if self.strangers >= MAX_STRANGERS:
            await websocket.send_denial_response(PlainTextResponse("busy", status_code=503))
            return
        self.strangers += 1
        try:
            await websocket.accept()
            guard = Guard(clock.seconds())
            start = await self._introduction(websocket, guard, clock)
            line = SocketLine(websocket, MediaWire(start.stream_sid))
            live = await desk.attach(start.parameters.get("token", ""), start.call_sid, line)
        except (BadStream, TimeoutError) as error:
            log.warning("media_socket_refused", why=str(error) or "no start in time")
            await shut(websocket, POLICY)
            return
        except WebSocketDisconnect:
            return
        except DatabaseDown as error:  # the carrier asks how to go on; perhaps it can be told then
            log.warning("media_socket_unknown", retryable=error.retryable)
            await shut(websocket, INTERNAL)
            return
        except Exception as error:  # edge: of one socket; the desk could not say whether it is a call's
            SURPRISES.labels("media").inc()
            log.error("surprise", **whereabouts(error))
            await shut(websocket, INTERNAL)
            return
        finally:
            self.strangers -= 1
        await _converse(websocket, live, line, guard, clock, start)

    async def _introduction(self, websocket: WebSocket, guard: Guard, clock: Clock) -> Start:
        """The `start` of a stream of our account. Raises `BadStream`, `TimeoutError`, `WebSocketDisconnect`."""
        async with asyncio.timeout(INTRODUCTION_S):
            for _ in range(INTRODUCTION_MESSAGES):
                packet = await websocket.receive()
                if packet["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(packet.get("code", 1005))
                text = packet.get("text")
                if text is None:
                    raise BadStream("binary message")
                guard.arrived(clock.seconds(), len(text))
                message = decode(text)
                if isinstance(message, Connected):
                    continue
                if not isinstance(message, Start):
                    raise BadStream("something else before start")
                if message.account_sid != self._account_sid:
                    raise BadStream("another account")
                guard.in_order(message.sequence)
                return message
        raise BadStream("no start")


async def _converse(
    websocket: WebSocket, live: Live, line: SocketLine, guard: Guard, clock: Clock, start: Start
) -> None:
    """Both directions until one side ends it; the call hears of every end that it did not bring about itself.

    The carrier says `stop` before it closes. A socket that ends without has broken, and may come back.
    """
    reason: EndReason | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(line.drain())
            # A task of its own, so that a frame does not wake all the layers of the request above it.
            listening = tasks.create_task(_listen(websocket, live, guard, clock, start.stream_sid))
            listening.add_done_callback(lambda _: draining.cancel())
        reason = EndReason.CALLER_HUNG_UP if listening.result() else None
    except* BadStream as bad:
        reason = EndReason.BAD_STREAM
        log.warning("media_stream_bad", call_sid=start.call_sid, why=str(bad.exceptions[0]))
    except* Exception as group:  # edge: of one call; the others go on
        reason = EndReason.ENGINE_FAILURE
        SURPRISES.labels("media").inc()
        log.error("surprise", call_sid=start.call_sid, **whereabouts(group.exceptions[0]))
    finally:
        if not line.ours:
            live.broken() if reason is None else live.dropped(reason)
        broken = reason is None and not line.ours
        log.info("media_stream_over", call_sid=start.call_sid, broken=broken, bad=guard.bad, gaps=guard.gaps)
    await shut(websocket, POLICY if reason is EndReason.BAD_STREAM else 1000)


async def _listen(websocket: WebSocket, live: Live, guard: Guard, clock: Clock, stream_sid: str) -> bool:
    """The hot loop: 50 times a second and call. True on `stop`, False when the socket is gone without."""
    receive, seconds, arrived = websocket.receive, clock.seconds, guard.arrived
    while True:
        packet = await receive()
        if packet["type"] != "websocket.receive":
            if packet.get("code") == TOO_BIG:  # the socket's own limit, enforced below us
                raise BadStream("a message over 64 KiB")
            return False
        text = packet.get("text")
        if text is None:
            arrived(seconds(), len(packet["bytes"]))
            guard.spoiled()
            continue
        arrived(seconds(), len(text))
        try:
            message = decode(text, stream_sid)
        except BadStream:
            guard.spoiled()
            continue
        if isinstance(message, Media):  # first: nearly every message is one
            if guard.in_order(message.sequence):
                live.hear(message.mulaw)
            else:
                guard.spoiled()
        elif isinstance(message, (Connected, Start)) or not guard.in_order(message.sequence):
            guard.spoiled()
        elif isinstance(message, Stop):
            return True
        else:
            _pass_on(live, message)


def _pass_on(live: Live, message: Message) -> None:
    if isinstance(message, Dtmf):
        live.pressed(message.digit)
    elif isinstance(message, Mark) and message.name.isascii() and message.name.isdigit():
        live.played(int(message.name))  # a name we never gave is no mark of ours
