"""What somebody asks for becomes a plan with its first run, or a refusal that names the field.

A moment named with an offset stays that moment, whatever becomes of the zone; everything else is kept as local time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from server.errors import invalid
from server.schedules.recurrence import Plan, check, local_of, locals_at, next_run, utc_of
from server.schedules.rule_parts import BadRule

FARTHEST = timedelta(days=1827)
OLDEST_START = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Planned:
    """`local_time` is what is kept of the plan's start, empty for a named moment; `due_at` is the first run, UTC."""

    local_time: str
    plan: Plan
    due_at: datetime


def planned(
    at: datetime | None,
    rrule: str | None,
    zone: str,
    skip: Sequence[str],
    *,
    now: datetime,
    least: timedelta,
    began: bool = False,
) -> Planned:
    """Raises `Refused` for a plan that will not do: past, too far away, too dense, or never due.

    `began` says that the start is one the schedule has had: then it may be long ago.
    """
    start, moment = _start(at, rrule, zone, now)
    plan = Plan(start, zone, rrule, tuple(dict.fromkeys(skip)))
    shown = local_of(now, zone)
    if start > shown + FARTHEST:
        raise invalid("at", "is more than five years away: choose an earlier moment")
    if rrule is None:
        due = moment or utc_of(start, zone)
        if due <= now:
            raise invalid("at", "is past: choose a later moment")
        return Planned("" if moment else start.isoformat(), plan, due)
    if start < shown - OLDEST_START and not began:
        raise invalid("at", "is more than a year ago: choose a later beginning")
    try:
        check(plan, now, least)
        first = next_run(plan, now)
    except BadRule as error:
        raise invalid("rrule", str(error)) from None
    if first is None:
        raise invalid("rrule", "has no run left that is still to come: let it end later")
    return Planned(start.isoformat(), plan, first)


def _start(
    at: datetime | None, rrule: str | None, zone: str, now: datetime
) -> tuple[datetime, datetime | None]:
    """The local start, and the moment where a single one was named."""
    if at is None:
        if rrule is None:
            raise invalid("at", "say when: a moment, or a local time; or give an rrule")
        return local_of(now, zone).replace(second=0, microsecond=0), None
    at = at.replace(microsecond=0)
    if at.tzinfo is None:
        return at, None
    try:
        moment = at.astimezone(UTC)
        return local_of(moment, zone), (moment if rrule is None else None)
    except OverflowError:
        raise invalid("at", "is no moment anybody will see") from None


def skips_of_run(plan: Plan, run_at: datetime) -> tuple[str, ...]:
    """What leaves out this run and no other: the local times of the plan that come due at it.

    In the gap of spring they are not what clocks show then, and there may be two.
    """
    return tuple(local.isoformat("T", "minutes") for local in locals_at(plan, run_at))
