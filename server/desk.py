"""Where the parts of a call are joined: a request becomes a ringing phone, a webhook an event.

Decides whether a call may be placed now (its limits of number and load are in
`numbers.py` and the settings, its money in `storage/ledger.py`) and owns every live call
of this process. The only place from which a number is dialled.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from pipeline.carriers.base import Carrier, DialOrder, Leg
from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core.call import UNSAID
from pipeline.core.errors import BadStream, CarrierError, Refused
from pipeline.core.terms import EndReason
from pipeline.journal_file import SUFFIX, JournalFile
from pipeline.ports import Engines, Line
from pipeline.recorder import Recorder
from pipeline.runner import LiveCall
from pipeline.traffic import SUFFIX as TRAFFIC
from pipeline.traffic import Tape
from server import numbers
from server.admission import Admissions, Admitted
from server.flush import Account, Flush
from server.lag import LoopLag
from server.metrics import CALLS_LIVE
from server.news import News
from server.ongoing import Ongoing
from server.outside import Outside
from server.parts import PlaceCall
from server.settings import Settings
from storage import calls, personas, stream_tokens
from storage.db import Database, DatabaseDown
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus, IdemTaken, User

log = structlog.get_logger()

TOKEN_LIFE = timedelta(seconds=30)
LOOK_EVERY_S = 2.0
"""How often the carrier's list is asked for a call whose dial got no answer."""
GOODBYES_S = 45.0
"""How long a draining desk waits for goodbyes to be heard and books to be closed."""
LIMIT_SLACK_S = 30
"""The carrier's own time limit lies this far behind the longest permitted call."""


@dataclass(frozen=True, slots=True)
class Files:
    """What a call writes to: its journal, and where calls are recorded the sound and the engines' traffic."""

    journal: JournalFile
    recorder: Recorder | None = None
    tape: Tape | None = None


