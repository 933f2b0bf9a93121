"""People, calls and charges for the storage tests, and the migrated databases they are in."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sqlalchemy import make_url, text

from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import PriceBook, cost
from storage import calls, ledger, pricing, users
from storage.audit import AuditReport, audit
from storage.db import Database, DatabaseDown, Tx
from storage.ids import new_id
from storage.ledger import CallCharges
from storage.migrate import migrate
from storage.records import CallRow, NewCall, User

T = TypeVar("T")

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
DOLLAR = 1_000_000_000
NASTY = 'O\'Hara "q" ? ?? $1 $& :name %s % _ \\ ; -- /* */ \n\t é 漢字 😀'
LINES = {
    "carrier": "carrier:twilio:second",
    "stt": "stt:whisper-tiny.en:second",
    "tts": "tts:hibari:char",
    "out": "llm:companion:token_out",
}

NUMBER_KEY = bytes(range(32))

_numbers = itertools.count(1)


def migrated(url: str) -> None:
    """Makes a database of the latest version, also where an event loop runs already. A SQLite file is a copy."""
    file = make_url(url).database if url.startswith("sqlite") else None
    if file is None:
        _migrate(url)
    else:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(_latest())


def ready(url: str) -> None:
    """Saves a server the migrations at its start: a SQLite file that does not exist yet is there then."""
    file = make_url(url).database
    if url.startswith("sqlite") and file and not Path(file).exists():
        migrated(url)


async def patiently(database: Database, step: Callable[[Tx], Awaitable[T]]) -> T:
    """As the server does, and who sends it webhooks: what waited too long for a lock did nothing and is repeated."""
    while True:
        try:
            async with database.write() as tx:
                return await step(tx)
        except DatabaseDown as error:
            if not error.retryable:
                raise


def _migrate(url: str) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate(url)).result()


@cache
def _latest() -> bytes:
    """A SQLite file of the latest version: made once in this process, for each migration takes its time."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "latest.db")
        _migrate(f"sqlite:///{path}")
        return path.read_bytes()


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def book(tx: Tx) -> PriceBook:
    wanted = {"twilio", "whisper-tiny.en", "hibari", "companion"}
    return PriceBook(tuple(row.price for row in await pricing.current(tx, NOON) if row.price.model in wanted))


async def person(tx: Tx, credit: int = 0) -> User:
    number = next(_numbers)
    user = await users.add(
        tx,
        email=f"person{number}@example.com",
        password_hash="hash",
        name="Kim",
        phone=None,
        timezone="America/New_York",
        now=NOON,
    )
    if credit:
        key = f"start:{user.id}"
        await ledger.grant(
            tx, user_id=user.id, amount=Nanos(credit), kind="purchase", idem_key=key, note="", now=NOON
        )
    return user


async def call(
    tx: Tx,
    user: User,
    *,
    at: datetime = NOON,
    owner: str = "node",
    key: str | None = None,
    prices: PriceBook | None = None,
) -> CallRow:
    prices = prices or await book(tx)
    return await calls.create(
        tx,
        NewCall(
            id=new_id(),
            user_id=user.id,
            persona_id="sarah",
            channel="phone",
            created_at=at,
            price_ids=tuple(price.price_id for price in prices),
            owner=owner,
            phone_e164="+12025550123",
            idem_key=key,
            idem_hash=key and f"hash of {key}",
        ),
    )


async def held_call(tx: Tx, user: User, amount: int) -> CallRow:
    placed = await call(tx, user)
    granted = await ledger.hold(
        tx,
        user_id=user.id,
        call_id=placed.id,
        epoch=1,
        at_least=Nanos(1),
        wanted=Nanos(amount),
        budget_limit=None,
        now=NOON,
    )
    assert granted == amount
    return placed


def tile(prices: PriceBook, seq: int, line: str, begin: int, end: int, second: int = 0) -> Charge:
    """A charge as the core makes it: the difference of two cumulative costs."""
    price = prices.line(line)
    return Charge(seq, line, begin, end, Nanos(cost(price, end) - cost(price, begin)), second)


def charges(call_id: str, tiles: Iterable[Charge], *, epoch: int = 1, second: int = 0) -> CallCharges:
    return CallCharges(call_id, epoch, tuple(tiles), second)


async def completed(tx: Tx, call_id: str, at: datetime = NOON, seconds: int | None = None) -> None:
    """Over; `seconds` is the carrier's count where it told one."""
    await calls.advance(tx, call_id, "completed", at=at, carrier_seconds=seconds)


async def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    async with database.read() as tx:
        return [tuple(row) for row in await tx.execute(text(query))]


async def audited(database: Database) -> AuditReport:
    async with database.read() as tx:
        return await audit(tx)
