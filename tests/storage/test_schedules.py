"""Claims on scheduled calls: one of many nodes has one, its word counts while it holds, and what is over goes away."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from storage import schedules
from storage.db import Database
from storage.records import User
from storage.schedule_records import Claim, ClaimLost, Schedule
from tests.storage.world import NOON, later, person, rows


async def added(database: Database, due: datetime = NOON, user: User | None = None) -> Schedule:
    async with database.write() as tx:
        owner = user or await person(tx)
        return await schedules.add(tx, owner.id, {"persona_id": "brad", "due_at": due}, NOON)


async def claimed(database: Database, node: str = "a", at: datetime = NOON) -> Claim | None:
    async with database.write() as tx:
        due = await schedules.next_due(tx, at)
        return None if due is None else await schedules.claim(tx, due, node, at)


async def test_only_what_is_due_and_the_longest_first(database: Database) -> None:
    second, first = await added(database, later(5)), await added(database, later(2))
    await added(database, later(60))
    claims = [await claimed(database, at=later(10)) for _ in range(3)]
    assert [claim and claim.schedule_id for claim in claims] == [first.id, second.id, None]
    async with database.read() as tx:
        assert await schedules.next_due_at(tx) == later(60)
        assert await schedules.last_claim_at(tx) == later(10)


async def test_two_nodes_never_claim_the_same(postgres_pair: tuple[Database, Database]) -> None:
    made = [await added(postgres_pair[0]) for _ in range(30)]
    taken: list[str] = []

    async def node(database: Database, name: str) -> None:
        while len(taken) < len(made):
            if (claim := await claimed(database, name)) is not None:
                taken.append(claim.schedule_id)

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(node(postgres_pair[number % 2], f"n{number}"))
    assert sorted(taken) == sorted(schedule.id for schedule in made)


async def test_the_dial_is_on_record_before_it_is_made_and_made_once(database: Database) -> None:
    one = await added(database)
    claim = await claimed(database)
    assert claim == Claim(f"{one.id}.20261123T170000.0", one.id, 1)
    assert await rows(database, "SELECT status, call_id FROM scheduled_dials") == [("claimed", None)]
    async with database.write() as tx:
        await schedules.dialed(tx, claim, "call")
    for late in (claim, Claim(claim.dial_id, one.id, 2), Claim("other", one.id, 1)):
        with pytest.raises(ClaimLost):
            async with database.write() as tx:
                await schedules.dialed(tx, late, "another")
    async with database.write() as tx:
        assert not await schedules.give_up(tx, claim, "missed", NOON)
        assert not await schedules.put_back(tx, claim, one, NOON, NOON)
    assert await rows(database, "SELECT status, call_id FROM scheduled_dials") == [("dialed", "call")]


async def test_a_claim_is_found_when_its_lease_is_over_or_its_process_gone(database: Database) -> None:
    await added(database)
    assert await claimed(database, "a") is not None

    async def found_by(node: str) -> int:
        async with database.read() as tx:
            return len(await schedules.claimed(tx, node, lock=False))

    assert await found_by("a") == 0
    assert await found_by("b") == (1 if database.dialect == "sqlite" else 0)
    async with database.write() as tx:
        await tx.execute(text("UPDATE scheduled_calls SET lease_until = created_at"))
    assert await found_by("a") == 1


async def test_the_lease_is_by_the_databases_clock(database: Database) -> None:
    await added(database)
    await claimed(database, at=NOON + timedelta(days=9_000))
    query = (
        "SELECT (julianday(lease_until) - julianday('now')) * 86400 FROM scheduled_calls"
        if database.dialect == "sqlite"
        else "SELECT EXTRACT(EPOCH FROM lease_until - now()) FROM scheduled_calls"
    )
    ((left,),) = await rows(database, query)
    assert 0 < float(str(left)) <= schedules.LEASE_S + 1


async def test_what_was_read_before_somebody_changed_it_moves_nothing(database: Database) -> None:
    one = await added(database)
    async with database.write() as tx:
        changed = await schedules.put(tx, one.id, {"status": "paused"})
        assert not await schedules.advance(tx, one.id, one.claim_epoch, "pending", {})
        assert await schedules.advance(tx, one.id, changed.claim_epoch, "missed", {})
        assert await schedules.count_active(tx, one.user_id) == 0


async def test_the_account_takes_its_schedules_with_it(database: Database) -> None:
    one = await added(database)
    await claimed(database)
    async with database.write() as tx:
        await tx.execute(text("DELETE FROM users WHERE id = :id"), {"id": one.user_id})
    assert await rows(database, "SELECT count(*) FROM scheduled_calls") == [(0,)]
    assert await rows(database, "SELECT count(*) FROM scheduled_dials") == [(0,)]
