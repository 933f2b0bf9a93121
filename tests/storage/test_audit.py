"""The audit finds what it is for: one planted breach at a time, and none in a ledger that is right."""

import pytest
from sqlalchemy import text

from storage import ledger
from storage.audit import Invariant, audit
from storage.db import Database
from tests.storage.world import (
    DOLLAR,
    LINES,
    NOON,
    audited,
    book,
    charges,
    completed,
    held_call,
    person,
    tile,
)


async def a_day(database: Database) -> None:
    """A settled call `final`, a settled one that overran, and one still going on, all of one user."""
    async with database.write() as tx:
        user, prices = await person(tx, credit=DOLLAR), await book(tx)
        for name, hold in (("final", 73_000_000), ("overrun", 20_000_000), ("live", 73_000_000)):
            placed = await held_call(tx, user, hold)
            bought = [
                tile(prices, 1, LINES["carrier"], 0, 60),
                tile(prices, 2, LINES["stt"], 0, 30, 30),
                tile(prices, 3, LINES["stt"], 30, 61, 61),
                tile(prices, 4, LINES["carrier"], 60, 120, 60),
            ]
            await ledger.flush(tx, [charges(placed.id, bought, second=61)])
            if name != "live":
                await completed(tx, placed.id, seconds=61)
                await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
            await tx.execute(
                text("UPDATE calls SET context = :name WHERE id = :id"), {"name": name, "id": placed.id}
            )


FINAL, OVERRUN, LIVE = (
    f"(SELECT id FROM calls WHERE context = '{name}')" for name in ("final", "overrun", "live")
)
STT = f"line = '{LINES['stt']}'"

TWICE = f"""
    INSERT INTO credit_transactions (user_id, call_id, kind, amount_nano, balance_after_nano, idem_key)
    SELECT user_id, id, 'usage', 0, 0, 'twice' FROM calls WHERE id = {OVERRUN}"""

BREACHES: list[tuple[Invariant, str]] = [
    ("I1", "UPDATE user_credits SET balance_nano = balance_nano + 1"),
    ("I1", f"UPDATE credit_transactions SET amount_nano = amount_nano - 1 WHERE call_id = {FINAL}"),
    ("I1", f"UPDATE credit_transactions SET balance_after_nano = 5 WHERE call_id = {FINAL}"),
    ("I1", "DELETE FROM user_credits"),
    ("I1", "DELETE FROM credit_transactions WHERE kind = 'purchase'"),
    ("I2", "UPDATE user_credits SET held_nano = held_nano - 1"),
    ("I2", "UPDATE user_credits SET held_nano = 0"),
    ("I2", f"UPDATE credit_holds SET amount_nano = amount_nano + 1 WHERE call_id = {LIVE}"),
    ("I2", f"UPDATE budget_periods SET held_nano = held_nano - 1 WHERE key = 'call:' || {LIVE}"),
    ("I2", f"UPDATE budget_periods SET held_nano = 1 WHERE key = 'call:' || {FINAL}"),
    ("I2", f"DELETE FROM budget_periods WHERE key = 'call:' || {LIVE}"),
    ("I3", f"DELETE FROM call_cost_events WHERE {STT} AND seq = 2 AND call_id = {FINAL}"),
    ("I3", f"DELETE FROM call_cost_events WHERE {STT} AND seq = 3 AND call_id = {FINAL}"),
    ("I3", f"UPDATE call_cost_events SET from_qty = 29 WHERE {STT} AND seq = 3 AND call_id = {FINAL}"),
    ("I3", f"UPDATE call_cost_events SET from_qty = 1 WHERE {STT} AND seq = 2 AND call_id = {FINAL}"),
    ("I3", f"UPDATE call_cost_events SET status = 'adjust' WHERE {STT} AND seq = 3 AND call_id = {FINAL}"),
    ("I3", f"UPDATE call_cost_breakdowns SET quantity = 60 WHERE {STT} AND call_id = {FINAL}"),
    ("I3", f"DELETE FROM call_cost_breakdowns WHERE {STT} AND call_id = {FINAL}"),
    ("I4", f"UPDATE call_cost_events SET nano = nano + 1 WHERE seq = 1 AND call_id = {FINAL}"),
    ("I4", f"UPDATE call_cost_breakdowns SET amount_nano = amount_nano + 1 WHERE {STT} AND call_id = {FINAL}"),
    ("I4", f"UPDATE calls SET total_nano = total_nano + 1 WHERE id = {LIVE}"),
    ("I4", f"UPDATE calls SET price_ids = '[]' WHERE id = {LIVE}"),
    ("I4", "UPDATE pricing SET price_nano = price_nano + 1 WHERE model = 'twilio' AND service = 'carrier'"),
    ("I5", f"UPDATE calls SET settled_nano = settled_nano - 1 WHERE id = {FINAL}"),
    ("I5", "DELETE FROM operator_losses"),
    ("I5", "UPDATE operator_losses SET amount_nano = amount_nano + 1"),
    ("I5", f"UPDATE credit_holds SET amount_nano = 1 WHERE call_id = {LIVE}"),
    ("I6", f"UPDATE calls SET status = 'in-progress', status_rank = 3 WHERE id = {FINAL}"),
    ("I6", f"UPDATE credit_holds SET status = 'open' WHERE call_id = {FINAL}"),
    ("I6", f"DELETE FROM credit_transactions WHERE call_id = {FINAL}"),
    ("I6", f"UPDATE credit_transactions SET idem_key = 'other' WHERE call_id = {FINAL}"),
    ("I6", TWICE),
    ("I6", f"UPDATE calls SET final_at = created_at WHERE id = {LIVE}"),
]  # fmt: skip


async def test_a_right_ledger_has_no_breach(database: Database) -> None:
    empty = await audited(database)
    assert (empty.breaches, empty.calls, empty.explained_share) == ([], 0, 1.0)
    await a_day(database)
    report = await audited(database)
    assert (report.breaches, report.calls, report.events, report.explained_share) == ([], 3, 12, 1.0)


@pytest.mark.parametrize("invariant", ["I1", "I2", "I3", "I4", "I5", "I6"])
async def test_every_planted_breach_is_found(database: Database, invariant: Invariant) -> None:
    await a_day(database)
    planted = [change for named, change in BREACHES if named == invariant]
    assert len(planted) >= 4
    for change in planted:
        async with database.write() as tx:
            savepoint = await tx.begin_nested()
            changed = (await tx.execute(text(change))).rowcount
            assert changed > 0, change
            found = {breach.invariant for breach in (await audit(tx)).breaches}
            assert invariant in found, change
            await savepoint.rollback()
    assert (await audited(database)).breaches == []


async def test_the_share_that_is_explained_falls_with_each_unclear_call(database: Database) -> None:
    await a_day(database)
    async with database.write() as tx:
        await tx.execute(text(f"UPDATE calls SET total_nano = total_nano + 1 WHERE id = {LIVE}"))
    report = await audited(database)
    assert {breach.subject for breach in report.breaches if breach.invariant == "I4"} != set()
    assert round(report.explained_share, 3) == 0.667
    assert all(breach.detail for breach in report.breaches)
