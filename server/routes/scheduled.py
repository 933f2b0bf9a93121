"""My scheduled calls: make, look at, change, skip, pause, cancel one. What may be planned: `schedules/planned.py`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator
from starlette.responses import Response

from pipeline.core.errors import Refused
from pipeline.core.scenario import variables
from server.calls.open_points import Variables, checked, kept
from server.errors import invalid, not_found
from server.parts import Parts
from server.privacy import consent
from server.routes.auth import Zone
from server.routes.calls import Ident
from server.routes.scheduled_once import once
from server.routes.scheduled_views import (
    CALENDAR,
    PREVIEWED,
    Preview,
    ScheduleList,
    ScheduleView,
    dials_of,
    shown,
)
from server.routing import AnyOp, Ask, Body, Op, PageQuery, Text, no_content
from server.schedules.due import plan_of
from server.schedules.planned import Planned, planned, skips_of_run
from server.schedules.recurrence import Plan, local_of, next_run, runs, skip_of, utc_of
from server.schedules.rule_words import describe
from server.zones import tzdata_version
from storage import consents, personas, scenarios, schedules
from storage.db import Tx
from storage.records import Page, Scenario
from storage.schedule_records import Schedule

MOST_SKIPS = 100

At = Annotated[
    datetime,
    Field(
        description="With an offset: that moment. Without: a local time in `timezone`. Of a rule: its beginning, "
        "and the time of day it repeats."
    ),
]
Rule = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=500,
        description="RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=7;BYMINUTE=30.",
    ),
]
Skip = Annotated[str, AfterValidator(skip_of), Field(min_length=10, max_length=26)]
Skips = Annotated[
    list[Skip],
    Field(
        max_length=MOST_SKIPS,
        description="Local dates (2026-12-25) or times (2026-12-25T07:00) that are left out.",
    ),
]
Context = Annotated[Text, Field(max_length=2000, description="What the persona should know each time.")]
Minutes = Annotated[int, Field(ge=1, le=240)]
Window = Annotated[
    int, Field(ge=30, le=3600, description="Seconds by which it may be late before it is missed.")
]
Retries = Annotated[int, Field(ge=0, le=2, description="Further tries when busy or not answered.")]
RetryMinutes = Annotated[int, Field(ge=5, le=60, description="Minutes from a call's end to the next try.")]


class Timing(Body):
    """When to call: `at` alone for once, `rrule` for again and again."""

    at: At | None = None
    rrule: Rule | None = None
    timezone: Zone | None = None
    skip: Skips = Field(default_factory=list)


class NewSchedule(Timing):
    persona_id: Ident
    scenario_id: Ident | None = None
    context: Context = ""
    variables: Variables = Field(default_factory=dict)
    max_minutes: Minutes | None = None
    window_s: Window = 300
    retries: Retries = 1
    retry_minutes: RetryMinutes = 5


class ScheduleChange(Timing):
    """Only what is given changes. `rrule: null` makes it a single call, at `at`.

    Another scenario keeps of the variables those that it has too.
    """

    persona_id: Ident = "unchanged"
    scenario_id: Ident | None = None
    context: Context = ""
    variables: Variables = Field(default_factory=dict)
    max_minutes: Minutes | None = None
    window_s: Window = 300
    retries: Retries = 1
    retry_minutes: RetryMinutes = 5
    paused: bool = False

    @model_validator(mode="after")
    def _something(self) -> ScheduleChange:
        if not self.model_fields_set:
            raise ValueError("nothing to change")
        return self


class ScheduleQuery(PageQuery):
    """Which part of the list, and how many of the runs to come."""

    open: Annotated[
        bool | None,
        Field(description="true: only those of which something is still to come; false: only the others."),
    ] = None

    runs_until: Annotated[
        date | None,
        Field(
            description="`next_runs` has all runs up to the end of this day in my time zone, at most six weeks from "
            "now; without it the next ten."
        ),
    ] = None


async def _planned(
    parts: Parts,
    at: datetime | None,
    rrule: str | None,
    zone: str,
    skip: Sequence[str],
    *,
    began: bool = False,
) -> Planned:
    """Aside, since a dense rule takes a while to look through."""
    least = timedelta(minutes=parts.settings.schedule_min_interval)
    return await asyncio.to_thread(
        planned, at, rrule, zone, skip, now=parts.clock.utc(), least=least, began=began
    )


async def preview(ask: Ask[Timing, None]) -> Preview:
    body, parts = ask.body, ask.parts
    zone = body.timezone or ask.user.timezone
    found = await _planned(parts, body.at, body.rrule, zone, body.skip)
    coming = [found.due_at]
    if body.rrule is not None:
        coming = await asyncio.to_thread(runs, found.plan, parts.clock.utc(), PREVIEWED)
    return Preview(
        description=describe(found.plan),
        timezone=zone,
        next_runs=[run.astimezone(ZoneInfo(zone)) for run in coming],
        consent="" if ask.user.phone_verified_at is None else consent.TEXTS[consent.VERSION],
    )


async def create(ask: Ask[NewSchedule, None]) -> ScheduleView:
    return await once(ask, lambda idem: _made(ask, idem))


async def _made(ask: Ask[NewSchedule, None], idem: Mapping[str, str]) -> Schedule:
    body, parts = ask.body, ask.parts
    zone = body.timezone or ask.user.timezone
    found = await _planned(parts, body.at, body.rrule, zone, body.skip)
    values = {
        "persona_id": body.persona_id, "scenario_id": body.scenario_id, "context": body.context,
        "variables": json.dumps(body.variables), "max_minutes": body.max_minutes, "rrule": body.rrule,
        "window_s": body.window_s, "retries": body.retries, "retry_s": body.retry_minutes * 60, **_timing(found),
        **idem,
    }  # fmt: skip
    async with parts.database.write() as tx:
        scenario = await _known(tx, ask.user.id, body.persona_id, body.scenario_id)
        checked(scenario, body.variables)
        await _room(tx, parts, ask.user.id)
        schedule = await schedules.add(tx, ask.user.id, values, parts.clock.utc())
        number = ask.user.phone_e164
        # Who has proved no number yet agrees to nothing with this; proving one is a consent.
        if number is not None and ask.user.phone_verified_at is not None:
            await consents.add(
                tx, ask.user.id, number, text_version=consent.VERSION, ip=ask.client,
                method=f"schedule {schedule.id}", now=parts.clock.utc(),
            )  # fmt: skip
    return schedule


def _timing(found: Planned) -> dict[str, Any]:
    return {
        "local_time": found.local_time, "timezone": found.plan.zone, "skips": ",".join(found.plan.skips),
        "tzdata": tzdata_version(), "due_at": found.due_at,
    }  # fmt: skip


async def _known(tx: Tx, user_id: str, persona_id: str | None, scenario_id: str | None) -> Scenario | None:
    """The scenario, where one is named."""
    if persona_id is not None and await personas.by_id(tx, persona_id) is None:
        raise Refused("not_found", "There is no such persona.", status=404)
    if scenario_id is None:
        return None
    scenario = await scenarios.get(tx, user_id, scenario_id)
    if scenario is None:
        raise Refused("not_found", "There is no such scenario.", status=404)
    return scenario


def _filled_in(scenario: Scenario | None, given: Mapping[str, str] | None, before: Schedule) -> str:
    """What fills in the scenario after a change, as it is stored. Raises `InvalidFields`."""
    if given is None:
        names = () if scenario is None else variables(scenario.prompt, scenario.opening)
        known = {variable.name for variable in names}
        given = {name: value for name, value in kept(before.variables).items() if name in known}
    checked(scenario, given)
    return json.dumps(given)


async def _room(tx: Tx, parts: Parts, user_id: str) -> None:
    most = parts.settings.schedules_per_user
    if await schedules.count_active(tx, user_id) >= most:
        raise Refused("rate_limited", f"You have {most} scheduled calls, the most there may be.", status=429)


async def listing(ask: Ask[None, ScheduleQuery]) -> ScheduleList:
    until = _end_of(ask.query.runs_until, ask.user.timezone, ask.parts.clock.utc())
    async with ask.parts.database.read() as tx:
        page: Page[Schedule] = await schedules.page(
            tx, ask.user.id, ask.query.cursor, ask.query.limit, open_=ask.query.open
        )
        dials = await dials_of(tx, *page.items)
    items = [await shown(schedule, dials, until) for schedule in page.items]
    return ScheduleList(items=items, next_cursor=page.next_cursor)


def _end_of(day: date | None, zone: str, now: datetime) -> datetime | None:
    """The last moment of that day. Raises `InvalidFields` for one that is too far away."""
    if day is None:
        return None
    if day > local_of(now, zone).date() + CALENDAR:
        raise invalid("query.runs_until", f"may be at most {CALENDAR.days} days away")
    return utc_of(datetime.combine(day, time.max), zone)


async def show(ask: Ask[None, None]) -> ScheduleView:
    async with ask.parts.database.read() as tx:
        schedule = await schedules.get(tx, ask.user.id, ask.ident())
        if schedule is None:
            raise not_found()
        dials = await dials_of(tx, schedule)
    return await shown(schedule, dials)


# -- changing --------------------------------------------------------------------------

FRESH: dict[str, Any] = {"attempt": 0, "occurrence_at": None, "late_at": None, "dial_id": None}


async def change(ask: Ask[ScheduleChange, None]) -> ScheduleView:
    body, given = ask.body, ask.body.model_fields_set
    async with ask.parts.database.write() as tx:
        schedule = await _mine(tx, ask)
        plain = ("persona_id", "scenario_id", "context", "max_minutes", "window_s", "retries")
        values: dict[str, Any] = {name: getattr(body, name) for name in plain if name in given}
        if "retry_minutes" in given:
            values["retry_s"] = body.retry_minutes * 60
        scenario_id = values.get("scenario_id", schedule.scenario_id)
        if given & {"scenario_id", "variables"}:
            scenario = await _known(tx, ask.user.id, None, scenario_id)
            said = body.variables if "variables" in given else None
            values["variables"] = _filled_in(scenario, said, schedule)
        await _known(tx, ask.user.id, values.get("persona_id"), None)
        resumed = schedule.status == "paused" and "paused" in given and not body.paused
        if resumed or given & {"at", "rrule", "timezone", "skip"}:
            values |= await _moved(tx, ask, schedule)
        if "paused" in given:
            if schedule.status not in schedules.OPEN and "status" not in values:
                raise Refused("invalid_request", "Nothing of this scheduled call is still to come.")
            values["status"] = "paused" if body.paused else "pending"
            values["reason"] = ""
        elif schedule.status == "claimed":  # its claim is lost by the change
            values.setdefault("status", "pending")
        changed = await schedules.put(tx, schedule.id, values)
        dials = await dials_of(tx, changed)
    return await shown(changed, dials)


async def _moved(tx: Tx, ask: Ask[ScheduleChange, None], schedule: Schedule) -> dict[str, Any]:
    """When it is due by what is given and, of what is not, by what was."""
    body, given = ask.body, ask.body.model_fields_set
    if schedule.status not in schedules.OPEN:
        await _room(tx, ask.parts, ask.user.id)
    zone = body.timezone if "timezone" in given and body.timezone else schedule.timezone
    rrule = body.rrule if "rrule" in given else schedule.rrule
    skip = body.skip if "skip" in given else list(plan_of(schedule).skips)
    at = body.at if "at" in given else None
    found = await _planned(ask.parts, at or _was_at(schedule), rrule, zone, skip, began=at is None)
    status = schedule.status if schedule.status == "paused" else "pending"
    return {**FRESH, **_timing(found), "rrule": rrule, "status": status}


def _was_at(schedule: Schedule) -> datetime:
    return datetime.fromisoformat(schedule.local_time) if schedule.local_time else schedule.run_at


async def _mine(tx: Tx, ask: Ask[Any, None]) -> Schedule:
    """The schedule, locked; one that was canceled is not changed any more."""
    schedule = await schedules.locked(tx, ask.user.id, ask.ident())
    if schedule is None:
        raise not_found()
    if schedule.status == "canceled":
        raise Refused("invalid_request", "This scheduled call is canceled; make a new one.")
    return schedule


async def skip_next(ask: Ask[None, None]) -> ScheduleView:
    """The next run of a rule is left out, retries of the last one with it."""
    async with ask.parts.database.write() as tx:
        schedule = await _mine(tx, ask)
        if schedule.rrule is None or schedule.status not in {"pending", "claimed"}:
            raise Refused("invalid_request", "There is no next run to skip.")
        plan = plan_of(schedule)
        skips, due = await asyncio.to_thread(_without_next, schedule, plan, ask.parts.clock.utc())
        if len(skips) > MOST_SKIPS:
            raise Refused("invalid_request", f"At most {MOST_SKIPS} runs can be skipped.")
        values = {**FRESH, "skips": ",".join(skips), "due_at": due or schedule.run_at}
        values["status"] = "pending" if due is not None else "canceled"
        changed = await schedules.put(tx, schedule.id, values)
        dials = await dials_of(tx, changed)
    return await shown(changed, dials)


def _without_next(schedule: Schedule, plan: Plan, now: datetime) -> tuple[tuple[str, ...], datetime | None]:
    """What is skipped when the next run is too, and the run after it, if there is one."""
    # While a retry is due, the next run is that retry: it is left out by going on to the run after.
    skipped = () if schedule.attempt else skips_of_run(plan, schedule.run_at)
    today = local_of(now, plan.zone).date().isoformat()
    # Those of days that are over have done their work.
    skips = (*(skip for skip in plan.skips if skip >= today), *skipped)
    return skips, next_run(Plan(plan.start, plan.zone, plan.rule, skips), max(now, schedule.run_at))


async def cancel(ask: Ask[None, None]) -> Response:
    """It stays in the list with what came of it; canceled twice is no error."""
    async with ask.parts.database.write() as tx:
        schedule = await schedules.locked(tx, ask.user.id, ask.ident())
        if schedule is None:
            raise not_found()
        if schedule.status in schedules.OPEN:
            await schedules.put(tx, schedule.id, {"status": "canceled"})
    return no_content()


OPS: tuple[AnyOp, ...] = (
    Op(
        "GET", "/api/scheduled-calls", listing, "My scheduled calls, newest first", query=ScheduleQuery,
        reply=ScheduleList,
    ),
    Op(
        "POST", "/api/scheduled-calls", create, "Call me then, once or by a rule", body=NewSchedule,
        reply=ScheduleView, status=201,
        refuses=((404, "not_found"), (409, "idempotency_conflict"), (429, "rate_limited")),
        headers=(("Idempotency-Key", "The same key and body again answer with the same scheduled call."),),
    ),
    Op(
        "POST", "/api/scheduled-calls/preview", preview, "When that would be", body=Timing, reply=Preview,
    ),
    Op("GET", "/api/scheduled-calls/{id}", show, "One of them", reply=ScheduleView),
    Op(
        "PATCH", "/api/scheduled-calls/{id}", change, "Change, pause or resume it", body=ScheduleChange,
        reply=ScheduleView, refuses=((429, "rate_limited"),),
    ),
    Op("DELETE", "/api/scheduled-calls/{id}", cancel, "Cancel it", status=204),
    Op(
        "POST", "/api/scheduled-calls/{id}/skip", skip_next, "Leave out its next run", reply=ScheduleView,
        refuses=((422, "invalid_request"),),
    ),
)  # fmt: skip
