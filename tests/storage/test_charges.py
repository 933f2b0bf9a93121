"""The flush: each charge exactly once, whoever repeats it, and a handful of statements for all calls together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, event, text

from pipeline.core.money import Nanos
from storage import calls, ledger
from storage.db import Database
from storage.records import CallRow, CostLine, CostSecond
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


async def held(database: Database, count: int = 1) -> list[CallRow]:
    async with database.write() as tx:
        user = await person(tx, credit=1_000 * DOLLAR)
        return [await held_call(tx, user, DOLLAR) for _ in range(count)]


async def flush(database: Database, *batch: ledger.CallCharges) -> list[str]:
    async with database.write() as tx:
        return await ledger.flush(tx, batch, node="boot", now=NOON)


async def total(database: Database, call_id: str) -> tuple[int, int]:
    async with database.read() as tx:
        found = await calls.get(tx, call_id)
    assert found is not None
    return found.total_nano, found.last_seq


async def test_what_was_bought_is_broken_down_by_line_and_by_second(database: Database) -> None:
    (placed,) = await held(database)
    async with database.read() as tx:
        prices = await book(tx)
    first = [
        tile(prices, 1, LINES["carrier"], 0, 60, 0),
        tile(prices, 2, LINES["stt"], 0, 1, 1),
        tile(prices, 3, LINES["stt"], 1, 2, 2),
        tile(prices, 4, LINES["tts"], 0, 100, 2),
    ]
    second = [tile(prices, 5, LINES["stt"], 2, 3, 3)]
    assert await flush(database, charges(placed.id, first, second=2)) == []
    assert await flush(database, charges(placed.id, second, second=3)) == []
    async with database.read() as tx:
        lines = await ledger.cost_lines(tx, placed.id)
        seconds = await ledger.cost_seconds(tx, placed.id)
    assert lines == [
        CostLine(LINES["carrier"], "carrier", "twilio", "second", 60, first[0].nano, 2),
        CostLine(LINES["stt"], "stt", "whisper-tiny.en", "second", 3, Nanos(second[0].nano + 216_667), 3),
        CostLine(LINES["tts"], "tts", "hibari", "char", 100, first[3].nano, 2),
    ]
    assert seconds == [
        CostSecond(0, first[0].nano, {"carrier": first[0].nano}),
        CostSecond(1, first[1].nano, {"stt": first[1].nano}),
        CostSecond(2, Nanos(first[2].nano + first[3].nano), {"stt": first[2].nano, "tts": first[3].nano}),
        CostSecond(3, second[0].nano, {"stt": second[0].nano}),
    ]
    assert await total(database, placed.id) == (sum(item.nano for item in seconds), 5)
    assert await rows(database, "SELECT DISTINCT node, status FROM call_cost_events") == [
        ("boot", "confirmed")
    ]
    report = await audited(database)
    assert (report.breaches, report.calls, report.events, report.explained_share) == ([], 1, 5, 1.0)


async def test_a_flush_whose_answer_was_lost_may_be_repeated(database: Database) -> None:
    (placed,) = await held(database)
    async with database.read() as tx:
        prices = await book(tx)
    three = [tile(prices, seq, LINES["stt"], seq - 1, seq, seq) for seq in (1, 2, 3)]
    assert await flush(database, charges(placed.id, three[:2])) == []
    before = await total(database, placed.id)
    assert await flush(database, charges(placed.id, three[:2])) == []
    assert await total(database, placed.id) == before
    # Repeated together with what came since: only that is added.
    assert await flush(database, charges(placed.id, three)) == []
    assert await total(database, placed.id) == (sum(item.nano for item in three), 3)
    assert (await audited(database)).breaches == []


async def test_two_writers_of_one_batch_write_it_once(database: Database) -> None:
    placed = await held(database, 3)
    async with database.read() as tx:
        prices = await book(tx)
    batch = [charges(item.id, [tile(prices, 1, LINES["carrier"], 0, 60)]) for item in placed]
    answers = await asyncio.gather(*(flush(database, *order) for order in (batch, batch[::-1], batch)))
    assert answers == [[], [], []]
    assert await rows(database, "SELECT count(*) FROM call_cost_events") == [(3,)]
    assert (await audited(database)).breaches == []


async def test_a_call_taken_over_is_written_by_its_new_owner_only(database: Database) -> None:
    taken, ours = await held(database, 2)
    async with database.write() as tx:
        prices = await book(tx)
        await tx.execute(text("UPDATE calls SET epoch = 2 WHERE id = :id"), {"id": taken.id})
    old = [charges(item.id, [tile(prices, 1, LINES["carrier"], 0, 60)]) for item in (taken, ours)]
    assert await flush(database, *old) == [taken.id]
    assert await total(database, taken.id) == (0, 0)
    assert await total(database, ours.id) == (14_000_000, 1)
    new = charges(taken.id, [tile(prices, 1, LINES["carrier"], 0, 60)], epoch=2)
    assert await flush(database, new) == []
    assert await total(database, taken.id) == (14_000_000, 1)
    assert (await audited(database)).breaches == []


async def test_a_call_that_is_final_gone_or_has_a_gap_is_not_written(database: Database) -> None:
    final, gap, ours = await held(database, 3)
    async with database.write() as tx:
        prices = await book(tx)
        one = [tile(prices, 1, LINES["carrier"], 0, 60)]
        await ledger.flush(tx, [charges(final.id, one)])
        await completed(tx, final.id)
        await ledger.finalise(tx, call_id=final.id, epoch=1, now=NOON)
    two = tile(prices, 2, LINES["carrier"], 60, 120)
    lost = await flush(
        database,
        charges(final.id, [*one, two]),
        charges("none", one),
        charges(gap.id, [two]),
        charges(ours.id, one),
    )
    assert sorted(lost) == sorted([final.id, "none", gap.id])
    assert await rows(database, "SELECT count(*) FROM call_cost_events") == [(2,)]
    # What a final call has already is no news.
    assert await flush(database, charges(final.id, one), charges(ours.id, [])) == []
    await audited(database)


async def test_a_refund_goes_back_over_what_was_bought(database: Database) -> None:
    (placed,) = await held(database)
    async with database.read() as tx:
        prices = await book(tx)
    bought = [tile(prices, seq, LINES["carrier"], 60 * (seq - 1), 60 * seq) for seq in (1, 2, 3)]
    back = [tile(prices, 4, LINES["carrier"], 180, 120), tile(prices, 5, LINES["carrier"], 120, 60)]
    assert [item.nano for item in back] == [-14_000_000, -14_000_000]
    assert await flush(database, charges(placed.id, bought)) == []
    assert await flush(database, charges(placed.id, back)) == []
    assert await total(database, placed.id) == (14_000_000, 5)
    async with database.read() as tx:
        (line,) = await ledger.cost_lines(tx, placed.id)
    assert (line.quantity, line.amount_nano) == (60, 14_000_000)
    kinds = "SELECT status, count(*) FROM call_cost_events GROUP BY status ORDER BY status"
    assert await rows(database, kinds) == [("adjust", 2), ("confirmed", 3)]
    assert (await audited(database)).breaches == []


@dataclass(slots=True)
class Traffic:
    statements: list[str] = field(default_factory=list)
    commits: int = 0


@contextmanager
def counted() -> Iterator[Traffic]:
    traffic = Traffic()

    def executed(connection: Connection, cursor: object, statement: str, *rest: object) -> None:
        traffic.statements.append(statement)

    def committed(connection: Connection) -> None:
        traffic.commits += 1

    event.listen(Engine, "before_cursor_execute", executed)
    event.listen(Engine, "commit", committed)
    try:
        yield traffic
    finally:
        event.remove(Engine, "before_cursor_execute", executed)
        event.remove(Engine, "commit", committed)


async def test_a_flush_of_a_hundred_calls_is_one_transaction_of_a_few_statements(database: Database) -> None:
    async with database.write() as tx:
        user, prices = await person(tx, credit=DOLLAR), await book(tx)
        placed = [await call(tx, user, prices=prices) for _ in range(100)]
    batch = [
        charges(item.id, [tile(prices, seq, LINES["stt"], seq - 1, seq, seq) for seq in (1, 2, 3)], second=3)
        for item in placed
    ]
    await flush(database)  # an empty one, so that connecting is not counted
    with counted() as traffic:
        assert await flush(database, *batch) == []
    begin = [statement for statement in traffic.statements if statement.startswith("BEGIN")]
    assert (traffic.commits, len(traffic.statements) - len(begin)) == (1, 4)
    touched = " ".join(traffic.statements)
    assert "user_credits" not in touched
    assert "users" not in touched
    assert await rows(database, "SELECT count(*), sum(nano) FROM call_cost_events") == [(300, 100 * 325_000)]
