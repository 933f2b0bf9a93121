"""What is left for the conductor of a call: taken once, in order, by whoever conducts it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import text

from storage import mailbox
from storage.db import Database
from tests.storage import world
from tests.storage.world import NASTY, NOON


async def two_calls(database: Database) -> tuple[str, str]:
    async with database.write() as tx:
        user = await world.person(tx)
        one, other = await world.call(tx, user), await world.call(tx, user)
    return one.id, other.id


async def test_messages_of_a_call_are_taken_in_order_and_only_once(database: Database) -> None:
    one, other = await two_calls(database)
    async with database.write() as tx:
        for kind in ("answered", "status", "hang_up"):
            await mailbox.put(tx, one, kind, NASTY, NOON)
        await mailbox.put(tx, other, "status", "{}", NOON)
    async with database.read() as tx:
        assert await mailbox.waits(tx, [one])
        assert not await mailbox.waits(tx, [])
        assert not await mailbox.waits(tx, ["unknown"])
    async with database.write() as tx:
        taken = await mailbox.take(tx, [one])
        assert [(message.call_id, message.kind, message.payload) for message in taken] == [
            (one, kind, NASTY) for kind in ("answered", "status", "hang_up")
        ]
        assert await mailbox.take(tx, [one]) == []
        assert [message.call_id for message in await mailbox.take(tx, [one, other])] == [other]


async def test_what_is_said_once_waits_once_and_may_be_said_again_when_it_was_taken(
    database: Database,
) -> None:
    one, other = await two_calls(database)
    async with database.write() as tx:
        await mailbox.put(tx, one, "status", "{}", NOON)
        for call_id in (one, one, other):
            await mailbox.put_once(tx, call_id, "hang_up", "{}", NOON)
        kinds = [(message.call_id, message.kind) for message in await mailbox.take(tx, [one, other])]
        assert kinds == [(one, "status"), (one, "hang_up"), (other, "hang_up")]
        await mailbox.put_once(tx, one, "hang_up", "{}", NOON)
        assert len(await mailbox.take(tx, [one])) == 1


async def test_two_that_say_it_at_once_leave_one(postgres_pair: tuple[Database, Database]) -> None:
    ours, theirs = postgres_pair
    one, _ = await two_calls(ours)
    query = text("SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")

    async def again() -> None:
        async with theirs.write() as tx:
            await mailbox.put_once(tx, one, "hang_up", "{}", NOON)

    async with asyncio.TaskGroup() as tasks, ours.write() as tx:
        await mailbox.put_once(tx, one, "hang_up", "{}", NOON)
        second = tasks.create_task(again())
        async with asyncio.timeout(60):
            while not second.done() and not (await tx.execute(query)).scalar_one():
                pass
        assert not second.done(), "it waits to see what the first one does"
    async with ours.write() as tx:
        assert len(await mailbox.take(tx, [one])) == 1


async def test_two_that_take_at_once_share_nothing(postgres_pair: tuple[Database, Database]) -> None:
    ours, theirs = postgres_pair
    one, _ = await two_calls(ours)
    async with ours.write() as tx:
        for _ in range(5):
            await mailbox.put(tx, one, "status", "{}", NOON)

    async def take(database: Database) -> list[int]:
        async with database.write() as tx:
            return [message.id for message in await mailbox.take(tx, [one])]

    taken = await asyncio.gather(take(ours), take(theirs))
    assert sorted(taken[0] + taken[1]) == sorted({*taken[0], *taken[1]})
    assert len(taken[0]) + len(taken[1]) == 5


async def test_what_nobody_took_is_dropped_in_the_end(database: Database) -> None:
    one, _ = await two_calls(database)
    async with database.write() as tx:
        await mailbox.put(tx, one, "status", "old", NOON - timedelta(minutes=11))
        await mailbox.put(tx, one, "status", "new", NOON)
        assert await mailbox.purge(tx, NOON - timedelta(minutes=10)) == 1
        assert [message.payload for message in await mailbox.take(tx, [one])] == ["new"]
