"""The books under load: one account that everybody draws on, and the audit of ten thousand calls."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from benchmarks import hot_account
from benchmarks.figures import Figure
from benchmarks.flushing import fresh_postgres
from pipeline.clock import Clock, real_seconds
from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import PriceBook, cost
from storage import calls, ids, ledger, pricing, tables, users
from storage.audit import audit
from storage.db import Database, Tx
from storage.ledger import CallCharges
from storage.migrate import migrate
from storage.records import NewCall

CHUNK = 200
"""Calls copied at a time."""
CLONED = {
    "users", "user_credits", "calls", "credit_holds", "hold_periods", "budget_periods", "credit_transactions",
    "call_cost_breakdowns", "call_cost_events",
}  # fmt: skip
"""What an audit reads."""
TILES = 60
"""Charges of each call that is audited, on one line, besides its minute."""


async def _somebody(tx: Tx, clock: Clock) -> str:
    now = clock.utc()
    user = await users.add(
        tx, email="books@example.com", password_hash="-", name="Kim Doe", phone=None, timezone="UTC", now=now
    )
    await ledger.grant(
        tx, user_id=user.id, amount=Nanos(10**12), kind="grant", idem_key=f"start:{user.id}", now=now
    )
    return user.id


async def _call(tx: Tx, clock: Clock, user_id: str) -> str:
    now = clock.utc()
    prices = tuple(row.price.price_id for row in await pricing.current(tx, now, "list"))
    new = NewCall(
        id=ids.new_id(), user_id=user_id, persona_id="sarah", channel="phone", created_at=now, price_ids=prices,
        owner="bench", phone_e164="+12025550100",
    )  # fmt: skip
    return (await calls.create(tx, new)).id


async def _one_settled(tx: Tx, clock: Clock) -> None:
    """A call of a minute, paid and closed: what the others are copies of."""
    user_id = await _somebody(tx, clock)
    call_id = await _call(tx, clock, user_id)
    await ledger.hold(
        tx,
        user_id=user_id,
        call_id=call_id,
        epoch=1,
        at_least=Nanos(1),
        wanted=Nanos(10**9),
        budget_limit=None,
    )
    book = PriceBook(tuple(row.price for row in await pricing.current(tx, clock.utc(), "list")))
    telephone = [price for price in book if price.service in ("carrier", "stream")]
    charges = [
        Charge(number, price.line, 0, 60, cost(price, 60), 0)
        for number, price in enumerate(telephone, start=1)
    ]
    chars = book.line("tts:scripted:char")
    for number in range(TILES):
        more = Nanos(cost(chars, 7 * (number + 1)) - cost(chars, 7 * number))
        charges.append(Charge(len(charges) + 1, chars.line, 7 * number, 7 * (number + 1), more, number))
    await ledger.flush(tx, [CallCharges(call_id, 1, tuple(charges), TILES)])
    now = clock.utc()
    await calls.advance(tx, call_id, "completed", at=now, answered_at=now, carrier_seconds=60)
    await ledger.finalise(tx, call_id=call_id, epoch=1, now=now)


def _copy(row: Mapping[str, Any], ids_of: Mapping[str, str], number: int) -> dict[str, Any]:
    """The row as it would be of the n-th caller: every id in it is another."""
    made = {key: value for key, value in row.items() if not (key == "id" and isinstance(value, int))}
    for key, value in made.items():
        if isinstance(value, str):
            for known, other in ids_of.items():
                made[key] = made[key].replace(known, f"{other}{number}")
    return made


async def _multiply(tx: Tx, copies: int) -> None:
    """The one user with the one call there is, so many times."""
    (user,) = (await tx.execute(select(tables.users))).mappings().all()
    (call,) = (await tx.execute(select(tables.calls))).mappings().all()
    other = {user["id"]: "user", call["id"]: "call", user["email"]: "mail"}
    for table in tables.metadata.sorted_tables:
        rows = (await tx.execute(select(table))).mappings().all() if table.name in CLONED else ()
        for start in range(1, copies, CHUNK) if rows else ():
            numbers = range(start, min(start + CHUNK, copies))
            await tx.execute(
                insert(table), [_copy(dict(row), other, number) for number in numbers for row in rows]
            )


async def audited(url: str, copies: int) -> float:
    """Seconds the audit of so many calls takes."""
    await migrate(url)
    clock, database = Clock(), Database.open(url)
    try:
        async with database.write() as tx:
            await _one_settled(tx, clock)
            await _multiply(tx, copies)
        began = real_seconds()
        async with database.read() as tx:
            report = await audit(tx)
        took = real_seconds() - began
    finally:
        await database.aclose()
    if report.breaches or report.calls != copies:
        raise RuntimeError(f"{report.calls} calls, {report.breaches[:1]}")
    return took


async def measure(*, copies: int, seconds: float, with_postgres: bool) -> list[Figure]:
    what = f"{copies:,} calls × {TILES + 2} charges"
    with tempfile.TemporaryDirectory(prefix="callmeback-bench-") as place:
        took = await audited(f"sqlite+aiosqlite:///{Path(place, 'audit.db')}", copies)
    figures = [Figure("books", "audit, SQLite", took, "s", note=what)]
    if with_postgres:
        with fresh_postgres() as url:
            if url is not None:
                figures.append(
                    Figure("books", "audit, PostgreSQL", await audited(url, copies), "s", note=what)
                )
        with fresh_postgres() as url:
            if url is not None:
                figures += await hot_account.measure(url, seconds)
    return figures
