"""What the emulated voices share: their sound, the door they stand behind, and what may go wrong.

Their sound is a tone of 60 ms a character, its pitch by the voice: the same text in the same voice is
always the same bytes, so that a test can say what must be heard.
"""

from __future__ import annotations

import asyncio
import http
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipeline.audio.mulaw import RATE, encode, from_float

MS_A_CHARACTER = 60
PIECE = 1600
KEY = "a-key-for-tests"


def tone(voice: str, text: str) -> bytes:
    """What `voice` says for `text`; blanks around it have no sound."""
    samples = len(text.strip()) * MS_A_CHARACTER * RATE // 1000
    # A multiple of 5 Hz, so that pieces of 200 ms join without a click.
    hertz = 200 + 5 * (zlib.crc32(voice.encode()) % 60)
    time = np.arange(samples, dtype=np.float32) / RATE
    return encode(from_float((0.25 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)))


class When(Enum):
    """At which point of an utterance something goes wrong."""

    BEFORE = "before its first sound"
    AMID = "after two pieces"
    END = "in place of its end"
    AFTER = "once it is over"


class Then(Enum):
    """What follows."""

    GO_ON = "everything else as usual"
    SKIP = "the end is not told, all else is as usual"
    STALL = "nothing more comes of this utterance"
    ABORT = "the connection is gone"
    CLOSE = "the socket is closed with a code and a reason"


