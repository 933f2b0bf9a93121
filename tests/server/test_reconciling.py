"""Closed calls held against the carrier's own record, and the background work that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.carriers.base import Leg
from pipeline.core.errors import CarrierError
from pipeline.core.money import Nanos
from pipeline.core.tariff import PriceBook
from server import reconciling
from server.jobs import AGAIN, ATTEMPTS, Jobs
from server.reconciling import STEPS, Reconciliation
from storage import adjustments, calls, jobs, ledger
from storage.db import Database, DatabaseDown
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


@pytest.mark.parametrize(("seconds", "minutes"), [(121, 3), (60, 1), (0, 0)])
async def test_the_carriers_own_seconds_settle_its_minutes(call: Closed, seconds: int, minutes: int) -> None:
    before = await call.balance()
    call.carrier.leg = Leg(SID, "completed", seconds, price_nano=14_000_000 * minutes)
    assert await call.poll() is None
    row = await call.now()
    assert row.carrier_seconds == seconds
    assert await call.minutes() == 60 * minutes
    assert row.total_nano == row.settled_nano == 14_000_000 * minutes
    assert await call.balance() == before + 14_000_000 * (2 - minutes)
    ((kind, amount, note),) = await rows(
        call.database, "SELECT kind, amount_nano, note FROM credit_transactions ORDER BY id DESC LIMIT 1"
    )
    assert (kind, amount, note) == ("adjustment", 14_000_000 * (2 - minutes), "the carrier's own count")
    assert [row[0] for row in await rows(call.database, "SELECT action FROM audit_log")] == ["adjust"]
    assert (await audited(call.database)).breaches == []
    assert await call.poll() is None
    assert await call.now() == row, "asking again changes nothing"


async def test_above_the_hold_the_operator_pays(two_nodes: tuple[Database, Database]) -> None:
    call = await closed(two_nodes[0], hold=30_000_000)
    call.carrier.leg = Leg(SID, "completed", 200)
    await call.poll()
    row = await call.now()
    assert (row.total_nano, row.settled_nano) == (56_000_000, 30_000_000)
    assert await rows(call.database, "SELECT reason, amount_nano FROM operator_losses") == [
        ("over_hold", 26_000_000)
    ]
    assert (await audited(call.database)).breaches == []
    call.carrier.leg = Leg(SID, "completed", 100, price_nano=28_000_000)
    await call.poll()
    assert (await call.now()).settled_nano == 28_000_000
    assert await rows(call.database, "SELECT amount_nano FROM operator_losses") == [(0,)]
    assert (await audited(call.database)).breaches == []


async def test_nor_is_anybody_charged_what_they_do_not_have(two_nodes: tuple[Database, Database]) -> None:
    call = await closed(two_nodes[0], hold=40_000_000, credit=40_000_000)
    async with call.database.write() as tx:
        await ledger.grant(
            tx, user_id=call.row.user_id, amount=Nanos(-10_000_000), kind="refund", idem_key="r", now=NOON
        )
    call.carrier.leg = Leg(SID, "completed", 200)
    await call.poll()
    assert (await call.now()).settled_nano == 30_000_000
    assert await call.balance() == 0
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


async def test_only_a_final_call_is_adjusted(call: Closed) -> None:
    async with call.database.write() as tx:
        with pytest.raises(LookupError):
            await adjustments.adjust(tx, call_id="nobody's", seconds=1, now=NOON)


# -- background work -------------------------------------------------------------------


async def test_what_is_due_is_done_once_by_one_node(two_nodes: tuple[Database, Database]) -> None:
    ours, theirs = two_nodes
    clock, done = ManualClock(NOON), list[str]()

    async def handler(payload: Mapping[str, Any]) -> datetime | None:
        done.append(payload["call"])
        return NOON + timedelta(hours=1) if len(done) == 1 else None

    async with ours.write() as tx:
        await reconciling.schedule(tx, "a", NOON)
    one, two = (
        Jobs(database, clock, name, {reconciling.KIND: handler})
        for database, name in ((ours, "1"), (theirs, "2"))
    )
    assert [await one.once(), await two.once()] == [0, 0]
    clock.move(60)
    assert [await one.once(), await two.once()] == [1, 0]
    clock.move(3_540)
    assert [await two.once(), await one.once(), await two.once()] == [1, 0, 0]
    assert done == ["a", "a"]
    assert await rows(ours, "SELECT status, attempts FROM jobs") == [("done", 2)]


async def test_a_job_whose_node_died_is_done_by_another(two_nodes: tuple[Database, Database]) -> None:
    ours, _ = two_nodes
    async with ours.write() as tx:
        await jobs.add(tx, "k", {}, NOON)
        (dead,) = await jobs.claim(tx, ["k", "other"], "dead", NOON, 5)
        assert await jobs.claim(tx, ["k"], "us", NOON + timedelta(seconds=119), 5) == []
        (taken,) = await jobs.claim(tx, ["k"], "us", NOON + timedelta(seconds=121), 5)
        assert (taken.id, taken.attempts) == (dead.id, 2)
        await jobs.put_back(tx, dead, "dead", None)
    assert await rows(ours, "SELECT status FROM jobs") == [("claimed",)]


async def test_a_job_that_fails_is_tried_again_and_given_up(two_nodes: tuple[Database, Database]) -> None:
    clock, tries = ManualClock(NOON), 0

    async def handler(_payload: Mapping[str, Any]) -> datetime | None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise DatabaseDown("not now", retryable=True)
        raise ValueError("a bug")

    async with two_nodes[0].write() as tx:
        await jobs.add(tx, "k", {}, NOON)
    for _ in range(ATTEMPTS + 3):
        await Jobs(two_nodes[0], clock, "us", {"k": handler}).once()
        clock.move(AGAIN.total_seconds())
    assert tries == ATTEMPTS
    assert await rows(two_nodes[0], "SELECT status FROM jobs") == [("done",)]
