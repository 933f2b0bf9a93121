"""What a call may come to at most, as it is shown: by the limit that is narrowest."""

from __future__ import annotations

import pytest

from pipeline.core.money import Nanos
from storage import ledger
from storage.bounds import Bound, bound
from storage.db import Database
from storage.free import Bounding
from storage.records import Budget
from tests.storage.world import DOLLAR, NOON, completed, held_call, person

HELD = DOLLAR // 10
CENT = DOLLAR // 100


def nanos(cents: int | None) -> Nanos | None:
    return None if cents is None else Nanos(cents * CENT)


@pytest.mark.parametrize(
    ("limits", "by", "cents", "warned"),
    [
        ((None, None, None), "credit", 100, None),
        ((40, None, None), "call", 40, 20),
        ((40, 30, None), "day", 30, 15),
        ((40, 30, 20), "month", 20, 10),
        ((200, 300, 400), "credit", 100, 100),
    ],
)
async def test_the_narrowest_limit_binds(
    database: Database, limits: tuple[int | None, ...], by: Bounding, cents: int, warned: int | None
) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        per_call, daily, monthly = (nanos(each) for each in limits)
        await ledger.put_budget(tx, user.id, Budget(per_call, daily, monthly, 50, auto_cutoff=True))
        placed = await held_call(tx, user, HELD)
        expected = Bound(by, Nanos(cents * CENT), nanos(warned))
        assert await bound(tx, placed, NOON) == expected
    async with database.read() as tx:  # needs no lock
        assert await bound(tx, placed, NOON) == expected


async def test_two_calls_share_and_one_that_is_settled_has_none(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        one, two = await held_call(tx, user, HELD), await held_call(tx, user, 2 * HELD)
        assert await bound(tx, one, NOON) == Bound("credit", Nanos(45 * CENT), None)
        assert await bound(tx, two, NOON) == Bound("credit", Nanos(55 * CENT), None)
        await completed(tx, one.id)
        await ledger.finalise(tx, call_id=one.id, epoch=1, now=NOON)
        assert await bound(tx, one, NOON) is None
        assert await bound(tx, two, NOON) == Bound("credit", Nanos(DOLLAR), None)
