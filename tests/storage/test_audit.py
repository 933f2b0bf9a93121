"""The audit finds what it is for: one planted breach at a time, and none in a ledger that is right."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, text, update

from storage import ledger
from storage.audit import PROMISES, Invariant, audit
from storage.db import Database
from storage.records import OVER
from storage.tables import calls, credit_holds, nodes
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

CRASHED = f"UPDATE calls SET epoch = 2 WHERE id = {FINAL}"
LOST = (
    f"INSERT INTO operator_losses (call_id, reason, amount_nano) VALUES ({FINAL}, 'unconfirmed:{{crash}}', 3)"
)
ALIVE = "INSERT INTO nodes (boot_id) VALUES ('alive')"
OWNER_ALIVE = "INSERT INTO nodes (boot_id) VALUES ('node')"
LONG_AGO = "'2026-01-01 00:00:00.000000'"
OVER_LONG_AGO = f"UPDATE calls SET status_rank = 4, ended_at = {LONG_AGO} WHERE id = {LIVE}"

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
    ("I7", f"UPDATE calls SET carrier_seconds = 121 WHERE id = {FINAL}"),
    ("I7", f"UPDATE calls SET carrier_seconds = 60 WHERE id = {FINAL}"),
    ("I7", f"UPDATE calls SET carrier_seconds = 0 WHERE id = {FINAL}"),
    ("I7", f"DELETE FROM call_cost_breakdowns WHERE service = 'carrier' AND call_id = {FINAL}"),
    ("I8", LOST.format(crash=3)),
    ("I8", LOST.format(crash=1)),
    ("I8", LOST.format(crash="02")),
    ("I8", "UPDATE operator_losses SET reason = 'unconfirmed'"),
    ("I8", f"{CRASHED}; {LOST.format(crash=2)}; UPDATE operator_losses SET amount_nano = 0 WHERE amount_nano = 3"),
    ("I8", f"UPDATE call_cost_events SET status = 'unconfirmed' WHERE seq = 1 AND call_id = {FINAL}"),
    ("I11", f"UPDATE call_cost_events SET node = 'zombie' WHERE seq = 2 AND call_id = {FINAL}"),
    ("I11", f"UPDATE call_cost_events SET node = 'zombie' WHERE seq > 2 AND call_id = {LIVE}"),
    ("I11", f"UPDATE credit_holds SET epoch = 2 WHERE call_id = {FINAL}"),
    ("I12", f"UPDATE calls SET settled_nano = settled_nano - 1 WHERE id = {FINAL}"),
    ("I12", "UPDATE user_credits SET balance_nano = balance_nano + 1"),
    ("I12", "UPDATE credit_transactions SET kind = 'refund' WHERE kind = 'purchase'"),
    ("I12", "DELETE FROM credit_transactions WHERE kind = 'purchase'"),
    ("I12", f"UPDATE credit_transactions SET kind = 'purchase' WHERE call_id = {FINAL}"),
    ("I13", f"UPDATE calls SET last_seq = last_seq + 1 WHERE id = {LIVE}"),
    ("I13", f"UPDATE call_cost_events SET seq = 0 WHERE seq = 1 AND call_id = {FINAL}"),
    ("I13", f"DELETE FROM call_cost_events WHERE seq = 2 AND call_id = {FINAL}"),
    ("I14", f"{ALIVE}; UPDATE credit_holds SET opened_at = {LONG_AGO} WHERE call_id = {LIVE}"),
    ("I14", f"{OWNER_ALIVE}; {OVER_LONG_AGO}; UPDATE credit_holds SET opened_at = {LONG_AGO} WHERE call_id = {LIVE}"),
]  # fmt: skip


async def test_a_right_ledger_has_no_breach(database: Database) -> None:
    empty = await audited(database)
    assert (empty.breaches, empty.calls, empty.explained_share) == ([], 0, 1.0)
    await a_day(database)
    report = await audited(database)
    assert (report.breaches, report.calls, report.events, report.explained_share) == ([], 3, 12, 1.0)


@pytest.mark.parametrize("invariant", [promise.invariant for promise in PROMISES])
async def test_every_planted_breach_is_found(database: Database, invariant: Invariant) -> None:
    await a_day(database)
    planted = [change for named, change in BREACHES if named == invariant]
    assert len(planted) >= 2
    for change in planted:
        async with database.write() as tx:
            savepoint = await tx.begin_nested()
            for statement in change.split("; "):
                assert (await tx.execute(text(statement))).rowcount > 0, statement
            report = await audit(tx)
            assert invariant in {breach.invariant for breach in report.breaches}, change
            counted = {check.promise.invariant: check.breaches for check in report.checks}
            assert counted[invariant] == sum(breach.invariant == invariant for breach in report.breaches)
            await savepoint.rollback()
    assert (await audited(database)).breaches == []


async def test_each_promise_says_on_how_many_rows_it_was_checked(database: Database) -> None:
    await a_day(database)
    checks = {
        check.promise.invariant: (check.looked_at, check.breaches)
        for check in (await audited(database)).checks
    }
    assert checks == {
        "I1": (3, 0), "I2": (1, 0), "I3": (12, 0), "I4": (6, 0), "I5": (3, 0), "I6": (2, 0), "I7": (2, 0),
        "I8": (1, 0), "I11": (12, 0), "I12": (1, 0), "I13": (3, 0), "I14": (1, 0),
    }  # fmt: skip


async def test_the_share_of_the_money_that_is_explained_falls_with_each_unclear_call(
    database: Database,
) -> None:
    await a_day(database)
    async with database.write() as tx:
        await tx.execute(text(f"UPDATE calls SET total_nano = total_nano + 1 WHERE id = {LIVE}"))
    report = await audited(database)
    assert {breach.subject for breach in report.breaches if breach.invariant == "I4"} != set()
    assert all(breach.detail for breach in report.breaches)
    # A dollar bought, two calls paid, one going on: that one is what nobody can explain.
    cost = report.figures.used_by_open_calls
    moved = DOLLAR + (cost - 1) + 20_000_000 + cost
    assert (report.figures.volume, report.figures.explained) == (moved, moved - cost)
    assert report.explained_share == (moved - cost) / moved


async def test_an_unclear_account_explains_nothing_of_its_money(database: Database) -> None:
    await a_day(database)
    async with database.write() as tx:
        await tx.execute(text("UPDATE user_credits SET balance_nano = balance_nano + 1"))
    report = await audited(database)
    assert report.figures.explained == report.figures.used_by_open_calls


async def test_what_the_operator_pays_and_stands_to_lose_is_told(database: Database) -> None:
    await a_day(database)
    cost = (await audited(database)).figures.used_by_open_calls
    async with database.write() as tx:
        await tx.execute(text(f"UPDATE credit_holds SET amount_nano = 4 WHERE call_id = {LIVE}"))
        await tx.execute(text(CRASHED))
        await tx.execute(text(LOST.format(crash=2)))
    report = await audited(database)
    assert report.figures.losses == {"over_hold": cost - 20_000_000, "unconfirmed": 3}
    assert (report.figures.exposed, report.figures.unconfirmed) == (cost - 4, 3)
    assert {breach.invariant for breach in report.breaches} == {"I2", "I5"}, "of the live call alone"


async def test_a_call_answered_after_its_process_died_is_the_operators(database: Database) -> None:
    """One started minute a crash at most; the second one is a breach."""
    await a_day(database)
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await held_call(tx, user, 73_000_000)
        await tx.execute(text("UPDATE calls SET epoch = 2 WHERE id = :id"), {"id": placed.id})
        await completed(tx, placed.id, seconds=60)
        await ledger.finalise(tx, call_id=placed.id, epoch=2, now=NOON)
    report = await audited(database)
    assert (report.breaches, report.figures.unbilled_seconds) == ([], 60)
    async with database.write() as tx:
        await tx.execute(text("UPDATE calls SET carrier_seconds = 61 WHERE id = :id"), {"id": placed.id})
    assert {breach.invariant for breach in (await audited(database)).breaches} == {"I7"}


async def test_nobody_is_blamed_for_a_hold_while_no_process_runs(database: Database) -> None:
    """After a power cut the first process to start settles; until then there is nobody who could have."""
    await a_day(database)
    async with database.write() as tx:
        await tx.execute(text(f"UPDATE credit_holds SET opened_at = {LONG_AGO}"))
    assert (await audited(database)).breaches == []
    async with database.write() as tx:
        await tx.execute(text("INSERT INTO nodes (boot_id) VALUES ('node')"))
    assert (await audited(database)).breaches == [], "its owner lives"


@pytest.mark.parametrize(("ended_before_s", "forgotten"), [(360, True), (240, False), (3_960, False)])
async def test_a_call_ends_when_a_clock_says_so_that_may_be_wrong(
    database: Database, ended_before_s: int, forgotten: bool
) -> None:
    """Its hold was opened ten minutes ago, by the database's clock: it did not end an hour before."""
    await a_day(database)
    async with database.write() as tx:
        told = update(calls).where(calls.c.id == text(LIVE))
        await tx.execute(told.values(status_rank=OVER, ended_at=NOON - timedelta(seconds=ended_before_s)))
        await tx.execute(update(credit_holds).values(opened_at=NOON - timedelta(minutes=10)))
        await tx.execute(insert(nodes).values(boot_id="node", heartbeat_at=NOON))
    async with database.read() as tx:
        found = {breach.invariant for breach in (await audit(tx, NOON)).breaches}
    assert ("I14" in found) == forgotten
