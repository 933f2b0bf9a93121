"""Closed calls held against the carrier's own record, and the background work that does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest
from sqlalchemy import text

from pipeline.carriers.base import Leg
from pipeline.core.errors import CarrierError
from pipeline.core.tariff import PriceBook
from server.metrics import UNRECONCILED
from server.money.reconciling import STEPS, Reconciliation
from storage import calls, ledger
from storage.db import Database
from storage.records import CallRow
from tests.server.rig import NOON, ManualClock, RecordingCarrier
from tests.storage.world import (
    DOLLAR,
    LINES,
    audited,
    book,
    charges,
    completed,
    held_call,
    person,
    rows,
    tile,
)

CARRIER = LINES["carrier"]
SID = "CA1"


@dataclass
class Record(RecordingCarrier):
    """What the carrier has of the call."""

    leg: Leg | None = None

    async def fetch(self, sid: str) -> Leg:
        if self.leg is None:
            raise CarrierError("not now")
        return self.leg


@dataclass
class Closed:
    """A call of 61 seconds for which two carrier minutes were bought, and closed at noon."""

    database: Database
    clock: ManualClock
    carrier: Record
    row: CallRow
    prices: PriceBook

    async def poll(self) -> datetime | None:
        return await Reconciliation(self.database, self.carrier, self.clock)({"call": self.row.id})

    async def now(self) -> CallRow:
        async with self.database.read() as tx:
            row = await calls.get(tx, self.row.id)
        assert row is not None
        return row

    async def minutes(self) -> int:
        async with self.database.read() as tx:
            return next(
                line.quantity for line in await ledger.cost_lines(tx, self.row.id) if line.line == CARRIER
            )

    async def balance(self) -> int:
        async with self.database.read() as tx:
            return (await ledger.balance(tx, self.row.user_id)).balance


async def closed(database: Database, hold: int = DOLLAR // 4, credit: int = DOLLAR) -> Closed:
    clock = ManualClock(NOON)
    async with database.write() as tx:
        user = await person(tx, credit=credit)
        placed, prices = await held_call(tx, user, hold), await book(tx)
        await calls.advance(tx, placed.id, "in-progress", at=NOON, sid=SID)
        bought = [tile(prices, 1, CARRIER, 0, 60), tile(prices, 2, CARRIER, 60, 120, 60)]
        assert await ledger.flush(tx, [charges(placed.id, bought, second=60)]) == []
        await completed(tx, placed.id, seconds=61)
        await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
        row = await calls.get(tx, placed.id)
    assert row is not None
    return Closed(database, clock, Record(), row, prices)


@pytest.fixture
async def call(two_nodes: tuple[Database, Database]) -> Closed:
    return await closed(two_nodes[0])


async def test_a_record_that_agrees_changes_nothing(call: Closed) -> None:
    call.carrier.leg = Leg(SID, "completed", 61, price_nano=28_000_000)
    assert await call.poll() is None
    assert await call.now() == call.row
    assert await rows(call.database, "SELECT * FROM audit_log") == []


async def test_a_call_in_a_browser_has_no_record_to_be_held_against(call: Closed) -> None:
    async with call.database.write() as tx:
        await tx.execute(text("UPDATE calls SET channel = 'browser'"))
    assert await call.poll() is None


@pytest.mark.parametrize(("seconds", "minutes"), [(60, 1), (0, 0)])
async def test_fewer_seconds_of_the_carriers_come_back_to_the_user(
    call: Closed, seconds: int, minutes: int
) -> None:
    before = await call.balance()
    call.carrier.leg = Leg(SID, "completed", seconds, price_nano=14_000_000 * minutes)
    assert await call.poll() is None
    row = await call.now()
    assert row.carrier_seconds == seconds
    assert await call.minutes() == 60 * minutes
    assert row.total_nano == row.settled_nano == 14_000_000 * minutes
    assert await call.balance() == before + 14_000_000 * (2 - minutes)
    assert [row[0] for row in await rows(call.database, "SELECT action FROM audit_log")] == ["adjust"]
    assert (await audited(call.database)).breaches == []
    assert await call.poll() is None
    assert await call.now() == row, "asking again changes nothing"


async def test_more_seconds_are_the_operators_and_nobody_else_s(call: Closed) -> None:
    before = await call.balance()
    call.carrier.leg = Leg(SID, "completed", 121, price_nano=42_000_000)
    assert await call.poll() is None
    row = await call.now()
    assert (row.carrier_seconds, await call.minutes()) == (121, 180)
    assert (row.total_nano, row.settled_nano) == (42_000_000, 28_000_000)
    assert await call.balance() == before
    assert sum(
        int(str(row[0])) for row in await rows(call.database, "SELECT amount_nano FROM operator_losses")
    ) == (14_000_000)
    assert (await audited(call.database)).breaches == []


async def test_a_price_that_differs_is_the_operators_business(call: Closed) -> None:
    call.carrier.leg = Leg(SID, "completed", 61, price_nano=28_290_000)
    assert await call.poll() is None
    assert await call.now() == call.row
    ((actor, action, subject, detail),) = await rows(
        call.database, "SELECT actor, action, subject, detail FROM audit_log"
    )
    assert (actor, action, subject) == ("reconciliation", "price", call.row.id)
    assert "28290000" in str(detail)


async def test_a_record_that_is_not_there_yet_is_asked_for_again_but_not_for_ever(call: Closed) -> None:
    for leg in (None, Leg(SID, "in-progress", 0), Leg(SID, "completed", 61)):
        call.carrier.leg, call.clock = leg, ManualClock(NOON)
        for step, following in zip(STEPS, [*STEPS[1:], None], strict=True):
            call.clock = ManualClock(NOON)
            call.clock.move(step.total_seconds())
            assert await call.poll() == (None if following is None else NOON + following)
    assert await call.now() == call.row


async def test_a_call_without_a_leg_or_of_nobody_is_nothing_to_ask_about(call: Closed) -> None:
    async with call.database.write() as tx:
        await tx.execute(text("UPDATE calls SET twilio_call_sid = NULL"))
    assert await call.poll() is None
    assert await Reconciliation(call.database, call.carrier, call.clock)({"call": "nobody's"}) is None


async def test_a_last_word_that_comes_after_the_books_are_closed_is_left_to_the_record(call: Closed) -> None:
    """A callback of a call that nobody conducts any more: the row says what was charged for, until it is adjusted."""
    async with call.database.write() as tx:
        await calls.advance(tx, call.row.id, "completed", at=NOON, sid=SID, carrier_seconds=121)
    assert (await call.now()).carrier_seconds == 61
    assert (await audited(call.database)).breaches == []
    call.carrier.leg = Leg(SID, "completed", 121, price_nano=42_000_000)
    assert await call.poll() is None
    assert ((await call.now()).carrier_seconds, await call.minutes()) == (121, 180)
    assert [row[0] for row in await rows(call.database, "SELECT action FROM audit_log")] == ["adjust"]
    assert (await audited(call.database)).breaches == []


async def test_a_record_without_a_count_is_asked_for_again_and_what_is_known_stands(call: Closed) -> None:
    """Over, and no duration yet: that is no call of 0 seconds."""
    before = UNRECONCILED._value.get()
    call.carrier.leg = Leg(SID, "completed", None)
    for step, following in zip(STEPS, [*STEPS[1:], None], strict=True):
        call.clock = ManualClock(NOON)
        call.clock.move(step.total_seconds())
        assert await call.poll() == (None if following is None else NOON + following)
    assert await call.now() == call.row
    assert await call.minutes() == 120
    assert UNRECONCILED._value.get() == before + 1