class Desk:
    """Use `place` and `hang_up` for users, the rest for the carrier. Calls run in `tasks`."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        database: Database,
        carrier: Carrier,
        news: News,
        engines: Engines,
        flush: Flush,
        lag: LoopLag,
        tasks: asyncio.TaskGroup,
        node: str,
        sender: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._carrier = carrier
        self._news = news
        self._engines = engines
        self._admissions = Admissions(settings, engines, clock, node)
        self._flush = flush
        self._lag = lag
        self._tasks = tasks
        self._sender = sender
        self._clips = Clips()
        self._ongoing: dict[str, Ongoing] = {}
        self._conducting: dict[str, asyncio.Task[None]] = {}
        self._draining = False
        self._hurried = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def live_calls(self) -> int:
        return len(self._ongoing)

    def conducts(self, call_id: str) -> bool:
        """Whether this desk is on the call, or still closing its books."""
        return call_id in self._ongoing

    # -- for users ---------------------------------------------------------------------

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        """Set the money aside and ring the user's verified phone. Raises `Refused`; then nothing has happened."""
        if idem is not None and (earlier := await self._earlier(user, idem)) is not None:
            return earlier
        number = self._number(user, order)
        self._check_room()
        with ExitStack() as opened:
            try:
                async with self._database.write() as tx:
                    self._check_room()  # others came in while this one waited for its turn
                    admitted = await self._admissions.admit(tx, user, order, number.e164, idem)
                    # A call whose journal cannot be opened is not placed: its money is not set aside either.
                    files = self._open_files(admitted.row, opened)
            except IdemTaken as taken:
                return _same(taken.existing, idem)
            opened.pop_all()
        self._begin(admitted, files)
        return admitted.row

    def _check_room(self) -> None:
        full = len(self._ongoing) >= self._settings.max_live_calls
        if self._draining or full or self._lag.overloaded:
            raise Refused(
                "overloaded", "The server takes no more calls just now.", status=503, retry_after=30
            )

    async def hang_up(self, user_id: str, call_id: str) -> CallRow:
        """End a call of the user's. One that is over stays as it is."""
        async with self._database.read() as tx:
            row = await calls.get_for(tx, user_id, call_id)
        if row is None:
            raise Refused("not_found", "There is no such call.", status=404)
        if (ongoing := self._ongoing.get(call_id)) is not None:
            ongoing.live.ask_hang_up(EndReason.USER_HUNG_UP)
        return row

    async def _earlier(self, user: User, idem: tuple[str, str]) -> CallRow | None:
        async with self._database.read() as tx:
            row = await calls.by_idem(tx, user.id, idem[0])
        return None if row is None else _same(row, idem)

    def _number(self, user: User, order: PlaceCall) -> numbers.NumberFacts:
        if order.channel != "phone":
            raise Refused("invalid_request", "Calls in the browser are not offered by this server yet.")
        if user.phone_e164 is None or user.phone_verified_at is None:
            raise Refused("phone_not_verified", "Verify your phone first: POST /api/me/phone.", status=403)
        number = numbers.facts(user.phone_e164)
        numbers.check_allowed(
            number, self._settings.operator_country, simulated=not self._settings.rings_real_phones
        )
        return number

    # -- the life of a call --------------------------------------------------------------

    def _open_files(self, row: CallRow, opened: ExitStack) -> Files:
        folder = self._settings.calls_dir
        journal = JournalFile(folder / f"{row.id}{SUFFIX}")
        opened.callback(journal.close)
        if not self._settings.record_calls:
            return Files(journal)
        recorder = Recorder(folder / f"{row.id}.wav")
        opened.callback(recorder.close)
        tape = Tape(folder / f"{row.id}{TRAFFIC}", self._clock)
        opened.callback(tape.close)
        return Files(journal, recorder, tape)

    def _begin(self, admitted: Admitted, files: Files) -> None:
        row = admitted.row
        account = Account(row.id, row.epoch, files.journal)
        outside = Outside(
            account,
            self._flush,
            self._news,
            self._carrier,
            report=lambda status, seconds: live.carrier_done(status, seconds),  # noqa: PLW0108  # made just below
        )
        live = LiveCall(
            admitted.started,
            voice=admitted.voice,
            engines=self._engines,
            clips=self._clips,
            clock=self._clock,
            journal=files.journal,
            outside=outside,
            recorder=files.recorder,
            tape=files.tape,
        )
        ongoing = Ongoing(row, live, outside, account, self._flush, self._database, self._news)
        self._ongoing[row.id] = ongoing
        self._flush.open(account, ongoing)
        CALLS_LIVE.set(len(self._ongoing))
        self._news.publish(row.id, "status", {"status": row.status})
        self._conducting[row.id] = self._tasks.create_task(self._conduct(ongoing))

    async def _conduct(self, ongoing: Ongoing) -> None:
        try:
            await ongoing.run(self._ring(ongoing))
        finally:
            self._ongoing.pop(ongoing.row.id, None)
            self._conducting.pop(ongoing.row.id, None)
            self._changed.set()
            CALLS_LIVE.set(len(self._ongoing))

    async def _ring(self, ongoing: Ongoing) -> None:
        """Dial, once. After an answer that was lost the carrier is asked, never dialled again."""
        order = self._order(ongoing.row)
        begun = self._clock.utc()
        leg: Leg | None = None
        try:
            leg = await self._carrier.dial(order)
        except CarrierError as error:
            log.warning("dial_failed", call=ongoing.row.id, code=error.code, unsure=error.unsure)
            if error.unsure:
                leg = await self._look_for(ongoing, order, begun)
            else:
                ongoing.outside.no_leg()
                ongoing.live.carrier_done("failed", 0)
        if leg is not None:
            ongoing.outside.leg(leg.sid)
            await self._rung(ongoing, leg)

    async def _look_for(self, ongoing: Ongoing, order: DialOrder, begun: datetime) -> Leg | None:
        """The call an unsure dial may have made: listed late, or known by its first callback.

        As long as it may still ring the call stays open, so nothing else rings that phone.
        """
        while not ongoing.live.over and ongoing.outside.sid is None:
            try:
                if (leg := await self._carrier.find(order, begun)) is not None:
                    return leg
            except CarrierError as error:
                log.warning("unsure_dial_not_listed", call=ongoing.row.id, code=error.code)
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    async def _rung(self, ongoing: Ongoing, leg: Leg) -> None:
        """Note the leg; one that comes after the call was given up is ended before anybody picks up."""
        if ongoing.live.over:
            try:
                await self._carrier.hang_up(leg.sid)
            except CarrierError as error:
                log.error("late_leg_not_ended", call=ongoing.row.id, code=error.code)
        try:
            await self._note(ongoing.row.id, "queued", sid=leg.sid)
        except DatabaseDown:  # the answer or the next callback brings it again
            log.warning("leg_not_noted", call=ongoing.row.id)

    def _order(self, row: CallRow) -> DialOrder:
        base = self._settings.public_url
        if row.phone_e164 is None:
            raise ValueError("a phone call has a number")
        return DialOrder(
            to=row.phone_e164,
            sender=self._sender,
            answer_url=f"{base}/twilio/voice?call={row.id}",
            status_url=f"{base}/twilio/status?call={row.id}",
            amd_url=f"{base}/twilio/amd?call={row.id}",
            ring_s=self._settings.ring_seconds,
            limit_s=row.max_minutes * 60 + LIMIT_SLACK_S,
        )

    async def _note(self, call_id: str, status: CallStatus, *, sid: str | None = None) -> None:
        async with self._database.write() as tx:
            moved = await calls.advance(tx, call_id, status, at=self._clock.utc(), sid=sid)
        if moved:
            self._news.publish(call_id, "status", {"status": status})

    # -- for the carrier -----------------------------------------------------------------

    async def answered(self, call_id: str, sid: str) -> str | None:
        """The callee picked up: a fresh token for the media socket, or None when this call is not ours to take."""
        ongoing = self._ongoing.get(call_id)
        if ongoing is None or ongoing.live.over or not ongoing.outside.owns(sid):
            return None
        token = secrets.token_urlsafe(32)
        async with self._database.write() as tx:
            now = self._clock.utc()
            row = await calls.get(tx, call_id)
            if row is None or STATUS_RANK[row.status] == OVER or (row.sid is not None and row.sid != sid):
                return None
            await stream_tokens.add(tx, _hash(token), call_id, sid, now + TOKEN_LIFE)
            moved = await calls.advance(tx, call_id, "in-progress", at=now, sid=sid)
            if moved:
                await personas.met(tx, row.user_id, row.persona_id, now)
        if moved:
            self._news.publish(call_id, "status", {"status": "in-progress"})
        ongoing.outside.leg(sid)
        ongoing.live.answered()
        return token

    async def attach(self, token: str, call_sid: str, line: Line) -> LiveCall:
        """Spend a stream token. Raises `BadStream` unless it is this call's, fresh and unspent."""
        async with self._database.write() as tx:
            spent = await stream_tokens.spend(tx, _hash(token), self._clock.utc())
        ongoing = None if spent is None else self._ongoing.get(spent.call_id)
        if spent is None or ongoing is None or spent.call_sid != call_sid:
            raise BadStream("no such stream token")
        ongoing.live.attach(line)
        return ongoing.live

    async def status(self, sid: str, call_id: str, status: str, seconds: int | None, sequence: int) -> None:
        """A status callback: repeated, late and out of order are all the same to it."""
        moved_to = next((known for known in STATUS_RANK if known == status), None)
        if moved_to is None:
            return
        ongoing = self._ongoing.get(call_id)
        if ongoing is not None and ongoing.outside.owns(sid):
            ongoing.outside.leg(sid)
            if STATUS_RANK[moved_to] == OVER:
                # Before the database is asked: a call that is over must end here whatever happens there.
                unsaid = UNSAID if moved_to == "completed" else 0
                ongoing.live.carrier_done(status, unsaid if seconds is None else seconds)
                return  # what it ended for, what it cost and its last status are written together
        async with self._database.write() as tx:
            row = await calls.get(tx, call_id) if call_id else await calls.by_sid(tx, sid)
            if row is None or (row.sid is not None and row.sid != sid):
                log.warning("status_of_unknown_call", sid=sid)
                return
            now = self._clock.utc()
            moved = await calls.advance(tx, row.id, moved_to, at=now, sid=sid, carrier_seconds=seconds)
            if moved and moved_to == "in-progress":  # it may overtake the answer's webhook
                await personas.met(tx, row.user_id, row.persona_id, now)
        if moved:
            self._news.publish(row.id, "status", {"status": status})

    async def machine(self, sid: str, answered_by: str) -> None:
        for ongoing in self._ongoing.values():
            if ongoing.outside.sid == sid:
                ongoing.live.machine(answered_by)

    # -- stopping ------------------------------------------------------------------------

    async def drain(self, patience_s: float) -> None:
        """Take no new calls; let the live ones go on, then say goodbye; return when all are settled."""
        self._draining = True
        try:
            async with asyncio.timeout(patience_s):
                while self._ongoing and not self._hurried.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("drain_patience_over", calls=len(self._ongoing))
        for ongoing in list(self._ongoing.values()):
            ongoing.live.ask_hang_up(EndReason.DRAINED)
        async with asyncio.timeout(GOODBYES_S):
            while self._ongoing:
                self._changed.clear()
                await self._changed.wait()

    def abandon(self) -> None:
        """The server stops with calls still on: their ledgers stay open and are settled at the next start."""
        for call_id, task in self._conducting.items():
            log.error("call_abandoned", call=call_id)
            task.cancel()

    def hurry(self) -> None:
        """Whoever drains waits no longer: goodbye now."""
        self._hurried.set()
        self._changed.set()


def _same(row: CallRow, idem: tuple[str, str] | None) -> CallRow:
    if idem is not None and row.idem_hash != idem[1]:
        raise Refused(
            "idempotency_conflict", "This Idempotency-Key was used with another request.", status=409
        )
    return row


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
