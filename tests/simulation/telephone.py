"""The telephone network of a simulation: calls that go on whatever becomes of the servers.

It follows the carrier's protocol as the real exchange does (`pipeline/carriers/exchange.py`), but in 100 ms steps and
without sockets. It is also the provider of record: what it knows of a call's seconds is what the ledger is held to.

Long because one network has all a carrier does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from twilio.request_validator import RequestValidator

from pipeline.carriers.base import OVER, DialOrder, Leg
from pipeline.carriers.twiml import BadTwiml, ConnectStream, Pause, Redirect, parse
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Permit
from tests.simulation.wire import Door, Socket, Unreachable

STEP_S = 0.1
STEP_BYTES = 800
QUIET = b"\xff" * STEP_BYTES
LOUD = b"\x20\xa0" * (STEP_BYTES // 2)
"""A noise that counts as speech."""
REDIRECTS = 10
UNCOUNTED_S = 0.8
"""So long after its end a call has no duration yet, where somebody looks it up."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How one person takes one call, in seconds. `talk` is (quiet, speech) in turn, from the first word heard on."""

    outcome: str
    after_s: float
    talk: tuple[tuple[float, float], ...]
    hangs_up_s: float
    machine: str
    vanishes_s: float | None
    presses_9_s: float | None = None


