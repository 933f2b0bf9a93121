"""How a scheduled call is shown: what is to come, and what came of its latest tries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from server.calls.open_points import kept
from server.routing import View, When
from server.schedules.due import plan_of
from server.schedules.recurrence import Plan, runs
from server.schedules.rule_words import describe
from storage import schedules
from storage.db import Tx
from storage.schedule_records import DialStatus, Schedule, ScheduledDial, ScheduleStatus

PREVIEWED = 10
CALENDAR = timedelta(days=42)
"""How far ahead all runs may be asked for: six weeks, as many as a month touches."""
MOST_RUNS = 4_200
"""More than the densest rule that is taken has in that time: one every quarter of an hour."""
DIALS_SHOWN = 10


class Preview(View):
    """In plain words, and the next runs, with the zone's offset."""

    description: str
    timezone: str
    next_runs: list[When]
    consent: Annotated[
        str, Field(description="What scheduling it says yes to; empty while no number is proved.")
    ]


class DialView(View):
    """What came of one try of one run. `code` says why it was not dialled, or did not reach anybody."""

    run_at: When
    attempt: int
    status: DialStatus
    code: str
    detail: str
    call_id: str | None
    at: When


class ScheduleView(View):
    """`due_at` is when it rings next, null where nothing is to come; `attempt` above 0 says that this is a retry.

    `reason` says why it is paused where its owner did not do it: `opted_out`, `number_lost`.
    """

    id: str
    status: ScheduleStatus
    reason: str
    persona_id: str
    scenario_id: str | None
    context: str
    variables: dict[str, str]
    max_minutes: int | None
    at: str
    timezone: str
    rrule: str | None
    skip: list[str]
    window_s: int
    retries: int
    retry_minutes: int
    description: str
    due_at: When | None
    attempt: int
    next_runs: list[When]
    dials: list[DialView]
    created_at: When


class ScheduleList(View):
    items: list[ScheduleView]
    next_cursor: str | None


def view(schedule: Schedule, dials: Sequence[ScheduledDial], until: datetime | None = None) -> ScheduleView:
    """`until`: all runs up to then are shown; else the next few."""
    plan = _readable(schedule)
    zone = ZoneInfo(plan.zone)
    return ScheduleView(
        id=schedule.id,
        status=schedule.status,
        reason=schedule.reason if schedule.status == "paused" else "",
        persona_id=schedule.persona_id,
        scenario_id=schedule.scenario_id,
        context=schedule.context,
        variables=kept(schedule.variables),
        max_minutes=schedule.max_minutes,
        at=schedule.local_time or schedule.run_at.astimezone(zone).isoformat(),
        timezone=schedule.timezone,
        rrule=schedule.rrule,
        skip=list(plan.skips),
        window_s=schedule.window_s,
        retries=schedule.retries,
        retry_minutes=schedule.retry_s // 60,
        description=describe(plan),
        due_at=schedule.due_at.astimezone(zone) if schedule.status in {"pending", "claimed"} else None,
        attempt=schedule.attempt,
        next_runs=[run.astimezone(zone) for run in _coming(schedule, plan, until)],
        dials=[_dial_view(dial, zone) for dial in dials if dial.schedule_id == schedule.id],
        created_at=schedule.created_at,
    )


def _coming(schedule: Schedule, plan: Plan, until: datetime | None) -> list[datetime]:
    if schedule.status not in {"pending", "claimed"} or (until is not None and schedule.due_at > until):
        return []
    most = PREVIEWED - 1 if until is None else MOST_RUNS
    more = [] if plan.rule is None else runs(plan, schedule.run_at, most, until)
    return [schedule.due_at, *(run for run in more if run > schedule.due_at)]


def _dial_view(dial: ScheduledDial, zone: ZoneInfo) -> DialView:
    return DialView(
        run_at=dial.occurrence_at.astimezone(zone),
        attempt=dial.attempt,
        status=dial.status,
        code=dial.code,
        detail=dial.detail,
        call_id=dial.call_id,
        at=dial.claimed_at,
    )


def _readable(schedule: Schedule) -> Plan:
    """Its plan; of a row that was written by hand and makes no sense, the moment it is due."""
    try:
        plan = plan_of(schedule)
        describe(plan)
        ZoneInfo(plan.zone)
    except (ValueError, KeyError, OSError):  # a zone that is none is a KeyError, or an OSError
        return Plan(schedule.run_at.replace(tzinfo=None), "UTC")
    return plan


async def dials_of(tx: Tx, *found: Schedule) -> list[ScheduledDial]:
    return await schedules.latest_dials(tx, [schedule.id for schedule in found], DIALS_SHOWN)


async def shown(
    schedule: Schedule, dials: Sequence[ScheduledDial], until: datetime | None = None
) -> ScheduleView:
    # Dense rules take a while to expand; the calls of this process must not wait for it.
    return await asyncio.to_thread(view, schedule, dials, until)
