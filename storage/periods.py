"""Local days and months of budgets: how they are named, and what counts for one that shares moments with another. Pure.

A day is a date in a zone, so another zone makes the same moments part of another day. What was taken is counted in
every day and month that shares a moment with the day it was taken in: a user who moves has no second day's budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.core.money import Nanos
from storage.records import BudgetPeriod

Kind = Literal["call", "day", "month"]
_KINDS: Mapping[str, Kind] = {"call": "call", "day": "day", "month": "month"}
_DAY = timedelta(days=1)
_FARTHEST = 2
"""Dates of one moment, and dates that share a moment, are never farther apart: clocks differ by 26 hours at most."""


def kind_of(key: str) -> Kind:
    return _KINDS[key.partition(":")[0]]


def calendar(timezone: str, now: datetime) -> tuple[str, str]:
    """The keys of the local day and month; of UTC's for a name that is no time zone, as only a row by hand has."""
    local = now.astimezone(_zone(timezone))
    return f"day:{local:%Y-%m-%d}", f"month:{local:%Y-%m}"


def near(now: datetime) -> list[str]:
    """The keys of all that can count at this moment, in whatever zone."""
    today = now.astimezone(UTC).date()
    dates = {today + n * _DAY for n in range(-_FARTHEST, _FARTHEST + 1)}
    firsts = {(today + n * _DAY).replace(day=1) for n in (-1, 0, 1)}
    dates |= {first - n * _DAY for first in firsts for n in range(1, _FARTHEST + 1)}
    return sorted([f"day:{each}" for each in dates] + [f"month:{first:%Y-%m}" for first in firsts])


def named(period: BudgetPeriod, zone: str) -> str:
    """The zones in which a period of this name was taken from, with this one."""
    known = period.zones.split(",") if period.zones else []
    return ",".join(dict.fromkeys([*known, zone]))


def counted(own: BudgetPeriod, zone: str, known: Iterable[BudgetPeriod]) -> BudgetPeriod:
    """A day or month of this zone with all that counts for it; `known` are the periods `near` names.

    Beside its own row: days of another name that share a moment with it. For a month, whose row has its own days,
    those of another month. A call's period is its row alone.
    """
    beside = [period for period in known if _beside(own.key, zone, period)]
    if not beside:
        return own
    spent, held = sum(each.spent_nano for each in beside), sum(each.held_nano for each in beside)
    return replace(own, spent_nano=Nanos(own.spent_nano + spent), held_nano=Nanos(own.held_nano + held))


def _beside(key: str, zone: str, period: BudgetPeriod) -> bool:
    # Days of one zone share no moment.
    if kind_of(key) == "call" or kind_of(period.key) != "day" or period.zones in {"", zone}:
        return False
    if kind_of(key) == "day" and period.key == key:
        return False
    if kind_of(key) == "month" and period.key.startswith(f"day:{key.removeprefix('month:')}-"):
        return False
    begins, ends = _span(key, zone)
    spans = [_span(period.key, name) for name in period.zones.split(",")]
    return min(span[0] for span in spans) < ends and begins < max(span[1] for span in spans)


@lru_cache(maxsize=4096)
def _span(key: str, timezone: str) -> tuple[datetime, datetime]:
    """From the first moment of a day or month to the first after it, UTC."""
    zone, (kind, _, name) = _zone(timezone), key.partition(":")
    first = date.fromisoformat(name if kind == "day" else f"{name}-01")
    after = first + _DAY if kind == "day" else (first + 31 * _DAY).replace(day=1)
    begins, ends = (datetime.combine(each, time.min, zone).astimezone(UTC) for each in (first, after))
    return begins, ends


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
