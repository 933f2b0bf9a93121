"""A telephone exchange of our own. Towards the server it behaves as Twilio does: over real
HTTP and websockets, with signed requests, on the event loop's time.

Decides the course of a call (ringing, answer, the document, the stream, the end) and tells
the server by status callbacks. It shares no state with the server; all it knows of it are
the URLs of the order. Whatever the server does wrong ends up in `alerts`, as in the
carrier's debugger.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from email.utils import format_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from pipeline.carriers import callee as answers
from pipeline.carriers import menu, twiml
from pipeline.carriers.base import OVER, DialOrder
from pipeline.carriers.callee import Answer, Busy, Callee, NoAnswer, Script
from pipeline.carriers.phonecall import Alert, Moment, PhoneCall, Sms
from pipeline.carriers.stream import MediaSocket, StreamEnd
from pipeline.carriers.twiml import BadTwiml, ConnectStream, Verb, parse
from pipeline.carriers.webhooks import Webhooks, signed_url
from pipeline.clock import Clock
from pipeline.surprises import SURPRISES

EVENTS = ("initiated", "ringing", "answered", "completed")

KEPT = 100
"""Finished calls, text messages and alerts that can still be looked up."""

_DIAL_S = 0.3
"""From the order to the first ring."""
_REDIRECTS = 10
_HANDSHAKE_S = 5.0
_NOTHING: Mapping[str, str] = {}
_SIP = {"completed": "200", "busy": "486", "no-answer": "487", "canceled": "487", "failed": "404"}

Delivery = Callable[[str, int], Sequence[float]]
"""Event and sequence number of a callback -> seconds after which it is delivered, once for each:
(0.0,) as it should be, () lost, (0.0, 0.0) twice, (3.0,) late."""

log = structlog.get_logger()


def prompt(_event: str, _sequence: int) -> Sequence[float]:
    return (0.0,)


class Exchange:
    """Use as a context: it owns the calls' tasks. Leaving it drops what is still going on, silently."""

    def __init__(
        self,
        *,
        clock: Clock,
        account_sid: str,
        auth_token: str,
        phones: Callable[[str], Script],
        delivery: Delivery = prompt,
        keep_audio: bool = True,
    ) -> None:
        self.account_sid = account_sid
        self.calls: dict[str, PhoneCall] = {}
        self.sms: list[Sms] = []
        self.alerts: list[Alert] = []
        self._clock = clock
        self._auth_token = auth_token
        self._phones = phones
        self._delivery = delivery
        self._keep_audio = keep_audio
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._webhooks: Webhooks | None = None

    async def __aenter__(self) -> Self:
        self._webhooks = Webhooks(self._auth_token)
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            await self._http.aclose()

    # -- what the REST interface does ------------------------------------------------------

    def place(self, order: DialOrder, events: tuple[str, ...] = EVENTS) -> PhoneCall:
        """Queue a call. It takes its course by itself."""
        callee = Callee(self._phones(order.to), keep_audio=self._keep_audio)
        now = self._clock.seconds()
        call = PhoneCall(f"CA{secrets.token_hex(16)}", order, events, self._clock.utc(), now, callee)
        self.calls[call.sid] = call
        self._spawn(self._live(call))
        return call

    def ring_in(self, caller: str, order: DialOrder, script: Script) -> PhoneCall:
        """Somebody rings the server's number, `order.to`. Of such calls its status URL hears the end alone."""
        order = replace(order, sender=caller, detect_machine=False)
        callee = Callee(script, keep_audio=self._keep_audio)
        now, sid = self._clock.seconds(), f"CA{secrets.token_hex(16)}"
        call = PhoneCall(
            sid, order, ("completed",), self._clock.utc(), now, callee, status="ringing", direction="inbound"
        )
        self.calls[call.sid] = call
        self._spawn(self._live(call))
        return call

    def end(self, sid: str, *, only_unanswered: bool = False) -> PhoneCall | None:
        """Hang up as `Status=completed` does, or `canceled`; None when there is no live call of that name."""
        call = self.calls.get(sid)
        if call is None or call.status in OVER:
            return None
        if not (only_unanswered and call.answered_s is not None):
            self._cut_at(call, self._clock.seconds())
        return call

    def text(self, to: str, sender: str, body: str) -> Sms:
        message = Sms(f"SM{secrets.token_hex(16)}", to, sender, body)
        self.sms.append(message)
        del self.sms[:-KEPT]
        return message

    # -- a call ----------------------------------------------------------------------------

    async def _live(self, call: PhoneCall) -> None:
        try:
            async with asyncio.timeout(None) as call.cut:
                status = await self._course(call)
        except Exception as error:  # edge: one call's failure is no other call's
            if isinstance(error, TimeoutError) and call.cut is not None and call.cut.expired():
                status = call.verdict_on_cut
            else:
                SURPRISES.labels("exchange").inc()
                log.exception("simulated_call_failed", call_sid=call.sid)
                self._alert(call, 0, f"the exchange failed: {error!r}")
                status = "failed"
        call.status = status
        if call.answered_s is not None:
            call.seconds = max(1, round(self._clock.seconds() - call.answered_s))
        self._tell(call, "completed")
        if call.deliveries:
            await asyncio.wait(call.deliveries)
        call.over.set()
        for sid in [sid for sid, known in self.calls.items() if known.over.is_set()][:-KEPT]:
            del self.calls[sid]

    async def _course(self, call: PhoneCall) -> str:
        """From the order to the end; the final status."""
        if call.direction == "inbound":
            return await self._incoming(call)
        self._tell(call, "initiated")
        await asyncio.sleep(_DIAL_S)
        call.status = "ringing"
        self._tell(call, "ringing")
        outcome = call.callee.script.outcome
        limit = float(call.order.ring_s)
        wait = limit if isinstance(outcome, NoAnswer) else outcome.after_ms / 1000
        await asyncio.sleep(min(wait, limit))
        if wait >= limit or isinstance(outcome, answers.Reject):
            return "no-answer"
        if isinstance(outcome, Busy):
            return "busy"
        assert isinstance(outcome, Answer)
        self._connect(call)
        if call.order.detect_machine and call.order.amd_url:
            self._spawn(self._detect_machine(call))
        await self._follow(call, await self._document(call, call.order.answer_url))
        return "completed"

    async def _incoming(self, call: PhoneCall) -> str:
        """The server is asked first: a document that begins with a rejection leaves the call unanswered."""
        await asyncio.sleep(_DIAL_S)
        verbs = await self._document(call, call.order.answer_url)
        if verbs and isinstance(verbs[0], twiml.Reject):
            return "busy" if verbs[0].busy else "no-answer"
        self._connect(call)
        await self._follow(call, verbs)
        return "completed"

    def _connect(self, call: PhoneCall) -> None:
        call.status, call.verdict_on_cut = "in-progress", "completed"
        call.answered_s = self._clock.seconds()
        self._cut_at(call, call.answered_s + call.order.limit_s)
        self._tell(call, "answered")

    def _cut_at(self, call: PhoneCall, when: float) -> None:
        if call.cut is None:  # its course has not begun: there is nothing to cut yet
            self._spawn(self._cut_soon(call))
        elif not call.cut.expired():
            due = call.cut.when()
            call.cut.reschedule(when if due is None else min(due, when))

    async def _cut_soon(self, call: PhoneCall) -> None:
        await asyncio.sleep(0)
        self.end(call.sid)

    async def _detect_machine(self, call: PhoneCall) -> None:
        machine = call.callee.script.machine
        await asyncio.sleep(machine.after_ms / 1000)
        if call.status in OVER:
            return
        call.answered_by = machine.kind
        self._note(call, f"amd {machine.kind}")
        fields = {
            "CallSid": call.sid,
            "AccountSid": self.account_sid,
            "AnsweredBy": machine.kind,
            "MachineDetectionDuration": str(machine.after_ms),
        }
        await self._post(call, call.order.amd_url, fields)

    # -- the document ----------------------------------------------------------------------

    async def _follow(self, call: PhoneCall, verbs: tuple[Verb, ...]) -> None:
        """Carry out the document of the answer, and those it leads to."""
        url = call.order.answer_url
        for _ in range(_REDIRECTS):
            following, more = await self._carry_out(call, url, verbs)
            if not following:
                return
            url = urljoin(url, following)
            verbs = await self._document(call, url, more)
        self._alert(call, 11215, "too many redirects")

    async def _document(
        self, call: PhoneCall, url: str, more: Mapping[str, str] = _NOTHING
    ) -> tuple[Verb, ...]:
        fields = {**call.about(self.account_sid), "CallStatus": call.status, "ToCity": "", **more}
        answer = await self._http.post(url, fields)
        if answer.status != 200:
            code, what = (11200, f"status {answer.status}") if answer.status else (11205, answer.text)
            self._alert(call, code, f"document: {what}")
            return ()
        self._note(call, "document")
        if answer.kind not in {"text/xml", "application/xml", "text/html"}:
            self._alert(call, 12300, f"document of type {answer.kind}")
            return ()
        try:
            return parse(answer.text)
        except BadTwiml as error:
            self._alert(call, 12100, str(error))
            return ()

    async def _carry_out(
        self, call: PhoneCall, url: str, verbs: tuple[Verb, ...]
    ) -> tuple[str, Mapping[str, str]]:
        """The URL to go on with and what it is told besides, or nothing when the call is over."""
        for verb in verbs:
            match verb:
                case ConnectStream():
                    if not await self._stream(call, verb, url):
                        break
                    if verb.action:
                        return verb.action, _NOTHING
                case twiml.Redirect():
                    return verb.url, _NOTHING
                case twiml.Pause():
                    await asyncio.sleep(verb.seconds)
                case twiml.Say():
                    await menu.say(call, verb.text)
                case twiml.Gather():
                    digits = await menu.gather(call, verb)
                    if digits is None:
                        break
                    if digits:
                        return verb.action or url, {"Digits": digits, "FinishedOnKey": verb.finish}
                case twiml.Hangup() | twiml.Reject():
                    break
        return "", _NOTHING

    async def _stream(self, call: PhoneCall, verb: ConnectStream, base: str) -> bool:
        """Run the media stream; whether the callee is still on the line after it."""
        sid = f"MZ{secrets.token_hex(16)}"
        headers = {"x-twilio-signature": self._http.sign(signed_url(verb.url), {})}
        opening = connect(
            verb.url,
            additional_headers=headers,
            user_agent_header="Twilio.TmeWs/1.0",
            compression=None,
            open_timeout=_HANDSHAKE_S,
            ping_interval=None,
            close_timeout=2,
            max_size=None,
            proxy=None,
        )
        try:
            socket = await opening
        except (OSError, TimeoutError, InvalidHandshake, ValueError) as error:
            self._alert(call, 31920, f"handshake: {error}")
            await self._report_stream(call, verb, base, sid, "stream-error")
            return True
        self._note(call, "stream")
        stream = call.stream = MediaSocket(
            socket, sid, call.callee, self._clock, lambda what: self._note(call, what)
        )
        await self._report_stream(call, verb, base, sid, "stream-started")
        end = await stream.run(self.account_sid, call.sid, verb.parameters)
        self._note(call, end.value)
        if stream.warning:
            self._alert(call, int(stream.warning[:5]), stream.warning[6:])
        if end is StreamEnd.BROKEN:
            self._alert(call, 31903, "the socket broke")
        await self._report_stream(call, verb, base, sid, "stream-stopped")
        return end is not StreamEnd.CALLEE

    async def _report_stream(
        self, call: PhoneCall, verb: ConnectStream, base: str, sid: str, event: str
    ) -> None:
        if not verb.status_callback:
            return
        fields = {
            "AccountSid": self.account_sid,
            "CallSid": call.sid,
            "StreamSid": sid,
            "StreamName": sid,
            "StreamEvent": event,
            "Timestamp": self._clock.utc().isoformat().replace("+00:00", "Z"),
        }
        if event == "stream-error":
            fields["StreamError"] = self.alerts[-1].detail
        self._spawn(self._post(call, urljoin(base, verb.status_callback), fields))

    # -- telling -----------------------------------------------------------------------------

    def _tell(self, call: PhoneCall, event: str) -> None:
        """One status callback: a request of its own, so that two may overtake each other."""
        self._note(call, call.status if event == "completed" else event)
        if event not in call.events or not call.order.status_url:
            return
        sequence, call.callbacks = call.callbacks, call.callbacks + 1
        fields = {
            **call.about(self.account_sid),
            "CallStatus": "initiated" if event == "initiated" else call.status,
            "Timestamp": format_datetime(self._clock.utc()).replace("-0000", "+0000"),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(sequence),
        }
        if event == "completed":
            fields["SipResponseCode"] = _SIP[call.status]
            if call.answered_s is not None:
                fields["CallDuration"] = str(call.seconds)
                fields["Duration"] = str(math.ceil(call.seconds / 60))
        token = secrets.token_hex(16)
        for delay in self._delivery(event, sequence):
            self._spawn(self._post(call, call.order.status_url, fields, token, delay), call.deliveries)

    async def _post(
        self, call: PhoneCall, url: str, fields: dict[str, str], token: str = "", delay: float = 0.0
    ) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        answer = await self._http.post(url, fields, token)
        if not 200 <= answer.status < 300:
            code = 15003 if answer.status else 11205
            self._alert(call, code, f"callback answered {answer.status or answer.text}")

    def _note(self, call: PhoneCall, what: str) -> None:
        call.moments.append(Moment(int((self._clock.seconds() - call.ordered_s) * 1000), what))

    def _alert(self, call: PhoneCall, code: int, detail: str) -> None:
        log.warning("simulated_carrier_alert", call_sid=call.sid, code=code)
        self.alerts.append(Alert(code, call.sid, detail))
        del self.alerts[:-KEPT]

    @property
    def _http(self) -> Webhooks:
        if self._webhooks is None:
            raise RuntimeError("the exchange is not open; use it as a context")
        return self._webhooks

    def _spawn(
        self, work: Coroutine[object, object, None], among: list[asyncio.Task[None]] | None = None
    ) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if among is not None:
            among.append(task)
