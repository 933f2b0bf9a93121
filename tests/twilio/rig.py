"""A server with a desk that remembers, on loopback, and a loop that runs faster than time."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from pipeline.audio.mulaw import encode
from pipeline.carriers.base import DialOrder
from pipeline.carriers.callee import Script, Stretches
from pipeline.carriers.exchange import Delivery, prompt
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.clock import Clock, ScaledLoop
from pipeline.core.errors import BadStream
from pipeline.core.terms import EndReason
from pipeline.ports import Line
from server.routes.twilio import twilio_routes
from server.sockets import Socket

ACCOUNT = "AC" + "0" * 32
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
CALLER, CALLEE = "+12025550100", "+12025550123"

T = TypeVar("T")


def run_scaled(main: Coroutine[object, object, T], speed: float = 10.0) -> T:
    """Run on a loop whose clock is `speed` times as fast as the wall's.

    Time-outs shrink with it: where many sockets meet a five-second limit, go slower.
    """
    with asyncio.Runner(loop_factory=lambda: ScaledLoop(speed)) as runner:
        return runner.run(main)


_SINE = np.rint(8000 * np.sin(2 * np.pi * np.arange(20) / 20)).astype(np.int16)
_PERIOD = encode(_SINE)  # 400 Hz


def tone(ms: int) -> bytes:
    """A sound nobody takes for silence."""
    return (_PERIOD * (ms * 8 // 20 + 1))[: ms * 8]


class Conversation:
    """A live call that greets, and answers whatever it hears with a tone of its own."""

    def __init__(self, line: Line, greeting_ms: int = 600, answer_ms: int = 400) -> None:
        self.line = line
        self.heard = bytearray()
        self.marks: list[int] = []
        self.digits: list[str] = []
        self.ended: list[EndReason] = []
        self.breaks = 0
        self.over = asyncio.Event()
        self.sound = asyncio.Event()
        self._answer_ms = answer_ms
        self._caller = Stretches()
        self._answered = 0
        self._chunks = 0
        if greeting_ms:
            self.say(tone(greeting_ms))

    def say(self, sound: bytes) -> None:
        self._chunks += 1
        self.line.play(self._chunks, sound)

    def hear(self, mulaw: bytes) -> None:
        self._caller.feed(len(self.heard) // 8, mulaw)
        self.heard += mulaw
        self.sound.set()
        if len(self._caller.finished) > self._answered:
            self._answered += 1
            if self._answer_ms:
                self.say(tone(self._answer_ms))

    async def hears(self, total: int) -> None:
        """Wait until so many bytes of the caller have come in all, or the call is over."""
        while len(self.heard) < total and not self.over.is_set():
            self.sound.clear()
            await self.sound.wait()

    def played(self, chunk: int) -> None:
        self.marks.append(chunk)

    def pressed(self, digit: str) -> None:
        self.digits.append(digit)

    def dropped(self, reason: EndReason) -> None:
        self.ended.append(reason)
        self.over.set()
        self.sound.set()

    def broken(self) -> None:
        self.breaks += 1
        self.over.set()
        self.sound.set()


@dataclass
class FakeDesk:
    """Records what the routes hand on. Tokens are single use and bound to a CallSid, as the real ones."""

    converse: Callable[[Line], Conversation] = Conversation
    accept: bool = True
    resumes: bool = False
    answers: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Which calls the carrier asked how to go on with."""
    statuses: list[tuple[str, str, str, int | None, int]] = field(default_factory=list)
    verdicts: list[tuple[str, str]] = field(default_factory=list)
    lives: list[Conversation] = field(default_factory=list)
    opted_out: list[tuple[str, str]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[FakeDesk], bool], within_s: float = 60.0) -> None:
        """Wait until what was recorded makes it so; `TimeoutError` when it never does."""
        async with asyncio.timeout(within_s):
            while not condition(self):
                self.news.clear()
                await self.news.wait()

    async def answered(self, call_id: str, sid: str) -> str | None:
        self.news.set()
        self.answers.append((call_id, sid))
        return self.token(sid) if self.accept else None

    async def resumed(self, call_id: str, sid: str) -> str | None:
        self.news.set()
        self.asked.append((call_id, sid))
        return self.token(sid) if self.resumes else None

    def token(self, sid: str) -> str:
        token = secrets.token_urlsafe(32)
        self.tokens[token] = sid
        return token

    async def status(self, sid: str, call_id: str, status: str, seconds: int | None, sequence: int) -> None:
        self.news.set()
        self.statuses.append((sid, call_id, status, seconds, sequence))

    async def machine(self, sid: str, answered_by: str) -> None:
        self.news.set()
        self.verdicts.append((sid, answered_by))

    async def opt_out(self, e164: str, how: str) -> None:
        self.opted_out.append((e164, how))

    async def attach(self, token: str, call_sid: str, line: Line) -> Conversation:
        if self.tokens.get(token) != call_sid:
            raise BadStream("no such token")
        del self.tokens[token]
        live = self.converse(line)
        self.lives.append(live)
        self.news.set()
        return live

    @property
    def touched(self) -> bool:
        return bool(
            self.answers or self.asked or self.statuses or self.verdicts or self.lives or self.opted_out
        )


@dataclass
class FakeParts:
    desk: FakeDesk
    clock: Clock


class _Server(uvicorn.Server):
    """Says when it listens, and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_socket() -> tuple[socket.socket, str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


@asynccontextmanager
async def serving(
    app: ASGIApp, listening: socket.socket, ws: str | type[asyncio.Protocol] = Socket
) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws=ws,
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve([listening]))
        await server.ready.wait()
        try:
            yield
        finally:
            server.should_exit = True


@dataclass
class Site:
    """A running server, its desk and the carrier that knows its secret."""

    url: str
    desk: FakeDesk
    carrier: SimulatedCarrier

    def order(self, *, ring_s: int = 25, limit_s: int = 600, detect_machine: bool = False) -> DialOrder:
        return DialOrder(
            to=CALLEE,
            sender=CALLER,
            answer_url=f"{self.url}/twilio/voice?call=call-1",
            status_url=f"{self.url}/twilio/status?call=call-1",
            amd_url=f"{self.url}/twilio/amd",
            ring_s=ring_s,
            limit_s=limit_s,
            detect_machine=detect_machine,
        )


@asynccontextmanager
async def site(
    script: Script | None = None,
    *,
    desk: FakeDesk | None = None,
    delivery: Delivery = prompt,
    public_url: str = "",
) -> AsyncIterator[Site]:
    """The routes under test, served; and an exchange with one callee on it.

    `public_url` is for requests that claim to come through a proxy; it is not where the server listens.
    """
    listening, url = free_socket()
    desk = desk or FakeDesk()
    known = twilio_routes(public_url=public_url or url, account_sid=ACCOUNT, auth_tokens=(AUTH_TOKEN,))
    app = Starlette(routes=known)
    app.state.parts = FakeParts(desk, Clock())
    carrier = SimulatedCarrier(
        clock=Clock(),
        account_sid=ACCOUNT,
        auth_token=AUTH_TOKEN,
        sender=CALLER,
        phones=lambda _number: script or Script(),
        delivery=delivery,
    )
    async with serving(app, listening), carrier:
        yield Site(url, desk, carrier)
