"""Budgets as accounts: which period holds what, and what of a call is spent in which."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from sqlalchemy import text

from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from storage import budgets, ledger
from storage.db import Database
from storage.periods import calendar
from storage.records import Budget, BudgetPeriod, Fenced, Grant, User
from tests.storage.world import (
    DOLLAR,
    LINES,
    NOON,
    audited,
    book,
    call,
    charges,
    completed,
    held_call,
    person,
    rows,
    tile,
)

MINUTE_TO = datetime(2026, 11, 24, 4, 59, tzinfo=UTC)
"""In New York, where people here live."""
MINUTE_PAST = MINUTE_TO + timedelta(minutes=2)


async def periods(database: Database) -> list[tuple[object, ...]]:
    return await rows(
        database,
        "SELECT key, spent_nano, held_nano FROM budget_periods WHERE key NOT LIKE 'call:%' ORDER BY key",
    )


@pytest.mark.parametrize(
    ("zone", "utc", "day", "month"),
    [
        ("America/New_York", datetime(2026, 11, 1, 3, 59, tzinfo=UTC), "day:2026-10-31", "month:2026-10"),
        ("America/New_York", datetime(2026, 11, 1, 4, 0, tzinfo=UTC), "day:2026-11-01", "month:2026-11"),
        # Twenty-five hours later, for the clocks go back.
        ("America/New_York", datetime(2026, 11, 2, 4, 59, tzinfo=UTC), "day:2026-11-01", "month:2026-11"),
        ("America/New_York", datetime(2026, 11, 2, 5, 0, tzinfo=UTC), "day:2026-11-02", "month:2026-11"),
        # And twenty-three where they go forward.
        ("America/New_York", datetime(2026, 3, 8, 5, 0, tzinfo=UTC), "day:2026-03-08", "month:2026-03"),
        ("America/New_York", datetime(2026, 3, 9, 4, 0, tzinfo=UTC), "day:2026-03-09", "month:2026-03"),
        ("Pacific/Auckland", datetime(2026, 12, 31, 11, 0, tzinfo=UTC), "day:2027-01-01", "month:2027-01"),
        ("no such place", datetime(2026, 12, 31, 23, 0, tzinfo=UTC), "day:2026-12-31", "month:2026-12"),
        ("", datetime(2026, 12, 31, 23, 0, tzinfo=UTC), "day:2026-12-31", "month:2026-12"),
    ],
)
def test_the_day_and_the_month_are_the_users_own(zone: str, utc: datetime, day: str, month: str) -> None:
    assert calendar(zone, utc) == (day, month)


async def renewed(
    database: Database, user: User, call_id: str, known: int, wanted: int, now: datetime
) -> Grant:
    async with database.write() as tx:
        return await ledger.renew(
            tx, user_id=user.id, call_id=call_id, epoch=1, known=Nanos(known), wanted=Nanos(wanted), now=now
        )


async def test_over_midnight_the_first_days_part_is_spent_first_and_given_back_last(
    database: Database,
) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await call(tx, user)
        await ledger.hold(
            tx, user_id=user.id, call_id=placed.id, epoch=1, at_least=Nanos(20_000_000), wanted=Nanos(20_000_000),
            now=MINUTE_TO,
        )  # fmt: skip
    await renewed(database, user, placed.id, 20_000_000, 30_000_000, MINUTE_PAST)
    assert await periods(database) == [
        ("day:2026-11-23", 0, 20_000_000),
        ("day:2026-11-24", 0, 30_000_000),
        ("month:2026-11", 0, 50_000_000),
    ]
    async with database.write() as tx:
        tiles = [tile(await book(tx), 1, LINES["carrier"], 0, 120)]
        await ledger.flush(tx, [charges(placed.id, tiles)])
        await completed(tx, placed.id)
        await ledger.finalise(tx, call_id=placed.id, epoch=1, now=MINUTE_PAST)
    assert await periods(database) == [
        ("day:2026-11-23", 20_000_000, 0),
        ("day:2026-11-24", 8_000_000, 0),
        ("month:2026-11", 28_000_000, 0),
    ]
    async with database.write() as tx:
        adjusted = await ledger.adjust(tx, call_id=placed.id, carrier_seconds=40, now=MINUTE_PAST)
    assert adjusted is not None
    assert (adjusted.total, adjusted.refunded, adjusted.operator) == (14_000_000, 14_000_000, 0)
    assert await periods(database) == [
        ("day:2026-11-23", 14_000_000, 0),
        ("day:2026-11-24", 0, 0),
        ("month:2026-11", 14_000_000, 0),
    ]
    assert (await audited(database)).breaches == []


async def test_calls_of_a_user_share_what_is_free_and_a_lowered_limit_holds_at_once(
    database: Database,
) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=100)
        one, two = await held_call(tx, user, 20), await held_call(tx, user, 20)
    grant = await renewed(database, user, one.id, 20, 1_000, NOON)
    assert (grant.held, grant.reach, grant.binds) == (50, 50, EndReason.CREDIT)
    async with database.write() as tx:
        await ledger.put_budget(tx, user.id, Budget(daily_nano=Nanos(80), warn_percent=50))
    grant = await renewed(database, user, two.id, 20, 1_000, NOON)
    assert (grant.held, grant.reach, grant.binds, grant.warn_used) == (25, 25, EndReason.BUDGET, 40)
    async with database.write() as tx:
        await ledger.put_budget(tx, user.id, Budget(daily_nano=Nanos(10)))
    grant = await renewed(database, user, two.id, 25, 1_000, NOON)
    assert (grant.held, grant.reach, grant.binds) == (25, 25, EndReason.BUDGET)
    async with database.write() as tx:
        await ledger.put_budget(tx, user.id, Budget(daily_nano=Nanos(10), auto_cutoff=False))
    grant = await renewed(database, user, two.id, 25, 3, NOON)
    assert (grant.held, grant.reach, grant.binds) == (28, 37, EndReason.CREDIT)
    assert (await audited(database)).breaches == []


async def test_a_renewal_that_came_through_unseen_is_told_and_not_repeated(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=100)
        placed = await held_call(tx, user, 20)
    first = await renewed(database, user, placed.id, 20, 30, NOON)
    again = await renewed(database, user, placed.id, 20, 30, NOON)
    assert (first.held, first.reach) == (again.held, again.reach) == (50, 100)
    third = await renewed(database, user, placed.id, 50, 30, NOON)
    assert third.held == 80
    with pytest.raises(Fenced):
        async with database.write() as tx:
            await ledger.renew(
                tx, user_id=user.id, call_id=placed.id, epoch=2, known=Nanos(80), wanted=Nanos(1), now=NOON
            )


async def test_a_hold_from_before_there_were_periods_is_settled_all_the_same(database: Database) -> None:
    """The migration knows of such a call the period of its own only."""
    earlier: str = import_module("migrations.versions.0006_budgets").EARLIER
    async with database.write() as tx:
        placed = await held_call(tx, await person(tx, credit=100), 20)
        await tx.execute(text("DELETE FROM hold_periods"))
        await tx.execute(text("DELETE FROM budget_periods WHERE key NOT LIKE 'call:%'"))
        await tx.execute(text(earlier))
        assert [(part.key, part.held_nano) for part in await budgets.parts(tx, placed.id)] == [
            (f"call:{placed.id}", 20)
        ]
    assert (await audited(database)).breaches == []
    async with database.write() as tx:
        await completed(tx, placed.id)
        await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
    assert (await audited(database)).breaches == []


async def test_what_is_left_of_each_budget_is_told_by_its_kind(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=100)
        assert (await ledger.draw(tx, user.id, now=NOON)).budgets_left("c") == {}
        await ledger.put_budget(tx, user.id, Budget(Nanos(50), Nanos(60), None))
        placed = await held_call(tx, user, 20)
        drawing = await ledger.draw(tx, user.id, call_ids=[placed.id], now=NOON)
        assert drawing.budgets_left(placed.id) == {"call": 30, "day": 40}
        _, month = await ledger.periods_of(tx, user.id, NOON)
    assert month == BudgetPeriod("month:2026-11", None, Nanos(0), Nanos(20), "America/New_York")


async def moved_to(database: Database, zone: str) -> None:
    async with database.write() as tx:
        await tx.execute(text("UPDATE users SET timezone = :zone"), {"zone": zone})


async def test_a45_a_call_stays_in_the_zone_it_began_in(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        await ledger.put_budget(tx, user.id, Budget(daily_nano=Nanos(50)))
        placed = await held_call(tx, user, 20)
    await moved_to(database, "Pacific/Kiritimati")
    grant = await renewed(database, user, placed.id, 20, 1_000, NOON)
    assert (grant.held, grant.binds) == (50, EndReason.BUDGET)
    assert await periods(database) == [("day:2026-11-23", 0, 50), ("month:2026-11", 0, 50)]
    # Midnight is that of New York, too.
    grant = await renewed(database, user, placed.id, 50, 1_000, MINUTE_TO)
    assert grant.held == 50
    grant = await renewed(database, user, placed.id, 50, 1_000, MINUTE_PAST)
    assert grant.held == 100
    assert [key for key, _, _ in await periods(database)] == [
        "day:2026-11-23",
        "day:2026-11-24",
        "month:2026-11",
    ]
    assert (await audited(database)).breaches == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York", "no such place"])
async def test_a45_another_zone_gives_no_second_days_budget(database: Database, zone: str) -> None:
    """Between calls: a day that shares a moment with the old one counts what was taken in that."""
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        await ledger.put_budget(tx, user.id, Budget(daily_nano=Nanos(50), monthly_nano=Nanos(70)))
        await held_call(tx, user, 30)
    await moved_to(database, zone)
    async with database.write() as tx:
        day, month = await ledger.periods_of(tx, user.id, NOON)
        assert (day.held_nano, month.held_nano) == (30, 30)
        second = await call(tx, user)
        taken = await ledger.hold(
            tx, user_id=user.id, call_id=second.id, epoch=1, at_least=Nanos(1), wanted=Nanos(1_000), now=NOON
        )
        assert taken == 20
        third = await call(tx, user)
        later = NOON + timedelta(hours=50)
        taken = await ledger.hold(
            tx, user_id=user.id, call_id=third.id, epoch=1, at_least=Nanos(1), wanted=Nanos(1_000), now=later
        )
        assert taken == 20, "two days later the day is another one, the month is not"
    assert (await audited(database)).breaches == []
