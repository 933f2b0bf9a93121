"""Takes money for calls of one account everywhere at once: from the balance, from each budget, into each hold.

Every row is changed on a condition, so that what is not there cannot be taken, whatever was read before. On PostgreSQL
all of it is one statement: the account's lock is held meanwhile, and everybody else on it waits for each answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.dialects import sqlite

from pipeline.core.money import Nanos
from storage.budgets import Limit
from storage.columns import UtcNow
from storage.db import Tx
from storage.records import Overdrawn
from storage.tables import budget_periods, credit_holds, hold_periods, user_credits


@dataclass(frozen=True, slots=True)
class Taken:
    """So much more (above 0) for one call, and the periods it comes from with their limits. One has a hold already
    or gets it now, with the zone by whose calendar it goes."""

    call_id: str
    epoch: int
    amount: Nanos
    limits: tuple[Limit, ...]
    timezone: str = ""


async def take(tx: Tx, user_id: str, taken: Sequence[Taken]) -> None:
    """All of it or nothing: `Overdrawn` where one row has not that much, for the caller to roll back.

    The caller holds the lock of the account. A period gets the limit given here.
    """
    if not taken:
        return
    if tx.dialect.name == "postgresql":
        await _at_once(tx, user_id, taken)
    else:
        await _table_by_table(tx, user_id, taken)


def _by_period(taken: Sequence[Taken]) -> list[tuple[Limit, int]]:
    """Each period as it was last given, and what is taken of it in all, in the order of the keys."""
    sums: Counter[str] = Counter()
    limits: dict[str, Limit] = {}
    for one in taken:
        for limit in one.limits:
            sums[limit.key] += one.amount
            limits[limit.key] = limit
    return [(limits[key], sums[key]) for key in sorted(sums)]


_AT_ONCE = text("""
WITH account AS (
    UPDATE user_credits SET held_nano = held_nano + CAST(:total AS bigint), updated_at = now()
    WHERE user_id = :user_id AND balance_nano - held_nano >= CAST(:total AS bigint) RETURNING 1
), periods AS (
    INSERT INTO budget_periods AS had (user_id, key, limit_nano, held_nano, zones)
    SELECT :user_id, key, nano, amount, zones
    FROM unnest(CAST(:keys AS text[]), CAST(:limits AS bigint[]), CAST(:sums AS bigint[]), CAST(:zones AS text[]))
        AS new (key, nano, amount, zones)
    ON CONFLICT (user_id, key) DO UPDATE
    SET limit_nano = excluded.limit_nano, held_nano = had.held_nano + excluded.held_nano, zones = excluded.zones
    WHERE excluded.limit_nano IS NULL OR had.spent_nano + had.held_nano + excluded.held_nano <= excluded.limit_nano
    RETURNING 1
), holds AS (
    INSERT INTO credit_holds AS had (call_id, user_id, epoch, amount_nano, timezone)
    SELECT call_id, :user_id, epoch, amount, timezone
    FROM unnest(CAST(:calls AS text[]), CAST(:epochs AS bigint[]), CAST(:amounts AS bigint[]),
        CAST(:timezones AS text[])) AS new (call_id, epoch, amount, timezone)
    ON CONFLICT (call_id) DO UPDATE SET amount_nano = had.amount_nano + excluded.amount_nano
    WHERE had.status = 'open' RETURNING 1
), parts AS (
    INSERT INTO hold_periods AS had (call_id, user_id, key, held_nano)
    SELECT call_id, :user_id, key, amount
    FROM unnest(CAST(:part_calls AS text[]), CAST(:part_keys AS text[]), CAST(:part_amounts AS bigint[]))
        AS new (call_id, key, amount)
    ON CONFLICT (call_id, key) DO UPDATE SET held_nano = had.held_nano + excluded.held_nano RETURNING 1
)
SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM periods), (SELECT count(*) FROM holds),
    (SELECT count(*) FROM parts)
