"""A41 by the schema: every table and every column of words is filled for somebody, and then they go.

A new table fails here until it is said how its rows are a person's, or that they are nobody's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, Date, Integer, Table, delete, select, text, update

from pipeline.core.guard import Purpose
from server.inbound import call_back
from storage import ageing, audit_trail, dials, inbound, opt_outs, verification
from storage.columns import Moment, Numbers, Words
from storage.db import Tx, insert
from storage.records import OVER, Dialled
from storage.tables import calls, metadata, purchases, users
from tests.server.rig import NOON, PHONE, Person, Rig

CALL, SID, PAYMENT = "ca11" * 8, "CA" + "5" * 32, "pi_trace"
NOBODYS = {
    "closed_accounts": "sums",
    "inbound_blocks": "an operator's decision, under a keyed hash",
    "number_keys": "the server's",
    "nodes": "the server's",
    "opt_outs": "outlives the account on purpose, under a keyed hash",
    "personas": "the operator's",
    "pricing": "the operator's",
    "erased_calls": "names of calls only, on PostgreSQL, until every node has removed its files",
    "bus_parcels": "between nodes, on PostgreSQL, for minutes",
    "webhook_receipts": "not written",
}
BY_THEIR_FUNCTIONS = {"dials", "inbound_rings", "codes_sent", "phone_verifications", "jobs", "audit_log"}
"""What holds of them is tied to a person by more than a column."""
GIVEN: Mapping[str, Any] = {
    "user_id": "?", "call_id": CALL, "persona_id": "sarah", "e164": PHONE, "phone_e164": PHONE,
    "calls.id": CALL, "calls.twilio_call_sid": SID, "calls.channel": "phone", "calls.status": "completed",
    "calls.status_rank": OVER, "calls.final_at": NOON, "calls.variables": "{}", "calls.direction": "outbound",
    "credit_holds.status": "closed", "call_cost_events.status": "confirmed", "purchases.status": "paid",
    "purchases.payment_intent": PAYMENT, "payment_reversals.payment_intent": PAYMENT,
    "payment_reversals.kind": "refund", "payment_reversals.status": "standing", "payment_reversals.charge": None,
    "scheduled_calls.status": "canceled", "scheduled_calls.timezone": "UTC", "scheduled_calls.variables": "{}",
    "scheduled_dials.status": "missed", "user_budget_settings.warn_percent": 80, "credit_transactions.amount_nano": 0,
    "credit_transactions.balance_after_nano": 0, "call_messages.payload": "{}",
    "operator_losses.reason": "overdrawn",  # a word of the server's, as are those above
}  # fmt: skip
PARENTS = {"schedule_id": "scheduled_calls"}


def canary(table: str, column: str) -> str:
    return f"trace {table} {column}".replace("_", "-")


def filled(table: Table, user_id: str) -> dict[str, Any]:
    """A row of this person's, with words of its own wherever words fit."""
    return {
        column.key: found for column in table.c if (found := _value(table.name, column, user_id)) is not None
    }


def _value(table: str, column: Column[Any], user_id: str) -> Any:
    name = column.name
    for key in (f"{table}.{name}", name):
        if key in GIVEN:
            return user_id if GIVEN[key] == "?" else GIVEN[key]
    if name in PARENTS:
        return canary(PARENTS[name], "id")
    match column.type:
        case Moment():
            return NOON
        case Date():
            return date(2026, 11, 23)
        case Numbers():
            return ()
        case BigInteger() | Integer() | Boolean():
            needed = (
                not column.nullable and column.server_default is None and column.autoincrement is not True
            )
            return 1 if needed else None
        case _:
            return canary(table, name)


async def _fill(tx: Tx, person: Person) -> set[str]:
    """All that is known of a person: their words, names of their rows."""
    words: set[str] = set()
    mine = [
        table
        for table in metadata.sorted_tables
        if table.name not in {*NOBODYS, *BY_THEIR_FUNCTIONS, "users"}
    ]
    for table in mine:
        row = filled(table, person.id)
        keys = {"user_id", "call_id", "id", "payment_intent", "schedule_id"}
        assert keys & set(row), f"{table.name}: say whose its rows are"
        await tx.execute(insert(tx, table).values(row).on_conflict_do_nothing())
        words |= {value for value in row.values() if isinstance(value, str) and value.startswith("trace ")}
    own = {
        column.name: canary("users", column.name)
        for column in users.c
        if isinstance(column.type, Words) and column.name not in {"id", "email", "role", "timezone"}
    }  # fmt: skip
    await tx.execute(
        update(users).where(users.c.id == person.id).values(own | {"inbound_pin_hash": "trace pin"})
    )
    return words | set(own.values()) | {"trace pin"}


