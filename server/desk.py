"""Where the parts of a call are joined: a request becomes a ringing phone, a webhook an event.

Decides whether a call may be placed now (its limits of number and load are in
`numbers.py` and the settings, its money in `storage/ledger.py`) and owns every live call
of this process. The only place from which a number is dialled.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from pipeline.carriers.base import Carrier, DialOrder, Leg
from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core.errors import BadStream, CarrierError, Refused
from pipeline.core.events import EndReason
from pipeline.journal_file import SUFFIX, JournalFile
from pipeline.ports import Engines, Line
from pipeline.recorder import Recorder
from pipeline.runner import LiveCall
from server import numbers
from server.admission import Admissions, Admitted
from server.endings import ending
from server.flush import Account, Flush
from server.metrics import CALLS_ENDED, CALLS_LIVE, SURPRISES
from server.news import News
from server.outside import Outside
from server.parts import PlaceCall
from server.settings import Settings
from storage import calls, stream_tokens
from storage.db import Database, DatabaseDown
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus, Fenced, IdemTaken, User

log = structlog.get_logger()

TOKEN_LIFE = timedelta(seconds=30)
GOODBYES_S = 45.0
"""How long a draining desk waits for goodbyes to be heard and books to be closed."""
LIMIT_SLACK_S = 30
"""The carrier's own time limit lies this far behind the longest permitted call."""


