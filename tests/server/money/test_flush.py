"""The flush against a real SQLite file that is not always to be had."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pipeline.clock import Clock
from pipeline.core.effects import Charge, Ended, TurnTaken
from pipeline.core.events import Answered
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason
from pipeline.journal_file import JournalFile
from server.metrics import SURPRISES
from server.money.flush import Account, Flush
from server.news import News
from storage import calls, ledger, pricing, turns, users
from storage.audit import audit
from storage.db import Database
from storage.records import Fenced, Grant, NewCall

LINE = "stt:scripted:second"
CALL = "c" * 32


@pytest.fixture
async def database(migrated_sqlite: str) -> AsyncIterator[Database]:
    opened = Database.open(migrated_sqlite)
    yield opened
    await opened.aclose()


async def prepared(database: Database) -> None:
    """A user with a dollar, a tenth of it held for one call that is billed by the second."""
    now = Clock().utc()
    async with database.write() as tx:
        book = [row.price.price_id for row in await pricing.current(tx, now) if row.price.line == LINE]
        user = await users.add(
            tx, email="a@example.com", password_hash="x", name="A", phone=None, timezone="UTC", now=now
        )
        await ledger.grant(
            tx, user_id=user.id, amount=Nanos(10**9), kind="grant", idem_key="g", note="", now=now
        )
        await calls.create(
            tx,
            NewCall(
                id=CALL,
                user_id=user.id,
                persona_id="sarah",
                channel="phone",
                created_at=now,
                price_ids=tuple(book),
                owner="n",
            ),
        )
        await ledger.hold(
            tx,
            user_id=user.id,
            call_id=CALL,
            epoch=1,
            at_least=Nanos(1),
            wanted=Nanos(10**8),
            budget_limit=None,
        )


def charges(first: int, count: int) -> list[Charge]:
    """Seconds of listening at 6,500,000 nanos a minute: rounded up once, over all of them."""

    def cost(seconds: int) -> int:
        return -(-seconds * 6_500_000 // 60)

    return [
        Charge(seq, LINE, seq - 1, seq, Nanos(cost(seq) - cost(seq - 1)), seq - 1)
        for seq in range(first, first + count)
    ]


async def written(database: Database) -> tuple[int, int]:
    async with database.read() as tx:
        row = await calls.get(tx, CALL)
        lines = await ledger.cost_lines(tx, CALL)
    assert row is not None
    return row.last_seq, sum(line.quantity for line in lines)


class Watcher:
    """A guardian that writes down what it is told."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def fence(self) -> None:
        self._told.append("fenced")

    def granted(self, grant: Grant) -> None:
        self._told.append(f"{grant.held} held of {grant.reach}")

    def disk_lost(self, error: OSError) -> None:
        self._told.append("disk lost")


def opened(flush: Flush, folder: Path, told: list[str]) -> Account:
    account = Account(CALL, 1, JournalFile(folder / "c.journal"))
    flush.open(account, Watcher(told))
    return account


async def test_charges_and_turns_of_a_second_go_in_one_transaction(
    database: Database, tmp_path: Path
) -> None:
    await prepared(database)
    news, fenced = News(), list[str]()
    flush = Flush(database, Clock(), news, "n")
    account = opened(flush, tmp_path, fenced)
    for charge in charges(1, 3):
        flush.charge(account, charge)
    account.notes.append(TurnTaken(0, "agent", "Hello.", Millis(0), Millis(900)))
    await flush.once()
    assert await written(database) == (3, 3)
    async with database.read() as tx:
        assert [turn.text for turn in await turns.of_call(tx, CALL)] == ["Hello."]
    assert (account.charges, account.notes, fenced) == ([], [], [])
    (cost,) = news.listen(CALL).ready(9)
    assert cost.data["services"] == {"stt": cost.data["total_usd"]}
    account.journal.close()


async def test_a_locked_database_loses_no_charge(database: Database, tmp_path: Path) -> None:
    await prepared(database)
    flush = Flush(database, Clock(), News(), "n")
    account = opened(flush, tmp_path, [])
    for charge in charges(1, 2):
        flush.charge(account, charge)
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await flush.once()
    assert [charge.seq for charge in account.charges] == [1, 2]
    for charge in charges(3, 1):
        flush.charge(account, charge)
    other.execute("ROLLBACK")
    other.close()
    await flush.once()
    assert await written(database) == (3, 3)
    account.journal.close()


async def test_a_call_taken_over_by_another_owner_is_told_so(database: Database, tmp_path: Path) -> None:
    await prepared(database)
    flush, fenced = Flush(database, Clock(), News(), "n"), list[str]()
    account = opened(flush, tmp_path, fenced)
    account.epoch = 0
    flush.charge(account, charges(1, 1)[0])
    await flush.once()
    assert fenced == ["fenced"]
    assert await written(database) == (0, 0)
    account.journal.close()


