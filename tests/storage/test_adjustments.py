"""A carrier that counts late: the user may get something back, and never pays more."""

import pytest
from sqlalchemy import text

from pipeline.core.money import Nanos
from storage import ledger
from storage.db import Database
from storage.records import Adjustment, CallRow
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


async def settled(database: Database, minutes: int, held: int = 50_000_000) -> CallRow:
    async with database.write() as tx:
        placed = await held_call(tx, await person(tx, credit=DOLLAR), held)
        tiles = [tile(await book(tx), 1, LINES["carrier"], 0, 60 * minutes, second=60 * minutes)]
        assert await ledger.flush(tx, [charges(placed.id, tiles, second=60 * minutes)]) == []
        await completed(tx, placed.id, seconds=60 * minutes)
        await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
    return placed


async def report(database: Database, placed: CallRow, seconds: int) -> Adjustment | None:
    async with database.write() as tx:
        return await ledger.adjust(tx, call_id=placed.id, carrier_seconds=seconds, now=NOON)


async def test_fewer_seconds_go_back_to_the_user_once(database: Database) -> None:
    placed = await settled(database, 2)
    assert await report(database, placed, 60) == Adjustment(Nanos(14_000_000), Nanos(14_000_000), Nanos(0))
    assert await report(database, placed, 59) is None
    async with database.read() as tx:
        assert (await ledger.balance(tx, placed.user_id)).balance == DOLLAR - 14_000_000
        page = await ledger.transactions(tx, placed.user_id, None, 10)
        assert [line.quantity for line in await ledger.cost_lines(tx, placed.id)] == [60]
        assert sum(second.nano for second in await ledger.cost_seconds(tx, placed.id)) == 14_000_000
    assert [(item.kind, item.amount_nano, item.call_id) for item in page.items[:2]] == [
        ("adjustment", 14_000_000, placed.id),
        ("usage", -28_000_000, placed.id),
    ]
    assert (await audited(database)).breaches == []


async def test_more_seconds_are_the_operators(database: Database) -> None:
    placed = await settled(database, 1)
    assert await report(database, placed, 61) == Adjustment(Nanos(28_000_000), Nanos(0), Nanos(14_000_000))
    async with database.read() as tx:
        assert (await ledger.balance(tx, placed.user_id)).balance == DOLLAR - 14_000_000
    assert await rows(database, "SELECT reason, amount_nano FROM operator_losses") == [
        ("late_carrier", 14_000_000)
    ]
    assert await rows(database, "SELECT status FROM call_cost_events ORDER BY seq") == [
        ("confirmed",),
        ("adjust",),
    ]
    assert (await audited(database)).breaches == []
    assert await report(database, placed, 30) == Adjustment(Nanos(14_000_000), Nanos(0), Nanos(-14_000_000))
    assert (await audited(database)).breaches == []


async def test_what_the_operator_had_paid_comes_off_first(database: Database) -> None:
    placed = await settled(database, 2, held=20_000_000)
    assert await report(database, placed, 60) == Adjustment(
        Nanos(14_000_000), Nanos(6_000_000), Nanos(-8_000_000)
    )
    assert (await audited(database)).breaches == []


async def test_a_call_that_never_connected_by_our_word_costs_its_user_nothing(database: Database) -> None:
    placed = await settled(database, 1)
    assert await report(database, placed, 0) == Adjustment(Nanos(0), Nanos(14_000_000), Nanos(0))
    assert (await audited(database)).breaches == []


async def test_only_what_is_settled_is_corrected(database: Database) -> None:
    async with database.write() as tx:
        placed = await call(tx, await person(tx, credit=DOLLAR))
    for call_id in (placed.id, "none"):
        with pytest.raises(LookupError):
            async with database.write() as tx:
                await ledger.adjust(tx, call_id=call_id, carrier_seconds=9, now=NOON)


async def test_a_correction_is_no_process_that_wrote_after_losing_the_call(database: Database) -> None:
    """Tiles name the process that wrote them; a correction is nobody's."""
    placed = await settled(database, 2)
    async with database.write() as tx:
        await tx.execute(text("UPDATE call_cost_events SET node = 'n1'"))
    assert await report(database, placed, 60) is not None
    assert (await audited(database)).breaches == []
