"""What it costs to write down a second of many calls: journals to the disk, then one transaction for all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, percentile
from pipeline.clock import Clock, real_seconds
from pipeline.core.effects import Charge
from pipeline.core.events import Tick
from pipeline.core.money import Millis, Nanos
from pipeline.journal_file import SUFFIX, JournalFile
from server.money.flush import Account, Flush
from server.news import News
from storage import calls, ids, ledger, pricing, users
from storage.db import Database, Tx
from storage.migrate import migrate
from storage.records import Grant, NewCall
from tests import postgres

CALLS, CHARGES = 100, 3
LINES = ("stt:scripted:second", "tts:scripted:char", "llm:scripted:token_out")


class _Guardian:
    """Of calls that nobody takes away and whose disk does not fail."""

    def fence(self) -> None:
        raise RuntimeError("the flush lost a call")

    def granted(self, grant: Grant) -> None:
        """Nothing is asked for here."""

    def disk_lost(self, error: OSError) -> None:
        raise error


async def _call(tx: Tx, clock: Clock, number: int, journals: Path) -> Account:
    now = clock.utc()
    user = await users.add(
        tx, email=f"flush{number}@example.com", password_hash="-", name="Kim Doe", phone=None, timezone="UTC",
        now=now,
    )  # fmt: skip
    await ledger.grant(
        tx, user_id=user.id, amount=Nanos(10**10), kind="grant", idem_key=f"bench:{user.id}", now=now
    )
    prices = tuple(row.price.price_id for row in await pricing.current(tx, now, "list"))
    new = NewCall(
        id=ids.new_id(), user_id=user.id, persona_id="sarah", channel="phone", created_at=now, price_ids=prices,
        owner="bench", phone_e164="+12025550100",
    )  # fmt: skip
    row = await calls.create(tx, new)
    await ledger.hold(
        tx, user_id=user.id, call_id=row.id, epoch=row.epoch, at_least=Nanos(1), wanted=Nanos(10**9),
        budget_limit=None,
    )  # fmt: skip
    return Account(row.id, row.epoch, JournalFile(journals / f"{row.id}{SUFFIX}"))


def _second(flush: Flush, account: Account, second: int) -> None:
    """What a call buys in a second, into its journal and into what the flush will write."""
    charges = [
        Charge(CHARGES * second + number + 1, line, 7 * second, 7 * (second + 1), Nanos(1_000), second)
        for number, line in enumerate(LINES)
    ]
    account.journal.append(Tick(Millis(1_000 * second)), charges)
    for charge in charges:
        flush.charge(account, charge)


async def _flushes(url: str, journals: Path, repeats: int) -> list[float]:
    """Milliseconds of each flush."""
    await migrate(url)
    clock, database = Clock(), Database.open(url)
    flush = Flush(database, clock, News(), "bench")
    took: list[float] = []
    accounts: list[Account] = []
    try:
        async with database.write() as tx:
            accounts += [await _call(tx, clock, number, journals) for number in range(CALLS)]
        for account in accounts:
            flush.open(account, _Guardian())
        for second in range(repeats):
            for account in accounts:
                _second(flush, account, second)
            begun = real_seconds()
            await flush.once()
            took.append(1000 * (real_seconds() - begun))
        if any(account.charges for account in accounts):
            raise RuntimeError("the flush did not write everything")
    finally:
        for account in accounts:
            account.journal.close()
        await database.aclose()
    return took[1:]  # the first one also connects


@contextmanager
def fresh_postgres() -> Iterator[str | None]:
    """A new database, or None where this machine has no PostgreSQL."""
    try:
        with postgres.start() as server, server.fresh_database() as url:
            yield url
    except postgres.NoPostgres:
        yield None


async def measure(repeats: int, *, with_postgres: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="callmeback-bench-") as place:
        sqlite = await _flushes(f"sqlite+aiosqlite:///{place}/bench.db", Path(place, "sqlite"), repeats)
        figures = _figures("SQLite", sqlite, "synchronous = FULL", 150.0)
        if with_postgres:
            with fresh_postgres() as url:
                if url is not None:
                    took = await _flushes(url, Path(place, "postgres"), repeats)
                    figures += _figures("PostgreSQL", took, "with fsync off: the tests' server", None)
    return figures


def _figures(name: str, took: list[float], note: str, bar: float | None) -> list[Figure]:
    p50 = percentile(took, 50)
    what = f"{CALLS} calls × {CHARGES} charges"
    return [
        Figure("flush", f"{name}: p50", p50, "ms", note=f"{what}; {note}"),
        Figure("flush", f"{name}: p99", percentile(took, 99), "ms", bar, note=f"of {len(took)}"),
        Figure("flush", f"{name}: one after another", 1000 / p50, "transactions a second"),
    ]