async def _by_their_functions(tx: Tx, person: Person, admin: str) -> set[str]:
    await dials.add(tx, person.id, [Dialled(PHONE, Purpose.ORDER, CALL)], NOON)
    await opt_outs.add(tx, PHONE, "web", NOON)
    sent = await verification.start(
        tx, person.id, PHONE, "trace code", NOON + timedelta(minutes=10), NOON, network="192.0.2.0/24"
    )
    rings = [await inbound.begin(tx, "CA" + "6" * 32, PHONE, person.id, NOON)]
    await inbound.move(tx, rings[0].sid, "call_back")
    await call_back.plan(tx, rings[0].sid, person.id, NOON)
    rings.append(
        await inbound.begin(tx, "CA" + "7" * 32, PHONE, None, NOON)
    )  # nobody knew whose number it is
    await audit_trail.note(
        tx, actor=f"user:{admin}", action="credit.granted", subject=person.id, detail="trace note"
    )
    await audit_trail.note(tx, actor=f"user:{person.id}", action="audit.asked", subject="books")
    ids = {name for ring in rings for name in (ring.sid, ring.call_id)}
    return ids | {sent.id, "trace code", "trace note", f"call_back:{rings[0].sid}"}


def guessed(number: str) -> set[str]:
    """Every hash of the number that needs no key, as far as this server made some in any version."""
    words = [
        number,
        number[1:],
        *(f"callmeback {what} {number}" for what in ("dial", "ring", "opt-out", "code")),
    ]
    words += [f"callmeback code {number[:-4]}", "callmeback code from 192.0.2.0/24"]
    return {
        made(each.encode()).hexdigest()
        for each in words
        for made in (hashlib.sha256, hashlib.sha1, hashlib.md5)
    }


def found(folder: Path, traces: set[str]) -> set[str]:
    held = [(file.name.encode(), file.read_bytes()) for file in folder.rglob("*") if file.is_file()]
    return {
        trace
        for trace in traces
        if any(trace.encode() in name or trace.encode() in all_ for name, all_ in held)
    }


async def test_a41_no_table_column_or_file_keeps_a_trace(rig: Rig, tmp_path: Path) -> None:
    ann, admin = await rig.register(phone=PHONE), await rig.register("operator@example.com")
    await ann.verify_phone()
    async with rig.parts.database.write() as tx:
        traces = await _fill(tx, ann) | await _by_their_functions(tx, ann, admin.id)
    for suffix in (".journal", ".wav", ".traffic"):
        (rig.parts.settings.calls_dir / f"{CALL}{suffix}").write_text(f"trace {suffix}")
        traces.add(f"trace {suffix}")
    traces |= {ann.id, ann.email, PHONE[1:], CALL, SID, PAYMENT}
    assert traces - found(tmp_path, traces) == set(), "a scan that finds nothing proves nothing"
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    assert found(tmp_path, traces | guessed(PHONE) | {"192.0.2"}) == set()


async def test_a41_what_is_kept_still_does_its_work(rig: Rig) -> None:
    """Against abuse: the number is not rung, its rings, dials and codes count."""
    ann, admin = await rig.register(phone=PHONE), await rig.register("operator@example.com")
    await ann.verify_phone()
    async with rig.parts.database.write() as tx:
        await _fill(tx, ann)
        await _by_their_functions(tx, ann, admin.id)
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    before = NOON - timedelta(seconds=1)
    async with rig.parts.database.write() as tx:
        assert await opt_outs.has(tx, PHONE)
        assert await inbound.rang(tx, PHONE, before) == 2
        assert (await dials.lately(tx, "nobody", PHONE, NOON + timedelta(seconds=9))).number_hour == 1
        assert await verification.sends_since(tx, since=before, e164=PHONE) == 2
        assert await verification.sends_since(tx, since=before, near=PHONE[:-4] + "9999") == 2
        assert await verification.sends_since(tx, since=before, network="192.0.2.0/24") == 1
        assert await verification.confirmed_of(tx, "US", before, rig.clock.utc() + timedelta(hours=1), 9) == (
            1,
            1,
        )
        left = (
            await tx.execute(text("SELECT actor, action, subject, detail FROM audit_log ORDER BY id"))
        ).all()
        assert left == [
            (f"user:{admin.id}", "credit.granted", "", ""), ("user: deleted", "audit.asked", "books", "")
        ]  # fmt: skip


@pytest.mark.parametrize("name", sorted({table.name for table in metadata.sorted_tables} & {*NOBODYS}))
def test_a_table_of_nobodys_names_nobody(name: str) -> None:
    assert not {"user_id"} & set(metadata.tables[name].c.keys())


async def test_everything_that_ages_goes_without_anybody_asking(rig: Rig) -> None:
    ann, admin = await rig.register(phone=PHONE), await rig.register("operator@example.com")
    async with rig.parts.database.write() as tx:
        await _fill(tx, ann)
        await _by_their_functions(tx, ann, admin.id)
        await tx.execute(delete(purchases))  # whose refunds stay
        kept = [each.moment.table for each in ageing.AGEING]
        assert await ageing.purge(tx, NOON + timedelta(hours=23), 100) == 0
        while await ageing.purge(tx, NOON + timedelta(days=99), 2):
            pass
        assert [(await tx.execute(select(table))).first() for table in kept] == [None] * len(kept)
        assert (await tx.execute(select(calls.c.id))).all(), "calls have a retention of their own"
