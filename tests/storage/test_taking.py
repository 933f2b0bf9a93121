"""Money taken for several calls at once: all of it or nothing, whatever was read before."""

from __future__ import annotations

import pytest

from pipeline.core.money import Nanos
from storage.budgets import Limit
from storage.db import Database, Tx
from storage.records import Overdrawn, User
from storage.taking import Taken, take
from tests.storage.world import audited, call, person, rows


async def two(tx: Tx, user: User, amount: int, day: int | None) -> list[Taken]:
    placed = [await call(tx, user), await call(tx, user)]
    return [
        Taken(
            one.id,
            1,
            Nanos(amount),
            (Limit(f"call:{one.id}", None), Limit("day:2026-11-23", None if day is None else Nanos(day))),
        )
        for one in placed
    ]


async def test_calls_of_one_statement_share_a_period(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=100)
        await take(tx, user.id, await two(tx, user, 30, 60))
    assert await rows(database, "SELECT held_nano FROM user_credits") == [(60,)]
    assert await rows(database, "SELECT held_nano FROM budget_periods WHERE key LIKE 'day:%'") == [(60,)]
    assert await rows(database, "SELECT amount_nano FROM credit_holds") == [(30,), (30,)]
    assert (await audited(database)).breaches == []


@pytest.mark.parametrize(("credit", "day"), [(59, None), (100, 59)])
async def test_what_is_not_there_is_not_taken(database: Database, credit: int, day: int | None) -> None:
    """The second of two finds the period as the first left it, though no row of it was there before."""
    async with database.write() as tx:
        user = await person(tx, credit=credit)
        await take(tx, user.id, [])

    async def in_two_steps() -> None:
        async with database.write() as tx:
            taken = await two(tx, user, 1, day)
            await take(tx, user.id, taken)
            await take(tx, user.id, [Taken(one.call_id, 1, Nanos(29), one.limits) for one in taken])

    with pytest.raises(Overdrawn):
        await in_two_steps()
    assert await rows(database, "SELECT count(*) FROM credit_holds") == [(0,)]
    assert await rows(database, "SELECT held_nano FROM user_credits") == [(0,)]
