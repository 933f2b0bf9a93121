"""Budgets as accounts: what of a limit is spent and what is held, for each call, local day and local month.

A period is a row named `call:<id>`, `day:<date>` or `month:<month>`; a call goes by the calendar of the zone that was
its user's when it took its first part, so a day has 23 or 25 hours twice a year. Every part of a hold is taken from one
period of each kind, and `hold_periods` knows how much of which call lies in which. All writers hold the lock of the
user's account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from pipeline.core.money import Nanos
from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.periods import calendar, counted, kind_of, near
from storage.records import Budget, BudgetPeriod
from storage.rows import columns, every, first
from storage.tables import budget_periods, hold_periods, user_budget_settings, users


@dataclass(frozen=True, slots=True)
class Part:
    """What of one call's hold lies in one period: still held, or spent."""

    key: str
    held_nano: Nanos
    spent_nano: Nanos


@dataclass(frozen=True, slots=True)
class Limit:
    """One of a user's budgets as it is now. `nano` is None for none. `zones` are those the period is noted with."""

    key: str
    nano: Nanos | None
    zones: str = ""


async def budget(tx: Tx, user_id: str) -> Budget:
    query = select(*columns(user_budget_settings, Budget)).where(user_budget_settings.c.user_id == user_id)
    return await first(tx, Budget, query) or Budget()


async def put_budget(tx: Tx, user_id: str, budget: Budget) -> Budget:
    """Takes effect with the next hold and the next renewal of every call."""
    values: dict[str, Any] = {field.name: getattr(budget, field.name) for field in fields(Budget)}
    row = insert(tx, user_budget_settings).values(user_id=user_id, **values)
    anew = {**values, "updated_at": UtcNow()}
    await tx.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=anew))
    return budget


def limits(budget: Budget, timezone: str, call_id: str, now: datetime) -> tuple[Limit, ...]:
    """The user's three limits for money that this call takes now, by this zone's calendar."""
    day, month = calendar(timezone, now)
    return (
        Limit(f"call:{call_id}", budget.per_call_nano),
        Limit(day, budget.daily_nano, timezone),
        Limit(month, budget.monthly_nano, timezone),
    )


async def timezone(tx: Tx, user_id: str) -> str:
    query = select(users.c.timezone).where(users.c.id == user_id)
    return str((await tx.execute(query)).scalar_one_or_none() or "UTC")


async def periods_of(tx: Tx, user_id: str, now: datetime) -> tuple[BudgetPeriod, BudgetPeriod]:
    """The user's present day and month with all that counts for them, and the limits as the user set them last."""
    wished, zone = await budget(tx, user_id), await timezone(tx, user_id)
    query = select(*columns(budget_periods, BudgetPeriod))
    query = query.where(budget_periods.c.user_id == user_id, budget_periods.c.key.in_(near(now)))
    known = {period.key: period for period in await every(tx, BudgetPeriod, query)}
    day, month = (
        counted(known.get(key, BudgetPeriod(key, None, Nanos(0), Nanos(0))), zone, known.values())
        for key in calendar(zone, now)
    )
    return replace(day, limit_nano=wished.daily_nano), replace(month, limit_nano=wished.monthly_nano)


async def period(tx: Tx, user_id: str, key: str) -> BudgetPeriod:
    """One nothing was ever taken from is empty."""
    query = select(*columns(budget_periods, BudgetPeriod))
    query = query.where(budget_periods.c.user_id == user_id, budget_periods.c.key == key)
    return await first(tx, BudgetPeriod, query) or BudgetPeriod(key, None, Nanos(0), Nanos(0))


async def parts(tx: Tx, call_id: str) -> list[Part]:
    query = select(*columns(hold_periods, Part)).where(hold_periods.c.call_id == call_id)
    return await every(tx, Part, query.order_by(hold_periods.c.key))


async def settle(tx: Tx, user_id: str, call_id: str, spent: Nanos) -> None:
    """What a call held is free again in every period, and `spent` of it is spent: of the earliest period first."""
    left: dict[str, int] = {}
    changes: dict[str, tuple[int, int]] = {}
    for part in await parts(tx, call_id):
        kind = kind_of(part.key)
        pays = min(part.held_nano, left.get(kind, spent))
        left[kind] = left.get(kind, spent) - pays
        changes[part.key] = (-part.held_nano, pays)
    await _change(tx, user_id, call_id, changes)


async def give_back(tx: Tx, user_id: str, call_id: str, amount: Nanos) -> None:
    """A settled call has cost less after all: of the latest period first."""
    left: dict[str, int] = {}
    changes: dict[str, tuple[int, int]] = {}
    for part in reversed(await parts(tx, call_id)):
        kind = kind_of(part.key)
        back = min(part.spent_nano, left.get(kind, amount))
        left[kind] = left.get(kind, amount) - back
        changes[part.key] = (0, -back)
    await _change(tx, user_id, call_id, changes)


async def _change(tx: Tx, user_id: str, call_id: str, changes: Mapping[str, tuple[int, int]]) -> None:
    """Adds to what is held and what is spent, period by period in the order of their keys."""
    for key in sorted(changes):
        held, spent = changes[key]
        for table, where in (
            (budget_periods, budget_periods.c.user_id == user_id),
            (hold_periods, hold_periods.c.call_id == call_id),
        ):
            row = update(table).where(where, table.c.key == key)
            more = {"held_nano": table.c.held_nano + held, "spent_nano": table.c.spent_nano + spent}
            await tx.execute(row.values(more))
