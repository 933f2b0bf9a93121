"""The carrier's media socket: lets in whoever proves to be a call of ours, then carries its sound.

Decides who may speak on the socket and when it has to end; must not decide anything about the
call. Until the stream token checks out nothing is bought: no engine hears of the socket. After
that a frame costs one decode and one call; sending has one task a call and a bounded buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import structlog
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

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

INTRODUCTION_S = 5.0
"""How long a socket has to show its token, and `INTRODUCTION_MESSAGES` in how many messages."""
INTRODUCTION_MESSAGES = 4
MAX_STRANGERS = 20
"""Sockets without a token at one time; one more is turned away with 503."""
SLOW_S = 3.0
"""How long what is queued may take to leave before the peer counts as not reading."""
BUFFER_CHARS = 256 * 1024
"""Unsent messages; with sound sent at most 2 s ahead an honest call never holds a tenth of it."""

POLICY = 1008
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


class MediaLine:
    """The outbound half of one socket: `play`, `clear` and `close` of `pipeline.ports.Line`."""

    def __init__(self, websocket: WebSocket, stream_sid: str) -> None:
        self._websocket = websocket
        self._sid = stream_sid
        self._queue: deque[tuple[bool, str]] = deque()  # (is it sound, message)
        self._held = 0
        self._wake = asyncio.Event()
        self._closing = False
        self.ours = False
        """The end of the socket is our own doing."""
        self._done = asyncio.Event()

    def play(self, chunk: int, mulaw: bytes) -> None:
        if not self._closing:
            self._put(True, media(self._sid, mulaw))
            self._put(False, mark(self._sid, str(chunk)))

    def clear(self) -> None:
        """Sound not sent yet is dropped here; its marks still go out, and come back with the others."""
        if self._closing:
            return
        kept = [message for is_sound, message in self._queue if not is_sound]
        self._queue.clear()
        self._held = 0
        for message in kept:
            self._put(False, message)
        self._put(False, clear(self._sid))

    async def close(self) -> None:
        """Close the socket behind everything queued. Returns once it has left, or cannot."""
        self._closing = self.ours = True
        self._wake.set()
        await self._done.wait()

    def _put(self, is_sound: bool, message: str) -> None:
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
            raise BadStream("the carrier does not read") from error
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
            await self._websocket.send({"type": "websocket.send", "text": message})


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
            line = MediaLine(websocket, start.stream_sid)
            live = await desk.attach(start.parameters.get("token", ""), start.call_sid, line)
        except (BadStream, TimeoutError) as error:
            log.warning("media_socket_refused", why=str(error) or "no start in time")
            await _shut(websocket, POLICY)
            return
        except WebSocketDisconnect:
            return
        except Exception as error:  # edge: of one socket; the desk could not say whether it is a call's
            SURPRISES.labels("media").inc()
            log.error("surprise", **whereabouts(error))
            await _shut(websocket, INTERNAL)
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
    websocket: WebSocket, live: Live, line: MediaLine, guard: Guard, clock: Clock, start: Start
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
    await _shut(websocket, POLICY if reason is EndReason.BAD_STREAM else 1000)


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


async def _shut(websocket: WebSocket, code: int) -> None:
    """Close if it is still open; a peer that does not read is not waited for."""
    if WebSocketState.DISCONNECTED in {websocket.client_state, websocket.application_state}:
        return
    try:
        async with asyncio.timeout(1.0):
            await websocket.close(code)
    except (TimeoutError, WebSocketDisconnect):
        pass