@dataclass(frozen=True, slots=True)
class Plan:
    """How things go, for all utterances (or handshakes) or for `times` of them after the first `skip`."""

    status: int | None = None
    """Handshakes are refused with it."""
    hangs: bool = False
    """Handshakes are not answered."""
    first_ms: int | None = None
    piece_ms: int | None = None
    piece: int = PIECE
    tiny: int = 0
    """So many bytes at the start come one by one."""
    mute: bool = False
    """There is no sound, only an end."""
    when: When = When.AMID
    say: tuple[str | bytes, ...] = ()
    """Messages sent at `when`; CONTEXT stands for the name of the utterance's context."""
    then: Then = Then.GO_ON
    code: int = 1008
    reason: str = ""
    skip: int = 0
    times: int | None = None

    def hits(self, number: int) -> bool:
        return self.skip <= number and (self.times is None or number < self.skip + self.times)

    def cut(self, sound: bytes) -> list[bytes]:
        """The pieces in which it is sent; three at least where something is to happen between them."""
        if self.mute:
            return []
        rest = sound[self.tiny :]
        size = min(self.piece, max(1, -(-len(rest) // 3))) if self.when is When.AMID else self.piece
        pieces = [sound[at : at + 1] for at in range(min(self.tiny, len(sound)))]
        return pieces + [rest[at : at + size] for at in range(0, len(rest), size)]


HANDSHAKES: dict[str, Plan] = {
    "handshake_401": Plan(status=401),
    "handshake_403": Plan(status=403),
    "handshake_404": Plan(status=404),
    "handshake_429": Plan(status=429),
    "handshake_500": Plan(status=500),
    "handshake_503_once": Plan(status=503, times=1),
    "handshake_never_answered": Plan(hangs=True),
}
"""Faults of every vendor, at the door."""

SOUNDS: dict[str, Plan] = {
    "slow_first_sound": Plan(first_ms=1_800),
    "too_slow_first_sound": Plan(first_ms=9_000),
    "slow_pieces": Plan(piece_ms=400),
    "silent_for_ever": Plan(when=When.BEFORE, then=Then.STALL),
    "silent_but_over": Plan(mute=True),
    "stall_in_mid_utterance": Plan(then=Then.STALL),
    "dropped_before_sound": Plan(when=When.BEFORE, then=Then.ABORT),
    "dropped_in_mid_utterance": Plan(then=Then.ABORT),
    "dropped_between_utterances": Plan(when=When.AFTER, then=Then.ABORT),
    "closed_cleanly_in_mid_utterance": Plan(then=Then.CLOSE, code=1000),
    "closed_going_away_before_sound": Plan(when=When.BEFORE, then=Then.CLOSE, code=1001, reason="restart"),
    "closed_cleanly_between_utterances": Plan(when=When.AFTER, then=Then.CLOSE, code=1000),
    "no_end": Plan(when=When.END, then=Then.SKIP),
    "garbage": Plan(say=('{"audio":',)),
    "garbage_between_utterances": Plan(when=When.AFTER, say=("<html>",)),
    "not_an_object": Plan(say=("[1,2,3]",)),
    "message_too_big": Plan(say=(" " * 4_500_000,)),
    "not_unicode": Plan(when=When.AFTER, say=('{"type":"\ud800"}',)),
    "unknown_messages": Plan(say=('{"type":"news","of":[null]}', '{"type":null}', "{}")),
    "one_byte_pieces": Plan(tiny=500),
    "one_huge_piece": Plan(piece=10_000_000, when=When.BEFORE),
}
"""Faults of every vendor, once it speaks."""


@dataclass(slots=True)
class Spoken:
    """One utterance as it was asked for."""

    socket: int
    context: str
    text: str = ""
    sounded: int = 0
    """Bytes of its sound that were sent."""
    over: bool = False
    """Everything of it was sent, its end included."""

    @property
    def characters(self) -> int:
        """What is billed: the text without the blanks that the protocol wants around it."""
        return len(self.text.strip())


@dataclass
class Door(ABC):
    """A websocket server on the loopback, and the record of what went through it.

    A vendor gives it an `admit`, which says why a handshake is refused, and a `converse` for a socket.
    """

    key: str = KEY
    first_ms: int = 0
    """From the text complete to the first sound."""
    piece_ms: int = 0
    """Between two pieces of sound, of 200 ms each."""
    plan: Plan = field(default_factory=Plan)
    spoken: list[Spoken] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """What a client did against the protocol."""
    handshakes: int = 0
    sockets: int = 0
    """Opened so far."""
    now_open: int = 0
    url: str = ""
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _running: Server | None = None

    async def __aenter__(self) -> Self:
        self._running = await serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._knock,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=1,
        )
        port = next(iter(self._running.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._closing.set()
        self._running.close()
        await self._running.wait_closed()

    @property
    def characters(self) -> int:
        """What the vendor bills in all."""
        return sum(one.characters for one in self.spoken)

    @abstractmethod
    def admit(self, request: Request) -> tuple[int, str] | None:
        """Status and body of a refusal, by the rules of the vendor."""

    @abstractmethod
    async def converse(self, socket: ServerConnection, number: int) -> None:
        """Everything on one socket until it closes."""

    def refusal(self, status: int) -> str:
        """The body of a refusal that is planned."""
        return f'{{"detail":{{"status":"planned","code":{status}}}}}'

    def wrong(self, what: str) -> None:
        self.violations.append(what)

    def plan_of_next(self) -> Plan:
        """How the utterance that comes next is to go."""
        return self.plan if self.plan.hits(len(self.spoken)) else Plan()

    async def _knock(self, socket: ServerConnection, request: Request) -> Response | None:
        number, self.handshakes = self.handshakes, self.handshakes + 1
        if self.plan.hits(number):
            if self.plan.hangs:
                await self._closing.wait()
                return socket.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "")
            if self.plan.status is not None:
                return _refused(socket, self.plan.status, self.refusal(self.plan.status))
        refused = self.admit(request)
        return None if refused is None else _refused(socket, *refused)

    async def _serve(self, socket: ServerConnection) -> None:
        number, self.sockets = self.sockets, self.sockets + 1
        self.now_open += 1
        try:
            await unless_closed(self.converse(socket, number))
        except (
            Exception
        ) as error:  # edge: of the socket's task; a broken emulator must not pass for a good client
            self.wrong(f"the emulator broke: {error!r}")
        finally:
            self.now_open -= 1


def _refused(socket: ServerConnection, status: int, body: str) -> Response:
    response = socket.respond(status, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    response.headers["dg-request-id"] = "00000000-0000-4000-8000-000000000000"
    return response


async def unless_closed(work: Awaitable[None]) -> None:
    """Do it, or as much of it as a socket that closes leaves time for."""
    with suppress(ConnectionClosed):
        await work


async def act(plan: Plan, socket: ServerConnection, context: str = "") -> None:
    """Do what is planned for this moment; does not return where nothing more is to come."""
    for message in plan.say:
        if isinstance(message, bytes):
            await socket.send(message)
        else:
            # Not as text, which the library would refuse when it is no Unicode.
            await socket.send(message.replace("CONTEXT", context).encode(errors="surrogatepass"), text=True)
    if plan.then is Then.STALL:
        await asyncio.Event().wait()
    if plan.then is Then.ABORT:
        socket.transport.abort()
        await socket.wait_closed()
    if plan.then is Then.CLOSE:
        await socket.close(plan.code, plan.reason)


def timed(plan: Plan, door: Door) -> tuple[float, float]:
    """Seconds to the first piece and between pieces."""
    first = door.first_ms if plan.first_ms is None else plan.first_ms
    piece = door.piece_ms if plan.piece_ms is None else plan.piece_ms
    return first / 1000, piece / 1000


async def sent_in_pieces(plan: Plan, door: Door, sound: bytes) -> AsyncIterator[tuple[int, bytes]]:
    """The pieces of a sound with their numbers, each when it is due."""
    first, between = timed(plan, door)
    await asyncio.sleep(first)
    for number, piece in enumerate(plan.cut(sound)):
        if number and number > plan.tiny:
            await asyncio.sleep(between)
        yield number, piece


def only(plan: Plan, *, skip: int = 0, times: int = 1) -> Plan:
    """The same, for `times` utterances (or handshakes) after the first `skip`."""
    return replace(plan, skip=skip, times=times)