@dataclass(slots=True)
class NetworkCall:
    """One leg, as the carrier has it. Times are seconds on the loop."""

    sid: str
    order: DialOrder
    placed: float
    created: datetime
    habits: Habits
    status: str = "queued"
    answered: float | None = None
    ended: float | None = None
    seconds: int = 0
    callbacks: int = 0
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    by: str = ""
    """The node that dialled."""
    pressed: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """When the person pressed 9."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def call_id(self) -> str:
        return parse_qs(urlsplit(self.order.status_url).query)["call"][0]

    @property
    def leg(self) -> Leg:
        return Leg(self.sid, self.status, self.seconds)


class Routing(Protocol):
    """The load balancer in front of the nodes."""

    def door(self, prefer: str) -> Door | None:
        """A node that answers, the preferred one if it can; None when all are gone."""


class Network:
    """Use `line` for a node's own `Carrier`. `tasks` is the network's: its calls belong to no node."""

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        routing: Routing,
        account_sid: str,
        auth_token: str,
        draw: Random,
        habits: Callable[[], Habits],
        utc: Callable[[], datetime],
        note: Callable[[str], None],
        unanswered: float,
    ) -> None:
        """`unanswered` is the part of the hang-ups and look-ups that get no answer. Such a leg goes on, up to the
        carrier's own time limit."""
        self.unanswered = unanswered
        self.calls: dict[str, NetworkCall] = {}
        self.texts: list[tuple[str, str]] = []
        self._tasks = tasks
        self._routing = routing
        self._account_sid = account_sid
        self._validator = RequestValidator(auth_token)
        self._draw = draw
        self._habits = habits
        self._utc = utc
        self._note = note
        self._context = copy_context()
        self.prompt = False
        """Deliver each callback once and at once, at the end of a simulation."""

    @property
    def busy(self) -> bool:
        return any(call.status not in OVER for call in self.calls.values())

    def place(self, order: DialOrder, node: str) -> NetworkCall:
        sid = "CA" + secrets.token_hex(16)
        now = asyncio.get_running_loop().time()
        call = NetworkCall(sid, order, now, self._utc(), self._habits(), by=node)
        self.calls[sid] = call
        self._note(f"dialled by {node}: call {call.call_id[:6]}, {call.habits.outcome}")
        self._spawn(self._live(call))
        return call

    def end(self, sid: str) -> None:
        if (call := self.calls.get(sid)) is not None:
            call.cut.set()

    def everybody_hangs_up(self) -> None:
        for call in self.calls.values():
            if call.status == "in-progress":
                call.cut.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """In a context of the network's own: what a node asks for goes on without the node."""
        try:
            self._tasks.create_task(work, context=self._context.copy())
        except RuntimeError:  # the world ends
            work.close()

    # -- the course of a call ------------------------------------------------------------

    async def _live(self, call: NetworkCall) -> None:
        async with asyncio.TaskGroup() as tasks:
            course = tasks.create_task(self._course(call))
            cut = tasks.create_task(call.cut.wait())
            await asyncio.wait({course, cut}, return_when=asyncio.FIRST_COMPLETED)
            course.cancel()
            cut.cancel()
        call.ended = asyncio.get_running_loop().time()
        call.over.set()
        if call.answered is not None:
            call.status, call.seconds = "completed", max(1, round(call.ended - call.answered))
        elif call.status not in OVER:
            call.status = "canceled"
        self._note(f"the carrier ends call {call.call_id[:6]}: {call.status}, {call.seconds} s")
        self._tell(call, "completed")

    async def _course(self, call: NetworkCall) -> None:
        self._tell(call, "initiated")
        await asyncio.sleep(0.3)
        call.status = "ringing"
        self._tell(call, "ringing")
        await asyncio.sleep(min(call.habits.after_s, call.order.ring_s))
        if call.habits.after_s >= call.order.ring_s or call.habits.outcome != "answer":
            call.status = "busy" if call.habits.outcome == "busy" else "no-answer"
            return
        call.status, call.answered = "in-progress", asyncio.get_running_loop().time()
        self._tell(call, "answered")
        if call.order.detect_machine:
            self._spawn(self._detect(call))
        limit = asyncio.timeout(call.order.limit_s)
        try:
            async with limit:
                await self._follow(call)
        except TimeoutError:
            if not limit.expired():
                raise
            self._note(f"the carrier's limit ends call {call.call_id[:6]}")

    async def _detect(self, call: NetworkCall) -> None:
        await asyncio.sleep(1.6)
        if call.status == "in-progress":
            await self._post(
                call, call.order.amd_url, {**self._about(call), "AnsweredBy": call.habits.machine}
            )

    async def _follow(self, call: NetworkCall) -> None:
        url, began = call.order.answer_url, asyncio.get_running_loop().time()
        for _ in range(REDIRECTS):
            body = await self._post(call, url, {**self._about(call), "CallStatus": call.status})
            try:
                verbs = parse(body.decode()) if body else ()
            except BadTwiml:
                verbs = ()
            following = ""
            for verb in verbs:
                if isinstance(verb, ConnectStream):
                    if not await self._stream(call, verb, began):
                        return
                    following = verb.action
                elif isinstance(verb, Redirect):
                    following = verb.url
                elif isinstance(verb, Pause):
                    await asyncio.sleep(verb.seconds)
                else:
                    return
                if following:
                    break
            if not following:
                return
            url = urljoin(url, following)

    async def _stream(self, call: NetworkCall, verb: ConnectStream, began: float) -> bool:
        """False when the person hung up."""
        door = self._routing.door(call.by)
        if door is None:
            return True
        headers = {"x-twilio-signature": self._validator.compute_signature(verb.url, {})}
        socket = door.open(verb.url, headers)
        if not await socket.let_in(5.0):
            return True
        stays = await _Stream(call, socket, self._account_sid, dict(verb.parameters), began).run()
        self._note(
            f"the stream of call {call.call_id[:6]} is over: {'theirs' if stays else 'the person hung up'}"
        )
        return stays

    # -- telling the servers ---------------------------------------------------------------

    def _tell(self, call: NetworkCall, event: str) -> None:
        sequence, call.callbacks = call.callbacks, call.callbacks + 1
        fields = {
            **self._about(call),
            "CallStatus": "initiated" if event == "initiated" else call.status,
            "SequenceNumber": str(sequence),
        }
        if event == "completed" and call.answered is not None:
            fields["CallDuration"] = str(call.seconds)
        for delay in self._deliveries():
            self._spawn(self._later(call, fields, delay))

    def _deliveries(self) -> Sequence[float]:
        """Once as a rule; lost, late, or several times out of order."""
        chance = self._draw.random()
        if self.prompt or chance < 0.7:
            return (0.05,)
        if chance < 0.8:
            return ()
        return tuple(self._draw.uniform(0.0, 6.0) for _ in range(self._draw.randint(1, 3)))

    async def _later(self, call: NetworkCall, fields: dict[str, str], delay: float) -> None:
        await asyncio.sleep(delay)
        await self._post(call, call.order.status_url, fields)

    async def _post(self, call: NetworkCall, url: str, fields: dict[str, str]) -> bytes:
        """The body of the answer, b"" without one; a second try when nobody was there."""
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": self._validator.compute_signature(url, fields),
        }
        for _ in range(2):
            if (door := self._routing.door(call.by)) is None:
                await asyncio.sleep(1.0)
                continue
            try:
                reply = await door.ask("POST", url, headers, urlencode(fields).encode())
            except Unreachable:
                continue
            return reply.body if reply.status == 200 else b""
        return b""

    def _about(self, call: NetworkCall) -> dict[str, str]:
        return {
            "CallSid": call.sid,
            "AccountSid": self._account_sid,
            "From": call.order.sender,
            "To": call.order.to,
            "Direction": "outbound-api",
        }


