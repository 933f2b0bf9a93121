"""Dials what is due: claims it, places it like any other call, and notes what came of it. Never dials on doubt.

A claim is written, with its dial's id, before anything is dialled; the call's row and `dialed` are written in one
transaction, before the carrier is asked. So a claim found without a call was not dialled: it becomes `missed`, and
whoever still holds it can no longer place it. What a rule means is `recurrence.py`'s, whether a number may be rung
the desk's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from pipeline.core.guard import Purpose
from server.calls.open_points import kept
from server.errors import InvalidFields, whereabouts
from server.metrics import SCHEDULED, SCHEDULED_LATE, SURPRISES
from server.parts import PlaceCall
from server.schedules.recurrence import Plan, local_of, next_run, runs, utc_of
from server.schedules.rule_parts import BadRule
from server.zones import tzdata_version
from storage import schedules, users
from storage.db import Database, DatabaseDown, Tx
from storage.records import CallRow, User
from storage.schedule_records import Claim, ClaimLost, DialStatus, Schedule, ScheduleStatus
from storage.schedules import EndedDial

log = structlog.get_logger()

POLL_S = 1.0
"""Between two looks, so that what another node was told to schedule is seen; the next one due has a timer besides."""
NOT_NOW = frozenset({"overloaded", "rate_limited", "call_in_progress", "quiet_hours"})
"""Refusals that may pass while the call is not yet too late."""
PUT_BACK_S = 10
MISSED_AT_ONCE = 100
"""So many runs of one rule that were all too late are put on record together."""
UNANSWERED = frozenset({"busy", "no-answer"})
ZONE_SHIFT = timedelta(hours=2)

NOT_THERE = "The server was not there in time."
STOPPED = "The server stopped before it could ring; to be safe it was not tried again."
NOT_CONNECTED = "The carrier did not connect the call."


class Placing(Protocol):
    """What is needed of the desk. Raises `Refused`, `ClaimLost` and `DatabaseDown`; then nothing was dialled."""

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow: ...


@dataclass(frozen=True, slots=True)
class Onwards:
    """Where a schedule goes after a run."""

    status: ScheduleStatus
    values: dict[str, Any]


def plan_of(schedule: Schedule) -> Plan:
    """Raises `ValueError` for a row whose words make no sense, as only one written by hand can have."""
    local = schedule.local_time
    start = datetime.fromisoformat(local) if local else local_of(schedule.run_at, schedule.timezone)
    skips = tuple(skip for skip in schedule.skips.split(",") if skip)
    return Plan(start, schedule.timezone, schedule.rrule, skips)


def onwards(schedule: Schedule, outcome: DialStatus, after: datetime | None = None) -> Onwards:
    """The next run of a rule, after `after` or the one that was due; the outcome itself where there is none."""
    following = None
    if schedule.rrule is not None:
        try:
            following = next_run(plan_of(schedule), after or schedule.run_at)
        except (ValueError, KeyError, OSError) as error:  # a zone that is none is a KeyError, or an OSError
            log.warning("schedule_makes_no_sense", schedule=schedule.id, kind=type(error).__name__)
    reset = {"attempt": 0, "occurrence_at": None, "late_at": None}
    if following is None:
        return Onwards(outcome, {**reset, "due_at": schedule.run_at})
    return Onwards("pending", {**reset, "due_at": following, "tzdata": tzdata_version()})


def _runs(schedule: Schedule, limit: int) -> list[datetime]:
    """The runs of a rule behind the one that is due; none of one that makes no sense."""
    try:
        return runs(plan_of(schedule), schedule.run_at, limit)
    except (ValueError, KeyError, OSError):
        return []


async def _aside(schedule: Schedule, outcome: DialStatus, after: datetime | None = None) -> Onwards:
    """`onwards`, in a thread: a dense rule takes a while to look through, which calls must not wait for."""
    return await asyncio.to_thread(onwards, schedule, outcome, after)


def _why(refused: Refused) -> str:
    """In words for whoever scheduled it; of fields, each with what is wrong with it."""
    if isinstance(refused, InvalidFields):
        return "; ".join(f"{error.field}: {error.message}" for error in refused.errors)
    return refused.detail


def too_late_after(schedule: Schedule) -> datetime:
    return schedule.late_at or schedule.due_at + timedelta(seconds=schedule.window_s)


class Scheduler:
    """One for each node; any number of them work on one PostgreSQL. `taking` says whether calls are taken now."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        desk: Placing,
        node: str,
        calls_per_second: int,
        taking: Callable[[], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._desk = desk
        self._node = node
        self._pace = timedelta(seconds=1 / calls_per_second)
        self._taking = taking
        self._zones_seen = False
        self._stepping = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled. A database that is away is waited for."""
        while True:
            try:
                async with self._stepping:
                    wait = await self.step()
            except DatabaseDown as error:
                log.warning("schedules_not_looked_at", retryable=error.retryable)
                wait = POLL_S
            except Exception as error:  # edge: of one step; the next schedule must be dialled all the same
                SURPRISES.labels("schedule").inc()
                log.error("schedule_step_failed", **whereabouts(error))
                wait = POLL_S
            await asyncio.sleep(wait)

    async def at_rest(self) -> None:
        """Returns between two steps, once no calls are taken: cancelled then, `run` leaves no claim behind."""
        async with self._stepping:
            pass

    async def step(self) -> float:
        """Does what there is to do, at most one dial, and answers after how many seconds there may be more."""
        if not self._zones_seen:
            await self.mind_zones()
            self._zones_seen = True
        now = self._clock.utc()
        async with self._database.read() as tx:
            left = await schedules.claimed(tx, self._node, lock=False)
            ended = await schedules.ended(tx)
            due_at = await schedules.next_due_at(tx)
        if left:
            await self._settle_claims()
        for dial in ended:
            await self._look_back(dial)
        if not self._taking() or due_at is None:
            return POLL_S
        if due_at > now:
            return min(POLL_S, (due_at - now).total_seconds())
        return await self._do_next()

    # -- dialling ----------------------------------------------------------------------

    async def _do_next(self) -> float:
        now = self._clock.utc()
        async with self._database.write() as tx:
            schedule = await schedules.next_due(tx, now)
            if schedule is None:  # another node has it
                return POLL_S
            if now > too_late_after(schedule):
                await self._miss(tx, schedule, now)
                return 0.0
            last = await schedules.last_claim_at(tx)
            if last is not None and timedelta(0) < (wait := last + self._pace - now):
                return min(wait, self._pace).total_seconds()
            claim = await schedules.claim(tx, schedule, self._node, now)
            if claim is None:
                await self._repeated(tx, schedule)
                return 0.0
        SCHEDULED_LATE.observe((now - schedule.due_at).total_seconds())
        await self._dial(schedule, claim)
        return 0.0

    async def _dial(self, schedule: Schedule, claim: Claim) -> None:
        order = PlaceCall(
            persona_id=schedule.persona_id,
            scenario_id=schedule.scenario_id,
            context=schedule.context,
            max_minutes=schedule.max_minutes,
            channel="phone",
            scheduled=claim,
            variables=kept(schedule.variables),
            purpose=Purpose.RETRY if schedule.attempt else Purpose.SCHEDULE,
        )
        try:
            async with self._database.read() as tx:
                user = await users.by_id(tx, schedule.user_id)
            if user is None:
                return  # and the schedule is gone with the account
            # A blank, which no client's own Idempotency-Key may contain.
            await self._desk.place(user, order, (f"scheduled {claim.dial_id}", claim.dial_id))
        except ClaimLost:
            log.warning("claim_lost", schedule=schedule.id)
        except Refused as refused:
            await self._refused(schedule, claim, refused)
        except DatabaseDown as error:
            log.warning("scheduled_call_waits", schedule=schedule.id, retryable=error.retryable)
            await self._put_back(schedule, claim, PUT_BACK_S)
        else:
            SCHEDULED.labels("dialed").inc()
            await self._move_on(schedule, claim, "dialed")

    async def _refused(self, schedule: Schedule, claim: Claim, refused: Refused) -> None:
        if refused.code in NOT_NOW and await self._put_back(
            schedule, claim, refused.retry_after or PUT_BACK_S
        ):
            return
        outcome: DialStatus = "missed" if refused.code == "overloaded" else "failed"
        log.info("scheduled_call_refused", schedule=schedule.id, code=refused.code)
        following = await _aside(schedule, outcome)
        async with self._database.write() as tx:
            given_up = await schedules.give_up(
                tx, claim, outcome, self._clock.utc(), code=refused.code, detail=_why(refused)
            )
            if given_up:
                await self._advance(tx, schedule.id, claim.epoch, following)
        if given_up:
            SCHEDULED.labels(outcome).inc()

    async def _put_back(self, schedule: Schedule, claim: Claim, seconds: int) -> bool:
        """Due again a little later, if that is not too late. True also when the claim is not ours to put back."""
        due_at, late_at = self._clock.utc() + timedelta(seconds=seconds), too_late_after(schedule)
        if due_at > late_at:
            return False
        async with self._database.write() as tx:
            await schedules.put_back(tx, claim, schedule, due_at, late_at)
        return True

    async def _move_on(self, schedule: Schedule, claim: Claim, outcome: DialStatus) -> None:
        following = await _aside(schedule, outcome)
        async with self._database.write() as tx:
            await self._advance(tx, schedule.id, claim.epoch, following)

    async def _advance(self, tx: Tx, schedule_id: str, epoch: int, to: Onwards) -> None:
        await schedules.advance(tx, schedule_id, epoch, to.status, to.values)

    async def _miss(self, tx: Tx, schedule: Schedule, now: datetime) -> None:
        """Puts on record that it is too late, for every run that is."""
        await schedules.note(tx, schedule, "missed", now, detail=NOT_THERE)
        latest, missed = schedule.run_at, 1
        if schedule.rrule is not None:
            limit = now - timedelta(seconds=schedule.window_s)
            for run in await asyncio.to_thread(_runs, schedule, MISSED_AT_ONCE):
                if run >= limit:
                    break
                await schedules.note(tx, schedule, "missed", now, run_at=run, detail=NOT_THERE)
                latest, missed = run, missed + 1
        following = await _aside(schedule, "missed", latest)
        await self._advance(tx, schedule.id, schedule.claim_epoch, following)
        SCHEDULED.labels("missed").inc(missed)
        log.warning("scheduled_call_missed", schedule=schedule.id, runs=missed)

    async def _repeated(self, tx: Tx, schedule: Schedule) -> None:
        """This try is on record already, so somebody set the clock or the row back: it is not made again."""
        log.warning("scheduled_call_on_record", schedule=schedule.id)
        await self._advance(tx, schedule.id, schedule.claim_epoch, await _aside(schedule, "dialed"))

    # -- what became of them -----------------------------------------------------------

    async def _settle_claims(self) -> None:
        """Claims nobody works on any more. With a call they were dialled; without one they were not and will not be."""
        now = self._clock.utc()
        async with self._database.write() as tx:
            for schedule in await schedules.claimed(tx, self._node, lock=True):
                dial = None if schedule.dial_id is None else await schedules.tried(tx, schedule.dial_id)
                outcome: DialStatus = "missed" if dial is None else dial.status
                if dial is not None and dial.status == "claimed":
                    claim = Claim(dial.id, schedule.id, dial.epoch)
                    if not await schedules.give_up(tx, claim, "missed", now, detail=STOPPED):
                        continue  # it became a call this very moment; the next look finds that
                    outcome = "missed"
                    SCHEDULED.labels("missed").inc()
                following = await _aside(schedule, outcome)
                await self._advance(tx, schedule.id, schedule.claim_epoch, following)
                log.warning("claim_settled", schedule=schedule.id, outcome=outcome)

    async def _look_back(self, ended: EndedDial) -> None:
        """How the call ended: nobody picked up and it is tried again, or it never got as far as the carrier."""
        now, dial = self._clock.utc(), ended.tried
        unanswered = ended.call_status in UNANSWERED and not ended.answered
        failed = not ended.answered and not ended.reached_carrier
        status: DialStatus = "failed" if failed else "dialed"
        code = ended.call_status if failed or unanswered else ""
        async with self._database.write() as tx:
            schedule = await schedules.by_id(tx, dial.schedule_id)
            if schedule is None or (schedule.status, schedule.dial_id) == ("claimed", dial.id):
                return  # in the second case whoever dialled has not moved it on yet, so there is no telling where to
            detail = NOT_CONNECTED if failed else ""
            if not await schedules.conclude(tx, dial.id, now, status, code=code, detail=detail):
                return
            its_last = schedule.status == "dialed" and schedule.dial_id == dial.id
            if unanswered and dial.attempt < schedule.retries:
                due_at = max(now, (ended.ended_at or now) + timedelta(seconds=schedule.retry_s))
                # A retry that would come after the next run is left out: that run is a try itself. So is one of a
                # single call that was moved meanwhile: there would be no way back to the run it was moved to.
                before_next = (
                    schedule.status == "pending"
                    and schedule.rrule is not None
                    and not schedule.attempt
                    and schedule.due_at > due_at
                )
                if its_last or before_next:
                    again = {
                        "due_at": due_at,
                        "occurrence_at": dial.occurrence_at,
                        "attempt": dial.attempt + 1,
                    }
                    await self._advance(
                        tx, schedule.id, schedule.claim_epoch, Onwards("pending", {**again, "late_at": None})
                    )
            elif failed and its_last:
                await self._advance(tx, schedule.id, schedule.claim_epoch, Onwards("failed", {}))

    async def mind_zones(self) -> None:
        """With other time zone data than before, works out anew when local times are due."""
        now, version = self._clock.utc(), tzdata_version()
        async with self._database.write() as tx:
            for schedule in await schedules.of_older_zones(tx, version):
                due_at = await self._due_anew(tx, schedule, now)
                values = {"due_at": due_at, "tzdata": version}
                await self._advance(tx, schedule.id, schedule.claim_epoch, Onwards(schedule.status, values))

    async def _due_anew(self, tx: Tx, schedule: Schedule, now: datetime) -> datetime:
        if schedule.due_at <= now:
            return schedule.due_at
        try:
            if schedule.rrule is None:
                return utc_of(datetime.fromisoformat(schedule.local_time), schedule.timezone)
            after = now - timedelta(seconds=schedule.window_s)
            # Moved by the new data, a run that was made must not come round again.
            for dial in await schedules.latest_dials(tx, [schedule.id], 1):
                after = max(after, dial.occurrence_at + ZONE_SHIFT)
            return await asyncio.to_thread(next_run, plan_of(schedule), after) or schedule.due_at
        except (BadRule, ValueError, KeyError, OSError):
            return schedule.due_at
