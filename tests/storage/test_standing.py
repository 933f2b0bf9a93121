"""What `/metrics` asks of the database: right on both, and from an open call's side."""

from __future__ import annotations

from sqlalchemy import text

from storage import ledger
from storage.db import Database
from storage.standing import standing
from tests.storage.world import DOLLAR, LINES, NOON, book, charges, completed, held_call, person, tile


async def test_it_knows_losses_holds_and_who_waits_longest(database: Database) -> None:
    async with database.read() as tx:
        empty = await standing(tx)
    assert (empty.losses, empty.holds, empty.held, empty.exposed, empty.oldest_unsettled_s) == (
        {},
        0,
        0,
        0,
        0,
    )
    async with database.write() as tx:
        user, prices = await person(tx, credit=DOLLAR), await book(tx)
        minute = tile(prices, 1, LINES["carrier"], 0, 60)
        for name, hold in (("overrun", minute.nano - 5), ("live", DOLLAR // 10), ("over", minute.nano - 3)):
            placed = await held_call(tx, user, hold)
            await ledger.flush(tx, [charges(placed.id, [minute])])
            if name == "overrun":
                await completed(tx, placed.id)
                await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
            if name == "over":
                over = (
                    "UPDATE calls SET status_rank = 4, ended_at = '2000-01-01 00:00:00.000000' WHERE id = :id"
                )
                await tx.execute(text(over), {"id": placed.id})
        now = await standing(tx)
    assert now.losses == {"over_hold": 5}
    assert (now.holds, now.held, now.exposed) == (2, DOLLAR // 10 + minute.nano - 3, 3)
    assert now.oldest_unsettled_s > 20 * 365 * 86_400
