"""When a schedule comes due: a local time, a named zone and perhaps a rule become moments in UTC. Pure.

Rules are RFC 5545 recurrence rules, expanded in local time and then placed in the zone. A local time that a
clock skips (02:30 in the gap of spring) is shifted by the gap; one that a clock shows twice means the first.
Nothing here reads a clock, and no rule can keep it busy: a search ends `HORIZON` after it began.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from math import lcm
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from server.schedules.rule_parts import DAYS, UNTIL, BadRule, parts

HORIZON = timedelta(days=3653)
"""How far ahead a run is looked for: ten years, in which any rule that comes due at all but for the rarest does."""
LONGEST_JUMP = timedelta(hours=25)
"""More than any zone ever put its clocks forward at once (24 h, when Samoa changed sides)."""
DENSITY_RUNS = 400
"""So many runs are looked at to see how close together they come."""

_HOURS = {"HOURLY": 1, "DAILY": 24, "WEEKLY": 7 * 24}


@dataclass(frozen=True, slots=True)
class Plan:
    """`start` is local, without offset: the one moment, or the earliest of a rule and the time of day it repeats.

    `skips` are local: `2026-12-25` leaves out all runs of that day, `2026-12-25T07:00` that one.
    """

    start: datetime
    zone: str
    rule: str | None = None
    skips: tuple[str, ...] = ()


def utc_of(local: datetime, zone: str) -> datetime:
    """The moment of a local time: shifted by the gap where it is skipped, the first where it comes twice."""
    # fold=0 is the offset before a change, which is just that in both cases.
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def local_of(moment: datetime, zone: str) -> datetime:
    """What clocks show in the zone, without offset."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def runs(plan: Plan, after: datetime, limit: int, until: datetime | None = None) -> list[datetime]:
    """The next moments after `after`, at most `limit`, none later than `until`, in UTC, rising. Raises `BadRule`."""
    since = local_of(after, plan.zone) - LONGEST_JUMP
    end = since + HORIZON if until is None else local_of(until, plan.zone) + LONGEST_JUMP
    found: set[datetime] = set()
    last: datetime | None = None
    for local in _locals(plan, since, end):
        if last is not None and local > last:
            break
        if (moment := utc_of(local, plan.zone)) > after and (until is None or moment <= until):
            found.add(moment)
        if last is None and len(found) >= limit:
            # Times in a gap land among those after it, so a little more is looked at.
            last = local + LONGEST_JUMP
    return sorted(found)[:limit]


def next_run(plan: Plan, after: datetime) -> datetime | None:
    """The first moment after `after`; None when the schedule is at its end."""
    found = runs(plan, after, 1)
    return found[0] if found else None


def locals_at(plan: Plan, moment: datetime) -> list[datetime]:
    """The local times of the plan that come due at this moment; several where one of them is in a gap."""
    clock = local_of(moment, plan.zone)
    return [
        local for local in _locals(plan, clock - LONGEST_JUMP, clock) if utc_of(local, plan.zone) == moment
    ]


def check(plan: Plan, after: datetime, least: timedelta) -> None:
    """Raises `BadRule` unless the schedule comes due after `after`, and its runs lie `least` apart."""
    if not runs(plan, after, 1):
        raise BadRule(
            "has no run left that is still to come: let it end later" if plan.rule is None or _ends(plan.rule) else
            "never comes due within ten years"
        )  # fmt: skip
    since = local_of(after, plan.zone) - LONGEST_JUMP
    seen: list[datetime] = []
    # By what clocks show: a day on which they are put forward makes no rule too dense.
    for local in _locals(Plan(plan.start, plan.zone, plan.rule), since, since + HORIZON):
        seen.append(local)
        if len(seen) >= DENSITY_RUNS:
            break
    closest = min((later - earlier for earlier, later in pairwise(seen)), default=least)
    if closest < least:
        raise BadRule(f"comes due more often than every {int(least.total_seconds() // 60)} minutes")


def _ends(rule: str) -> bool:
    found = parts(rule)
    return "COUNT" in found or "UNTIL" in found