async def test_settling_waits_for_the_flush_and_closes_the_ledger(database: Database, tmp_path: Path) -> None:
    await prepared(database)
    flush = Flush(database, Clock(), News(), "n")
    account = opened(flush, tmp_path, [])
    for charge in charges(1, 5):
        flush.charge(account, charge)
    async with asyncio.TaskGroup() as tasks:
        settling = tasks.create_task(
            flush.settle(account, Ended(EndReason.IDLE, "completed", 5, account.total))
        )
        running = tasks.create_task(flush.run())
        final = await settling
        running.cancel()
    assert (final.total, final.from_user, final.operator) == (541_667, 541_667, 0)
    async with database.read() as tx:
        row = await calls.get(tx, CALL)
        assert row is not None
        balance = await ledger.balance(tx, row.user_id)
        assert (await audit(tx)).breaches == []
    assert (balance.balance, balance.held) == (10**9 - 541_667, 0)
    assert (row.status, row.end_reason, row.carrier_seconds) == ("completed", "idle", 5)
    account.journal.close()


async def test_money_is_on_disk_before_the_database_hears_of_it(database: Database, tmp_path: Path) -> None:
    await prepared(database)
    flush = Flush(database, Clock(), News(), "n")
    account = opened(flush, tmp_path, [])
    account.journal.append(Answered(Millis(5)), charges(1, 1))
    owed = [account.journal.owes_sync]
    flush.charge(account, charges(1, 1)[0])
    await flush.once()
    owed.append(account.journal.owes_sync)
    assert owed == [True, False]
    account.journal.close()


async def test_a_turn_the_database_will_not_store_does_not_stop_the_other_calls(
    database: Database, tmp_path: Path
) -> None:
    await prepared(database)
    flush = Flush(database, Clock(), News(), "n")
    good = opened(flush, tmp_path, [])
    poisoned = Account("d" * 32, 1, JournalFile(tmp_path / "d.journal"))
    poisoned.notes.append(TurnTaken(0, "agent", "half an emoji \ud83d", Millis(0), Millis(900)))
    flush.open(poisoned, Watcher([]))
    for charge in charges(1, 2):
        flush.charge(good, charge)
    await flush.once()
    assert await written(database) == (2, 2)
    assert poisoned.notes
    good.journal.close()
    poisoned.journal.close()


class Deaf(Watcher):
    """A guardian that cannot be told; while it is tried for the first time, `meanwhile` happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__([])
        self._meanwhile = [meanwhile]

    def fence(self) -> None:
        while self._meanwhile:
            self._meanwhile.pop()()
        raise ValueError("a fault of ours")


async def test_a_call_that_cannot_be_told_costs_no_other_its_newer_charges(
    database: Database, tmp_path: Path
) -> None:
    """What is written is written: it must not be taken off what waits a second time."""
    await prepared(database)
    flush = Flush(database, Clock(), News(), "n")
    good = opened(flush, tmp_path, [])
    first, second, third = charges(1, 3)
    lost = Account("d" * 32, 1, JournalFile(tmp_path / "d.journal"))
    flush.open(lost, Deaf(lambda: flush.charge(good, third)))
    for account, charge in ((good, first), (good, second), (lost, first)):
        flush.charge(account, charge)
    before = SURPRISES.labels("flush")._value.get()
    await flush.once()
    assert SURPRISES.labels("flush")._value.get() == before + 1
    assert good.charges == [third]
    await flush.once()
    assert await written(database) == (3, 3)
    good.journal.close()
    lost.journal.close()


async def test_settling_a_call_that_was_taken_over_says_so(database: Database, tmp_path: Path) -> None:
    await prepared(database)
    flush = Flush(database, Clock(), News(), "n")
    account = opened(flush, tmp_path, [])
    flush.forget(account)
    with pytest.raises(Fenced):
        await flush.settle(account, Ended(EndReason.IDLE, "completed", 5, account.total))
    account.journal.close()


class Undiskable(JournalFile):
    """A journal on a disk that takes writes and loses them."""

    def sync(self) -> None:
        raise OSError(28, "No space left on device")


async def test_a_journal_that_cannot_be_synced_ends_its_call_and_no_other_and_loses_no_charge(
    database: Database, tmp_path: Path
) -> None:
    await prepared(database)
    flush, told = Flush(database, Clock(), News(), "n"), list[str]()
    account = Account(CALL, 1, Undiskable(tmp_path / "c.journal"))
    flush.open(account, Watcher(told))
    account.journal.owes_sync = True
    flush.charge(account, charges(1, 1)[0])
    await flush.once()
    assert told == ["disk lost"]
    assert await written(database) == (1, 1)
    with pytest.raises(OSError, match="No space"):
        account.journal.close()