@dataclass(slots=True)
class Ongoing:
    """One call this process is on. `dialled` is set once it is known whether there is a leg."""

    live: LiveCall
    row: CallRow
    outside: Outside
    account: Account


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
        self._tasks = tasks
        self._sender = sender
        self._clips = Clips()
        self._ongoing: dict[str, Ongoing] = {}
        self._draining = False
        self._hurried = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def live_calls(self) -> int:
        return len(self._ongoing)

    # -- for users ---------------------------------------------------------------------

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        """Set the money aside and ring the user's verified phone. Raises `Refused`; then nothing has happened."""
        if idem is not None and (earlier := await self._earlier(user, idem)) is not None:
            return earlier
        number = self._number(user, order)
        if self._draining or len(self._ongoing) >= self._settings.max_live_calls:
            raise Refused(
                "overloaded", "The server takes no more calls just now.", status=503, retry_after=30
            )
        try:
            async with self._database.write() as tx:
                admitted = await self._admissions.admit(tx, user, order, number.e164, idem)
                # A call whose journal cannot be opened is not placed: its money is not set aside either.
                files = self._open_files(admitted.row)
        except IdemTaken as taken:
            return _same(taken.existing, idem)
        self._begin(admitted, *files)
        return admitted.row

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

    def _open_files(self, row: CallRow) -> tuple[JournalFile, Recorder | None]:
        journal = JournalFile(self._settings.calls_dir / f"{row.id}{SUFFIX}")
        if not self._settings.record_calls:
            return journal, None
        return journal, Recorder(self._settings.calls_dir / f"{row.id}.wav")

    def _begin(self, admitted: Admitted, journal: JournalFile, recorder: Recorder | None) -> None:
        row = admitted.row
        account = Account(row.id, row.epoch, journal, lambda: self._fenced(row.id))
        outside = Outside(account, self._flush, self._news, self._carrier)
        live = LiveCall(
            admitted.started,
            voice=admitted.voice,
            engines=self._engines,
            clips=self._clips,
            clock=self._clock,
            journal=journal,
            outside=outside,
            recorder=recorder,
        )
        self._ongoing[row.id] = Ongoing(live, row, outside, account)
        self._flush.open(account)
        CALLS_LIVE.set(len(self._ongoing))
        self._news.publish(row.id, "status", {"status": row.status})
        self._tasks.create_task(self._conduct(self._ongoing[row.id]))

    async def _conduct(self, ongoing: Ongoing) -> None:
        """One call from the dial to its closed ledger. Nothing it raises reaches another call."""
        row = ongoing.row
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ring(ongoing))
                await ongoing.live.run()
        except* Exception:  # edge: a fault of ours ends this call and no other
            SURPRISES.labels("call").inc()
            log.exception("call_failed", call=row.id)
            await self._rescue(ongoing)
        try:
            await self._close_books(ongoing)
        except Exception:  # edge: of one call; the ledger stays open and is settled at the next start
            SURPRISES.labels("settlement").inc()
            log.exception("call_not_settled", call=row.id)
        finally:
            self._ongoing.pop(row.id, None)
            self._changed.set()
            CALLS_LIVE.set(len(self._ongoing))

    async def _close_books(self, ongoing: Ongoing) -> None:
        """Settle what the call cost, however long the database makes us wait, then tell whoever listens."""
        row, ended = ongoing.row, ongoing.outside.ended
        reason = EndReason.SERVER_LOST if ended is None else ended.reason
        CALLS_ENDED.labels(str(reason or "unanswered")).inc()
        try:
            if ended is not None:
                final = await self._flush.settle(ongoing.account, ended)
                log.info("call_settled", call=row.id, total_nano=final.total, operator_nano=final.operator)
        except Fenced:
            log.warning("call_settled_elsewhere", call=row.id)
        await self._announce_end(row)

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
                leg = await self._look_for(order, begun)
        if leg is None:
            ongoing.outside.no_leg()
            ongoing.live.carrier_done("failed", 0)
            return
        ongoing.outside.leg(leg.sid)
        try:
            await self._note(ongoing.row.id, "queued", sid=leg.sid)
        except DatabaseDown:
            log.warning(
                "leg_not_noted", call=ongoing.row.id
            )  # the answer or the next callback brings it again

    async def _look_for(self, order: DialOrder, begun: datetime) -> Leg | None:
        try:
            return await self._carrier.find(order, begun)
        except CarrierError:
            return None

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

    async def _rescue(self, ongoing: Ongoing) -> None:
        """The machine itself failed: end the leg and settle with what was charged."""
        try:
            await ongoing.outside.hang_up()
        except CarrierError as error:
            log.error("rescue_failed", call=ongoing.row.id, error=error.detail)
        ongoing.outside.broken(ongoing.account.total)

    async def _announce_end(self, row: CallRow) -> None:
        async with self._database.read() as tx:
            final = await calls.get(tx, row.id)
        if final is not None:
            self._news.publish(row.id, "ended", ending(final))
        self._news.close(row.id)

    def _fenced(self, call_id: str) -> None:
        """Another process took the call over: being fenced means hanging up."""
        if (ongoing := self._ongoing.get(call_id)) is not None:
            self._flush.forget(ongoing.account)
            ongoing.live.ask_hang_up(EndReason.SERVER_LOST)

    async def _note(self, call_id: str, status: CallStatus, *, sid: str | None = None) -> None:
        async with self._database.write() as tx:
            moved = await calls.advance(tx, call_id, status, at=self._clock.utc(), sid=sid)
        if moved:
            self._news.publish(call_id, "status", {"status": status})

    # -- for the carrier -----------------------------------------------------------------

    async def answered(self, call_id: str, sid: str) -> str | None:
        """The callee picked up: a fresh token for the media socket, or None when this call is not ours to take."""
        ongoing = self._ongoing.get(call_id)
        if ongoing is None or not ongoing.outside.owns(sid):
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
        if ongoing is not None and ongoing.outside.owns(sid) and STATUS_RANK[moved_to] == OVER:
            # Before the database is asked: a call that is over must end here whatever happens there.
            ongoing.live.carrier_done(status, seconds or 0)
        async with self._database.write() as tx:
            row = await calls.get(tx, call_id) if call_id else await calls.by_sid(tx, sid)
            if row is None or (row.sid is not None and row.sid != sid):
                log.warning("status_of_unknown_call", sid=sid)
                return
            moved = await calls.advance(
                tx, row.id, moved_to, at=self._clock.utc(), sid=sid, carrier_seconds=seconds
            )
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