def _locals(plan: Plan, since: datetime, until: datetime) -> Iterator[datetime]:
    """Local times from `since` to `until`, rising, without those skipped."""
    times = (
        iter((plan.start,))
        if plan.rule is None
        else _expanded(plan.start, plan.zone, plan.rule, since, until)
    )
    for local in times:
        if local > until:
            return
        skipped = local.date().isoformat() in plan.skips or local.isoformat("T", "minutes") in plan.skips
        if local >= since and not skipped:
            yield local


def _expanded(start: datetime, zone: str, rule: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """Local times of the rule from some time before `since` on, rising, to `until`. Raises `BadRule`."""
    found = parts(rule)
    if "BYWEEKNO" in found and not found.keys() & {"BYDAY", "BYMONTHDAY", "BYYEARDAY"}:
        found["BYDAY"] = DAYS[start.weekday()]  # of the beginning, like all that a rule does not say
    start, end = _nearer(start, found, since), until
    if given := found.pop("UNTIL", None):
        end = min(end, _until(given, zone))
    text = ";".join(f"{name}={value}" for name, value in found.items())
    jump = _to_the_last_years(start.year, max(start.year, until.year) + 1)
    try:
        made = rrulestr(text, dtstart=start.replace(microsecond=0) + jump)
        for late in made:
            if late - jump > end:
                return
            yield late - jump
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError):
        raise BadRule(
            "does not make sense: its parts leave no moment at which all of them hold; say less"
        ) from None


def _nearer(start: datetime, found: Mapping[str, str], since: datetime) -> datetime:
    """A later beginning, before `since`, from which the rule goes on as from `start`: none counts how far it is.

    Of its beginning a rule has the time of day, the weekday or the day of the year, and the phase of its interval:
    all are the same a whole number of intervals later that is one of weeks too, or of years.
    """
    frequency, interval = found["FREQ"], int(found.get("INTERVAL", "1"))
    if "COUNT" in found or start >= since:
        return start
    if frequency in _HOURS:
        period = timedelta(hours=lcm(interval * _HOURS[frequency], _HOURS["WEEKLY"]))
        return start + (since - start) // period * period
    if (start.month, start.day) == (2, 29):
        return start
    years = interval if frequency == "YEARLY" else lcm(interval, 12) // 12
    return start.replace(year=start.year + max(0, since.year - 1 - start.year) // years * years)


@lru_cache(maxsize=64)
def _to_the_last_years(first: int, last: int) -> timedelta:
    """From the years `first` to `last` to the latest ones with the same calendar, weekdays and leap days alike.

    The library searches on for a match to the end of the year 9999, and a rule that matches nothing gives a loop
    around it no chance to stop; so it is sent where that end is near. 400 years on the calendar is always the same.
    """
    for ahead in range(MAXYEAR - last, 0, -1):
        same = all(isleap(year) == isleap(year + ahead) for year in range(first, last + 1))
        if same and date(first, 1, 1).weekday() == date(first + ahead, 1, 1).weekday():
            return date(first + ahead, 1, 1) - date(first, 1, 1)
    return timedelta(0)


def _until(text: str, zone: str) -> datetime:
    """The last local time of a rule: UNTIL may be a whole day, a local time, or a moment in UTC."""
    match = UNTIL.fullmatch(text)
    if match is None:
        raise BadRule("has UNTIL that is no date")
    try:
        day = date.fromisoformat(match[1])
        if match[2] is None:
            return datetime.combine(day, time.max)
        moment = datetime.combine(day, time.fromisoformat(match[2]))
    except ValueError:
        raise BadRule("has UNTIL that is no date") from None
    return local_of(moment.replace(tzinfo=UTC), zone) if match[3] else moment


def skip_of(text: str) -> str:
    """A skip as `Plan` holds it. Raises `ValueError`, which never repeats the text, for anything else."""
    try:
        if len(text) == len("2026-12-25"):
            return date.fromisoformat(text).isoformat()
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ValueError("is no local date or time without offset, such as 2026-12-25 or 2026-12-25T07:00")
    return moment.isoformat("T", "minutes")
