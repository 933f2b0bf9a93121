"""Where the parts of a call are joined: a request becomes a ringing phone, a webhook an event.

Decides whether this process takes a call now (who may be rung is `pipeline/core/guard.py`'s to say, its money
`storage/ledger.py`'s) and owns every live call of it. The only place from which a number is dialled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime

import structlog

from pipeline.carriers.base import RATE_PAUSES_S, TOO_MANY, Carrier, DialOrder, Leg
from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core.call import UNSAID
from pipeline.core.errors import BadStream, CarrierError, Refused
from pipeline.core.events import CallResumed
from pipeline.core.guard import Permit, Spent
from pipeline.core.terms import EndReason
from pipeline.ports import Engines, Line, Pulse
from pipeline.runner import NO_GAPS, LiveCall
from server import permits
from server.browser import BrowserCalls, BrowserLegs, sid_of
from server.calls.answers import hash_of, new_token, since_answer, take_answer
from server.calls.files import Files
from server.calls.ongoing import Ongoing
from server.calls.orders import dial_order, longest_s
from server.calls.outside import Outside
from server.calls.placing import Placing
from server.drain import Drain
from server.lag import LoopLag
from server.metrics import CALLS_LIVE
from server.money import by_service
from server.money.admission import Admissions, Admitted, overloaded
from server.money.flush import Account, Flush
from server.news import News
from server.parts import PlaceCall
from server.recovery.resuming import Resuming
from server.samples import Samples
from server.settings import Settings
from storage import calls, personas, stream_tokens
from storage.db import Database, DatabaseDown
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus, User

log = structlog.get_logger()

LOOK_EVERY_S = 2.0
"""How often the carrier's list is asked for a call whose dial got no answer."""


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
        resuming: Resuming,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._carrier = carrier
        self._news = news
        self._engines = engines
        self._ongoing: dict[str, Ongoing] = {}
        self._drain = Drain(self._ongoing)
        self.deciding = self._drain.deciding
        self._placing = Placing(
            settings, clock, database, Admissions(settings, engines, clock, node),
            room=self._room, begin=self.begin, deciding=self.deciding,
        )  # fmt: skip
        self._flush = flush
        self._lag = lag
        self._tasks = tasks
        self._sender = sender
        self._resuming = resuming
        self.pulse: Pulse = NO_GAPS
        self._clips = Clips()
        self._legs = BrowserLegs(clock)
        self.samples = Samples(engines.speaker, self._clips)
        self.browser = BrowserCalls(database, clock, news, self._legs, self._ongoing.get)
        self._conducting: dict[str, asyncio.Task[None]] = {}

    @property
    def live_calls(self) -> int:
        return len(self._ongoing)

    def conducts(self, call_id: str) -> bool:
        """Whether this desk is on the call, is about to be, or still closes its books."""
        return call_id in self._ongoing or self._resuming.taking(call_id)

    def ongoing(self) -> Mapping[str, Ongoing]:
        """The calls this desk is on, by their ids."""
        return self._ongoing

    # -- for users ---------------------------------------------------------------------

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        """Set the money aside and ring the user's verified phone. Raises `Refused`; then nothing has happened."""
        return await self._placing.place(user, order, idem)

    def _room(self) -> int:
        """How many more calls this process takes now."""
        if self._drain.begun or self._lag.overloaded:
            return 0
        return max(0, self._settings.max_live_calls - len(self._ongoing))

    def check_room(self) -> None:
        """Raises `Refused` where it takes no more."""
        if not self._room():
            raise overloaded()

    async def hang_up(self, user_id: str, call_id: str) -> CallRow:
        """End a call of the user's. One that is over stays as it is."""
        async with self._database.read() as tx:
            row = await calls.get_for(tx, user_id, call_id)
        if row is None:
            raise Refused("not_found", "There is no such call.", status=404)
        if (ongoing := self._ongoing.get(call_id)) is not None:
            ongoing.live.ask_hang_up(EndReason.USER_HUNG_UP)
        return row

    # -- the life of a call --------------------------------------------------------------

    def begin(self, admitted: Admitted, files: Files) -> None:
        """Conduct a call from here on: dial it, unless it came in or goes on after another process."""
        row, resumed = admitted.row, isinstance(admitted.started, CallResumed)
        up = None if resumed else since_answer(row, self._clock.utc())
        account = Account(
            row.id, row.epoch, files.journal, row.user_id, admitted.held, admitted.margin,
            total=row.total_nano, services=by_service.before(admitted.started),
        )  # fmt: skip
        outside = Outside(
            account,
            self._flush,
            self._news,
            self._legs if row.channel == "browser" else self._carrier,
            report=lambda status, seconds: live.carrier_done(status, seconds),  # noqa: PLW0108  # made just below
            silent=lambda: live.carrier_silent(),  # noqa: PLW0108
            longest_s=longest_s(row),
            clock=self._clock,
        )
        live = LiveCall(
            admitted.started,
            voice=admitted.voice,
            engines=self._engines.thinking_with(admitted.model),
            clips=self._clips,
            clock=self._clock,
            journal=files.journal,
            outside=outside,
            recorder=files.recorder,
            tape=files.tape,
            pulse=self.pulse,
            connected_ms=up,
            keys=row.direction == "outbound",
        )
        if row.sid is not None:
            outside.leg(row.sid)
        ongoing = Ongoing(row, live, outside, account, self._flush, self._database, self._news)
        self._ongoing[row.id] = ongoing
        self._flush.open(account, ongoing)
        CALLS_LIVE.set(len(self._ongoing))
        self._news.publish(row.id, "status", {"status": row.status})
        self._conducting[row.id] = self._tasks.create_task(
            self._conduct(ongoing, admitted.permit, connected=resumed or up is not None)
        )

    async def _conduct(self, ongoing: Ongoing, permit: Permit | None, *, connected: bool) -> None:
        row = ongoing.row
        try:
            await ongoing.run(None if connected else self._reach(ongoing, permit))
        finally:
            self._legs.forget(sid_of(row.id))
            self._ongoing.pop(row.id, None)
            self._conducting.pop(row.id, None)
            self._drain.ended()
            CALLS_LIVE.set(len(self._ongoing))

    async def _reach(self, ongoing: Ongoing, permit: Permit | None) -> None:
        """Ring the phone; a browser call has nothing to dial, its page comes by itself."""
        if permit is not None:
            await self._ring(ongoing, permit)
            return
        sid = self._legs.expect(ongoing.row.id, ongoing.live.carrier_done)
        ongoing.outside.leg(sid)
        await self._note_leg(ongoing.row.id, "ringing", sid)

    async def _ring(self, ongoing: Ongoing, permit: Permit) -> None:
        """Dial. After an answer that was lost the carrier is asked, never dialled again."""
        order, begun = dial_order(ongoing.row, self._settings, self._sender), self._clock.utc()
        leg: Leg | None = None
        try:
            leg = await self._dial(ongoing, order, permit)
        except (Spent, Refused, DatabaseDown) as error:
            # It stood still, or was kept waiting, and may not ring now, or is not to since somebody hung up.
            log.warning("permit_not_used", call=ongoing.row.id, kind=type(error).__name__)
            ongoing.outside.no_leg()
            given_up = isinstance(error, Spent) and ongoing.live.over
            ongoing.live.carrier_done("canceled" if given_up else "failed", 0)
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

    async def _dial(self, ongoing: Ongoing, order: DialOrder, permit: Permit) -> Leg:
        """Each try needs a leave of its own: while it waits, somebody may hang up, or want no more calls."""
        permit = await permits.fresh(self._database, permit, self._settings, self._clock)
        for pause in RATE_PAUSES_S:
            try:
                return await self._carrier.dial(order, permit)
            except CarrierError as error:
                if error.code != TOO_MANY:
                    raise
            await asyncio.sleep(pause)
            permit = await permits.again(self._database, permit, self._settings, self._clock)
            if ongoing.live.over:
                raise Spent("nobody wants the call any more")
        return await self._carrier.dial(order, permit)

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
            await self._end_unheard(ongoing, leg)
        await self._note_leg(ongoing.row.id, "queued", leg.sid)
        await self._still_ours(ongoing, leg)

    async def _note_leg(self, call_id: str, status: CallStatus, sid: str) -> None:
        try:
            await self._note(call_id, status, sid=sid)
        except DatabaseDown:  # the answer or the next callback brings it again
            log.warning("leg_not_noted", call=call_id)

    async def _still_ours(self, ongoing: Ongoing, leg: Leg) -> None:
        """A process that froze before it dialled may have lost the call meanwhile: then nobody is to pick up."""
        try:
            async with self._database.read() as tx:
                epochs = await calls.epochs(tx, [ongoing.row.id])
        except DatabaseDown:  # the answer's webhook asks it again
            return
        if epochs.get(ongoing.row.id) == ongoing.epoch or ongoing.live.over:
            return
        log.warning("dialled_without_the_call", call=ongoing.row.id)
        ongoing.fence()
        await self._end_unheard(ongoing, leg)

    async def _end_unheard(self, ongoing: Ongoing, leg: Leg) -> None:
        try:
            await self._carrier.hang_up(leg.sid)
        except CarrierError as error:
            log.error("late_leg_not_ended", call=ongoing.row.id, code=error.code)

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
        async with self._database.write(urgent=True) as tx:
            answer = await take_answer(tx, call_id, sid, self._clock.utc(), epoch=ongoing.epoch)
        if answer is None:
            return None
        if answer.moved:
            self._news.publish(call_id, "status", {"status": "in-progress"})
        ongoing.outside.leg(sid)
        ongoing.live.answered()
        return answer.token

    async def resumed(self, call_id: str, sid: str) -> str | None:
        """The media socket is gone and the callee is not: a token for another one, or None to hang up."""
        ongoing = self._ongoing.get(call_id)
        if ongoing is None:
            with self.deciding(), ExitStack() as opened:
                taken = await self._resuming.take(call_id, sid, opened)
                if taken is None:
                    return None
                self.begin(*taken)
                opened.pop_all()
        elif ongoing.live.over or ongoing.outside.sid != sid:
            return None
        else:
            ongoing.live.broken()  # it may not have been noticed here yet
        async with self._database.write(urgent=True) as tx:
            token = await new_token(tx, call_id, sid, self._clock.utc())
        log.info("call_resumed", call=call_id, taken_over=ongoing is None)
        return token

    async def attach(self, token: str, call_sid: str, line: Line) -> LiveCall:
        """Spend a stream token. Raises `BadStream` unless it is this call's, fresh and unspent."""
        async with self._database.write(urgent=True) as tx:
            spent = await stream_tokens.spend(tx, hash_of(token), self._clock.utc())
        if spent is None or spent.call_sid != call_sid:
            raise BadStream("no such stream token")
        return self.join(spent.call_id, line)

    def join(self, call_id: str, line: Line) -> LiveCall:
        """Give a call its line, whose right to it was proved. Raises `BadStream` when it takes none."""
        ongoing = self._ongoing.get(call_id)
        if ongoing is None:
            raise BadStream("the call is not conducted here")
        if ongoing.row.channel == "browser":
            self.browser.pick_up(ongoing, line)
        else:
            ongoing.live.attach(line)
        return ongoing.live

    async def status(self, sid: str, call_id: str, status: str, seconds: int | None, sequence: int) -> None:
        """A status callback: repeated, late and out of order are all the same to it."""
        moved_to = next((known for known in STATUS_RANK if known == status), None)
        if moved_to is None:
            return
        ongoing = self._ongoing.get(call_id) or self._by_leg(sid)
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
        if moved and ongoing is not None:  # of a call that is nobody's any more listeners hear from its row
            self._news.publish(row.id, "status", {"status": status})

    def _by_leg(self, sid: str) -> Ongoing | None:
        """Of a call that came in the carrier does not say our name."""
        return next((one for one in self._ongoing.values() if one.outside.sid == sid), None)

    async def machine(self, sid: str, answered_by: str) -> None:
        if (ongoing := self._by_leg(sid)) is not None:
            ongoing.live.machine(answered_by)

    # -- stopping ------------------------------------------------------------------------

    async def drain(self, patience_s: float) -> None:
        """Take no new calls; let the live ones go on, then say goodbye; return when all are settled."""
        await self._drain.run(patience_s)

    def hurry(self) -> None:
        """Whoever drains waits no longer: goodbye now."""
        self._drain.hurry()

    def abandon(self) -> None:
        """The server stops with calls still on: their ledgers stay open and are settled at the next start."""
        for call_id, task in self._conducting.items():
            log.error("call_abandoned", call=call_id)
            task.cancel()