class _Stream:
    """The sound of one call over one socket, in steps of 100 ms."""

    def __init__(
        self, call: NetworkCall, socket: Socket, account_sid: str, parameters: dict[str, str], began: float
    ) -> None:
        self._call = call
        self._socket = socket
        self._account_sid = account_sid
        self._parameters = parameters
        self._began = began
        self._sid = "MZ" + secrets.token_hex(16)
        self._sequence = self._chunk = 0
        self._buffered = 0
        self._marks: list[tuple[int, str]] = []
        self._played = self._queued = 0

    async def run(self) -> bool:
        self._socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        start = {
            "accountSid": self._account_sid,
            "callSid": self._call.sid,
            "streamSid": self._sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": self._parameters,
        }
        self._send("start", start)
        loop, habits = asyncio.get_running_loop(), self._call.habits
        try:
            while not self._socket.gone:
                await asyncio.sleep(STEP_S)
                for text in self._socket.received():
                    self._obey(json.loads(text))
                self._play()
                passed = loop.time() - self._began
                if passed >= habits.hangs_up_s:
                    self._send("stop", {"accountSid": self._account_sid, "callSid": self._call.sid})
                    return False
                if habits.vanishes_s is not None and passed >= habits.vanishes_s:
                    return True  # the socket breaks without a word
                if (
                    habits.presses_9_s is not None
                    and passed >= habits.presses_9_s
                    and not self._call.pressed.done()
                ):
                    self._call.pressed.set_result(loop.time())
                    self._send("dtmf", {"track": "inbound_track", "digit": "9"})
                self._media(_speaks(habits.talk, passed))
            return True
        finally:
            self._socket.close(1006)

    def _obey(self, message: dict[str, object]) -> None:
        match message:
            case {"event": "media", "media": {"payload": str(payload)}}:
                self._queued += len(base64.b64decode(payload))
            case {"event": "mark", "mark": {"name": str(name)}}:
                self._marks.append((self._queued, name))
            case {"event": "clear"}:
                self._played = self._queued

    def _play(self) -> None:
        self._played = min(self._queued, self._played + STEP_BYTES)
        while self._marks and self._marks[0][0] <= self._played:
            self._send("mark", {"name": self._marks.pop(0)[1]})

    def _media(self, speaks: bool) -> None:
        self._chunk += 1
        payload = base64.b64encode(LOUD if speaks else QUIET).decode()
        self._send(
            "media",
            {
                "track": "inbound",
                "chunk": str(self._chunk),
                "timestamp": str(self._chunk * 100),
                "payload": payload,
            },
        )

    def _send(self, event: str, body: Mapping[str, object]) -> None:
        self._sequence += 1
        self._socket.send(
            json.dumps(
                {"event": event, "sequenceNumber": str(self._sequence), event: body, "streamSid": self._sid}
            )
        )


def _speaks(talk: tuple[tuple[float, float], ...], passed: float) -> bool:
    at = 0.0
    for quiet, speech in talk:
        if at + quiet <= passed < at + quiet + speech:
            return True
        at += quiet + speech
    return False


class NodeLine:
    """One node's way to the carrier: a `Carrier`. Answers take a moment; some get lost, and some dials are too."""

    def __init__(self, network: Network, node: str, draw: Random, die: Callable[[], None]) -> None:
        self._network = network
        self._node = node
        self._draw = draw
        self._die = die
        self.calm = False
        self.gone = False
        """The node is being buried: nobody answers it any more."""

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        permit.spend(order.to, permit.given_at)
        chance = 1.0 if self.calm else self._draw.random()
        await asyncio.sleep(self._draw.uniform(0.05, 0.4))
        if chance < 0.02 or self.gone:
            raise CarrierError("no route", code=21215)
        if chance < 0.04:
            raise CarrierError("the request was lost", unsure=True)
        call = self._network.place(order, self._node)
        if chance < 0.06:
            raise CarrierError("the answer was lost", unsure=True)
        if chance < 0.09:
            self._die()
        await asyncio.sleep(3.0 if chance < 0.12 else 0.05)  # its callbacks may come first
        return call.leg

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        await asyncio.sleep(0.1)
        for call in reversed(self._network.calls.values()):
            if (call.order.to, call.order.sender) == (order.to, order.sender) and call.created >= since:
                return call.leg
        return None

    async def hang_up(self, sid: str) -> None:
        await self._answer()
        self._network.end(sid)

    async def fetch(self, sid: str) -> Leg:
        await self._answer()
        call = self._network.calls.get(sid)
        if call is None:
            raise CarrierError("no such call", code=20404)
        now = asyncio.get_running_loop().time()
        if call.status == "completed" and call.ended is not None and now < call.ended + UNCOUNTED_S:
            return Leg(sid, call.status, None)
        return call.leg

    async def send_sms(self, to: str, body: str) -> None:
        self._network.texts.append((to, body))

    async def aclose(self) -> None: ...

    async def _answer(self) -> None:
        await asyncio.sleep(self._draw.uniform(0.05, 0.3))
        if self.gone or (not self.calm and self._draw.random() < self._network.unanswered):
            raise CarrierError("no answer", retryable=True)
