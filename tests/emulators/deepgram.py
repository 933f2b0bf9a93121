"""What Deepgram's two listening protocols have in common: the handshake, the count of sound, the faults.

Everything is driven by the sound received, 8,000 bytes a second, so it runs alike in virtual
and in real time. It understands nothing: loud is speech, and the n-th thing said is the
n-th text.

Long because the two protocols are one vendor's, and share nearly all of it.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State

from pipeline.audio.mulaw import FRAME, RATE, is_loud

KEY = "emulated"
FRAME_MS = 20
REQUEST_ID = "0c3b5a4e-0000-4000-8000-000000000000"

REFUSALS = {
    400: ("INVALID_QUERY_PARAMETER", "Bad Request: a parameter is not understood."),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits for an ASR request."),
    403: ("INSUFFICIENT_PERMISSIONS", "Project does not have access to the requested model."),
    404: ("NOT_FOUND", "No such path."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error."),
    503: ("SERVICE_UNAVAILABLE", "Service unavailable."),
}


# -- what goes wrong -------------------------------------------------------------------


class Moment(Enum):
    """When it goes wrong. All but the first are messages; a fault acts on one message of its turn."""

    AUDIO = "so many seconds of sound have come"
    CONNECTED = "Flux: the first message"
    START = "Flux: StartOfTurn"
    UPDATE = "Flux: the first Update of a turn"
    EAGER = "Flux: EagerEndOfTurn"
    RESUMED = "Flux: TurnResumed"
    END = "Flux: EndOfTurn; Nova: speech_final"
    INTERIM = "Nova: text that is not final"
    FINALIZED = "Nova: the answer to Finalize"


class Act(Enum):
    """What goes wrong, before or instead of the message unless it says after."""

    DROP = "the TCP connection is aborted"
    DROP_AFTER = "the message, then the TCP connection is aborted"
    CLOSE = "the socket is closed with 1011"
    CLOSE_IDLE = "the socket is closed for want of sound, and what has come is not heard"
    CLOSE_POLITELY = "the socket is closed with 1000"
    MUTE = "nothing is said from here on, the socket stays open"
    MUTE_AFTER = "the message, then nothing more, the socket stays open"
    GARBAGE = "a text that is not JSON"
    NO_OBJECT = "JSON, but not an object"
    ERROR = "an Error message, then the socket is closed"
    WARNING = "a Warning message before it"
    UNKNOWN = "a message type and an event of tomorrow before it"
    BINARY = "a binary message before it"
    GAP = "a hole in the sequence numbers before it"
    SKIP = "the message is numbered, but never sent"
    TWICE = "the message is sent twice"
    EMPTY = "the message has no text"
    LATE = "the message, and all after it, comes `seconds` later"


class Outcome(Enum):
    """What a client that behaves makes of it."""

    HEARD = "everything is understood all the same"
    PARTLY = "goes on, but what was lost on the way stays lost"
    FAILED = "fails, once open"
    REFUSED = "never opens"


@dataclass(frozen=True, slots=True)
class Fault:
    when: Moment
    act: Act
    turn: int = 0
    """Of this connection, from 0."""
    seconds: float = 0.0
    """Of sound, for `AUDIO`; of waiting, for `LATE`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one connection behaves. The fields below `faults` say how turns run that are not faulty, only unusual."""

    outcome: Outcome = Outcome.HEARD
    refuse: int = 0
    """HTTP status instead of a handshake."""
    hangs: bool = False
    """The handshake is never answered."""
    faults: tuple[Fault, ...] = ()
    rounds: int = 0
    """Flux: EagerEndOfTurn and TurnResumed so often before the end; only for clients that ask for eager ends."""
    changes: bool = False
    """Flux: each of these rounds has a word more."""
    by_timeout: bool = False
    """Flux: a turn ends by its timeout only."""
    endless: bool = False
    """Flux: a turn goes on with updates and never ends."""
    bare: bool = False
    """No words, confidences or triggers, as older servers."""
    noise_at: float | None = None
    """Flux: a turn without words begins and ends after so much sound."""
    finalizes: bool = True
    """Nova: Finalize is answered though nothing is left to say."""
    idle_s: float = 10.0
    """Nova: closes after so much time without sound."""


def fault(when: Moment, act: Act, outcome: Outcome, *, turn: int = 0, seconds: float = 0.0) -> Plan:
    """A plan with a single fault."""
    return Plan(outcome, faults=(Fault(when, act, turn, seconds),))


HANDSHAKES = {
    **{f"handshake_{status}": Plan(Outcome.REFUSED, refuse=status) for status in sorted(REFUSALS)},
    "handshake_hangs": Plan(Outcome.REFUSED, hangs=True),
}


class Gone(Exception):
    """The connection ends here."""


# -- one connection --------------------------------------------------------------------


@dataclass
class Record:
    """What came over one connection, and what was said on it."""

    path: str
    query: list[tuple[str, str]]
    refused: int = 0
    bytes: int = 0
    chunks: list[int] = field(default_factory=list)
    """Sizes of the binary messages, in order."""
    texts: list[str] = field(default_factory=list)
    """Text messages received."""
    said: list[Mapping[str, object]] = field(default_factory=list)
    """Messages sent."""
    violations: list[str] = field(default_factory=list)
    turns: int = 0
    """Ended on this connection."""
    open: bool = False

    @property
    def seconds_billed(self) -> int:
        return -(-self.bytes // RATE)


class Wire(ServerConnection):
    """Notes every sign of life, pings included, and the sound that came while it was open, read or not."""

    alive_at = 0.0
    record: Record | None = None

    def process_event(self, event: Event) -> None:
        self.alive_at = self.loop.time()
        # What comes after it has closed a vendor does not hear.
        heard = self.record if self.state is State.OPEN else None
        if heard is not None and isinstance(event, Frame) and event.opcode is Opcode.BINARY:
            heard.bytes += len(event.data)
        super().process_event(event)


class Session(ABC):
    """One connection being served: sound in, a frame of 20 ms at a time."""

    def __init__(self, emulator: Emulator, wire: Wire, record: Record, plan: Plan) -> None:
        self.emulator = emulator
        self.wire = wire
        self.record = record
        self.plan = plan
        self.query = dict(record.query)
        self.at_ms = 0
        """The clock: sound received."""
        self.sequence = 0
        self._rest = bytearray()
        self._pending = list(plan.faults)
        self._muted = False

    @abstractmethod
    async def frame(self, loud: bool) -> None:
        """The next 20 ms."""

    @abstractmethod
    async def order(self, kind: str, message: Mapping[str, object]) -> bool:
        """A text message; False if there is no such thing."""

    @abstractmethod
    async def opened(self) -> None: ...

    @abstractmethod
    def idle_s(self) -> float:
        """Seconds until the connection is closed for want of life."""

    @abstractmethod
    async def idle(self) -> None:
        """Close it. Raises `Gone`."""

    @abstractmethod
    async def unparsable(self) -> None:
        """A text message was not understood."""

    @abstractmethod
    def problem(self, act: Act) -> list[Mapping[str, object]]:
        """The messages of `ERROR`, `WARNING` and `UNKNOWN`."""

    async def serve(self) -> None:
        """Until the connection ends."""
        with suppress(ConnectionClosed, Gone):
            await self.opened()
            while True:
                await self._message(await self._next())

    async def _next(self) -> str | bytes:
        while True:
            left = self.idle_s()
            if left <= 0:
                await self.idle()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    return await self.wire.recv()

    async def _message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.record.texts.append(message)
            try:
                read = json.loads(message)
            except ValueError:
                read = None
            kind = read.get("type") if isinstance(read, dict) else None
            if not isinstance(kind, str) or not await self.order(kind, read):
                self.record.violations.append(f"text message not understood: {message[:60]}")
                await self.unparsable()
            return
        if not message:
            self.record.violations.append("empty binary message")
        if message.startswith(b'{"type"'):
            self.record.violations.append("a control message in a binary one")
        self.record.chunks.append(len(message))
        self._rest += message
        while len(self._rest) >= FRAME:
            sound = bytes(self._rest[:FRAME])
            del self._rest[:FRAME]
            self.at_ms += FRAME_MS
            await self._faults_by_sound()
            await self.frame(is_loud(sound))

    async def _faults_by_sound(self) -> None:
        for each in [fault for fault in self._pending if fault.when is Moment.AUDIO]:
            if self.at_ms >= each.seconds * 1000:
                self._pending.remove(each)
                await self._act(each)

    async def say(self, when: Moment | None, message: Mapping[str, object], *, turn: int = 0) -> None:
        """Send a message, or what the plan makes of it. `when` names it to the plan."""
        for each in [fault for fault in self._pending if fault.when is when and fault.turn == turn]:
            self._pending.remove(each)
            match each.act:
                case Act.SKIP:
                    self.sequence += 1
                    return
                case Act.TWICE:
                    await self.send(message)
                case Act.EMPTY:
                    message = self.emptied(message)
                case Act.DROP_AFTER | Act.MUTE_AFTER:
                    await self.send(message)
                    await self._act(each)
                    return
                case _:
                    await self._act(each)
        await self.send(message)

    @abstractmethod
    def emptied(self, message: Mapping[str, object]) -> Mapping[str, object]:
        """The message without its text."""

    async def send(self, message: Mapping[str, object]) -> None:
        if not self._muted:
            whole = self.numbered(message)
            self.record.said.append(whole)
            await self.wire.send(json.dumps(whole))

    def numbered(self, message: Mapping[str, object]) -> Mapping[str, object]:
        self.sequence += 1
        return message

    async def _act(self, fault: Fault) -> None:
        match fault.act:
            case Act.DROP | Act.DROP_AFTER:
                self.wire.transport.abort()
                raise Gone
            case Act.CLOSE:
                await self.close(1011, "NET-0000")
            case Act.CLOSE_IDLE:
                self.record.bytes = 0
                await self.close(1011, "NET-0001")
            case Act.CLOSE_POLITELY:
                await self.close(1000, "")
            case Act.MUTE | Act.MUTE_AFTER:
                self._muted = True
            case Act.GARBAGE:
                await self.wire.send('{"type":"TurnInfo","event":')
            case Act.NO_OBJECT:
                await self.wire.send("[1, 2]")
            case Act.BINARY:
                await self.wire.send(b"\x00\x01")
            case Act.GAP:
                self.sequence += 3
            case Act.LATE:
                await self.emulator.pass_time(fault.seconds)
            case Act.ERROR | Act.WARNING | Act.UNKNOWN:
                for message in self.problem(fault.act):
                    await self.send(message)
                if fault.act is Act.ERROR:
                    await self.close(1011, "")
            case Act.SKIP | Act.TWICE | Act.EMPTY:
                raise AssertionError(f"{fault.act} needs a message, {fault.when} is none")

    async def close(self, code: int, reason: str) -> None:
        await self.wire.close(code, reason)
        raise Gone


# -- the server ------------------------------------------------------------------------


class Emulator(ABC):
    """A server for one protocol, an async context manager with a `url`.

    The n-th connection follows the n-th plan, those after the last behave. What is said
    on a connection goes on where the one before it stopped, for a client opens another
    when it lost one; for many callers at once set `continues` to False.
    """

    path: str

    def __init__(
        self,
        texts: Sequence[str],
        plans: Sequence[Plan],
        *,
        key: str,
        repeat: bool,
        continues: bool,
    ) -> None:
        self.records: list[Record] = []
        """Every handshake that came, in order."""
        self.turns = 0
        """Texts said in full, on all connections."""
        self._texts = list(texts)
        self._plans = list(plans)
        self._key = key
        self._repeat = repeat
        self._continues = continues
        self._served: dict[ServerConnection, tuple[Record, Plan]] = {}
        self._over = asyncio.Event()
        self._server: Server | None = None
        self.url = ""

    @property
    def seconds_billed(self) -> int:
        return sum(record.seconds_billed for record in self.records)

    @property
    def serving(self) -> int:
        """Connections open now."""
        return sum(record.open for record in self.records)

    @property
    def violations(self) -> list[str]:
        return [each for record in self.records for each in record.violations]

    def text(self, record: Record) -> str:
        """What is being said on this connection now."""
        position = self.turns if self._continues else record.turns
        if self._repeat and self._texts:
            position %= len(self._texts)
        return self._texts[position] if position < len(self._texts) else ""

    def turn_over(self, record: Record) -> None:
        self.turns += 1
        record.turns += 1

    async def pass_time(self, seconds: float) -> None:
        """Wait, but no longer than the emulator lives."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    @abstractmethod
    def session(self, wire: Wire, record: Record, plan: Plan) -> Session: ...

    @abstractmethod
    def refuses(self, query: Sequence[tuple[str, str]]) -> str:
        """What is wrong with the parameters; "" for nothing."""

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._handshake,
            create_connection=Wire,
            compression=None,
            open_timeout=None,
            ping_interval=None,
            close_timeout=1,
            max_queue=None,
        )
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _handshake(self, wire: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        record = Record(address.path, parse_qsl(address.query, keep_blank_values=True))
        self.records.append(record)
        assert isinstance(wire, Wire)
        wire.record = record
        number = len(self.records) - 1
        plan = self._plans[number] if number < len(self._plans) else Plan()
        self._served[wire] = (record, plan)
        status, why = plan.refuse, ""
        if plan.hangs:
            await self._over.wait()
            status = 503
        elif not status and address.path != self.path:
            status = 404
        elif not status and request.headers.get("Authorization") != f"Token {self._key}":
            status = 401
        elif not status and (why := self.refuses(record.query)):
            status = 400
        if not status:
            return None
        if not plan.refuse and not plan.hangs:
            record.violations.append(f"refused with {status} {why}".rstrip())
        record.refused = status
        return _refusal(wire, status, why)

    async def _serve(self, wire: ServerConnection) -> None:
        assert isinstance(wire, Wire)
        record, plan = self._served.pop(wire)
        record.open = True
        try:
            await self.session(wire, record, plan).serve()
        finally:
            record.open = False


def _refusal(wire: ServerConnection, status: int, why: str) -> Response:
    code, text = REFUSALS[status]
    body = {"err_code": code, "err_msg": why or text, "request_id": REQUEST_ID}
    response = wire.respond(status, json.dumps(body))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    response.headers["dg-error"] = text
    response.headers["dg-request-id"] = REQUEST_ID
    return response


def check_parameters(
    query: Sequence[tuple[str, str]],
    known: Mapping[str, Collection[str] | None],
    repeatable: Collection[str],
) -> str:
    """What is wrong with names and values; None stands for any value."""
    names = [name for name, _ in query]
    for name, value in query:
        if name not in known:
            return f"unknown parameter {name}"
        allowed = known[name]
        if not value or (allowed is not None and value not in allowed):
            return f"bad value of {name}"
        if names.count(name) > 1 and name not in repeatable:
            return f"{name} twice"
    return ""


def within(value: str, low: float, high: float) -> bool:
    try:
        return low <= float(value) <= high
    except ValueError:
        return False