""")


async def _at_once(tx: Tx, user_id: str, taken: Sequence[Taken]) -> None:
    periods = _by_period(taken)
    parts = [(one.call_id, limit.key, one.amount) for one in taken for limit in one.limits]
    values: dict[str, Any] = {
        "user_id": user_id,
        "total": sum(one.amount for one in taken),
        "keys": [limit.key for limit, _ in periods],
        "limits": [limit.nano for limit, _ in periods],
        "sums": [amount for _, amount in periods],
        "zones": [limit.zones for limit, _ in periods],
        "calls": [one.call_id for one in taken],
        "epochs": [one.epoch for one in taken],
        "amounts": [one.amount for one in taken],
        "timezones": [one.timezone for one in taken],
        "part_calls": [call_id for call_id, _, _ in parts],
        "part_keys": [key for _, key, _ in parts],
        "part_amounts": [amount for _, _, amount in parts],
    }
    done = tuple((await tx.execute(_AT_ONCE, values)).one())
    if done[0] != 1:
        raise Overdrawn("a hold exceeds the balance")
    if done[1:] != (len(periods), len(taken), len(parts)):
        raise Overdrawn("a hold exceeds a budget")


async def _table_by_table(tx: Tx, user_id: str, taken: Sequence[Taken]) -> None:
    total = sum(one.amount for one in taken)
    enough = user_credits.c.balance_nano - user_credits.c.held_nano >= total
    raised = update(user_credits).where(user_credits.c.user_id == user_id, enough)
    raised = raised.values(held_nano=user_credits.c.held_nano + total, updated_at=UtcNow())
    if (await tx.execute(raised)).rowcount != 1:
        raise Overdrawn("a hold exceeds the balance")
    periods = [
        {
            "user_id": user_id,
            "key": limit.key,
            "limit_nano": limit.nano,
            "held_nano": amount,
            "zones": limit.zones,
        }
        for limit, amount in _by_period(taken)
    ]
    # Of several rows the driver tells how many were changed in all.
    if (await tx.execute(_FROM_PERIODS, periods)).rowcount != len(periods):
        raise Overdrawn("a hold exceeds a budget")
    await tx.execute(
        _INTO_HOLDS,
        [
            {
                "call_id": one.call_id,
                "user_id": user_id,
                "epoch": one.epoch,
                "amount_nano": one.amount,
                "timezone": one.timezone,
            }
            for one in taken
        ],
    )
    await tx.execute(
        _INTO_PARTS,
        [
            {"call_id": one.call_id, "user_id": user_id, "key": limit.key, "held_nano": one.amount}
            for one in taken
            for limit in one.limits
        ],
    )


def _from_periods() -> sqlite.Insert:
    row, had = sqlite.insert(budget_periods), budget_periods.c
    new = row.excluded
    fits = new.limit_nano.is_(None) | (had.spent_nano + had.held_nano + new.held_nano <= new.limit_nano)
    changed = {
        "limit_nano": new.limit_nano, "held_nano": had.held_nano + new.held_nano, "zones": new.zones,
    }  # fmt: skip
    return row.on_conflict_do_update(index_elements=["user_id", "key"], set_=changed, where=fits)


def _into_holds() -> sqlite.Insert:
    row, had = sqlite.insert(credit_holds), credit_holds.c
    more = {"amount_nano": had.amount_nano + row.excluded.amount_nano}
    return row.on_conflict_do_update(index_elements=["call_id"], set_=more, where=had.status == "open")


def _into_parts() -> sqlite.Insert:
    row = sqlite.insert(hold_periods)
    more = {"held_nano": hold_periods.c.held_nano + row.excluded.held_nano}
    return row.on_conflict_do_update(index_elements=["call_id", "key"], set_=more)


_FROM_PERIODS, _INTO_HOLDS, _INTO_PARTS = _from_periods(), _into_holds(), _into_parts()
