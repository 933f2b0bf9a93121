"""The jobs table: added once, claimed by one, taken again when a lease is over, and a late worker's word is void."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from storage import jobs
from storage.db import Database
from storage.jobs import Job
from tests.storage.world import NOON, later, rows


async def added(database: Database, job_id: str = "reconcile:1", due: float = 0) -> bool:
    async with database.write() as tx:
        return await jobs.add(tx, job_id, "reconcile", '{"call":"1"}', later(due))


async def claimed(database: Database, node: str = "a", at: float = 0, limit: int = 10) -> list[Job]:
    async with database.write() as tx:
        return await jobs.claim(tx, node=node, kinds=["reconcile"], now=later(at), lease_s=60, limit=limit)


async def lease_is_over(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(text("UPDATE jobs SET lease_until = created_at"))


async def test_added_again_it_is_the_same_job_also_once_it_is_done(database: Database) -> None:
    assert [await added(database), await added(database)] == [True, False]
    (job,) = await claimed(database)
    assert (job.id, job.kind, job.payload, job.attempts) == ("reconcile:1", "reconcile", '{"call":"1"}', 1)
    async with database.write() as tx:
        assert await jobs.done(tx, job, "a", NOON)
    assert await added(database) is False
    assert await claimed(database) == []
    assert await rows(database, "SELECT status FROM jobs") == [("done",)]


async def test_it_is_added_with_its_cause_or_not_at_all(database: Database) -> None:
    class Undone(Exception): ...

    try:
        async with database.write() as tx:
            await jobs.add(tx, "reconcile:1", "reconcile", "{}", NOON)
            raise Undone
    except Undone:
        pass
    assert await claimed(database) == []


async def test_due_ones_of_known_kinds_oldest_first(database: Database) -> None:
    for number, due in enumerate([30, 10, 20, 90]):
        await added(database, f"reconcile:{number}", due)
    async with database.write() as tx:
        await jobs.add(tx, "other", "other", "{}", NOON)
    assert [job.id for job in await claimed(database, at=60, limit=2)] == ["reconcile:1", "reconcile:2"]
    assert [job.id for job in await claimed(database, at=60)] == ["reconcile:0"]


async def test_two_nodes_never_have_the_same_job(postgres_pair: tuple[Database, Database]) -> None:
    one, other = postgres_pair
    for number in range(40):
        await added(one, f"reconcile:{number}")
    taken = await asyncio.gather(
        *(claimed(node, name, limit=5) for node, name in [(one, "a"), (other, "b")] * 4)
    )
    ids = [job.id for batch in taken for job in batch]
    assert sorted(ids) == sorted(f"reconcile:{number}" for number in range(40))


async def test_a_dead_workers_job_is_taken_again_and_its_word_is_void(database: Database) -> None:
    await added(database)
    (lost,) = await claimed(database, "a")
    assert await claimed(database, "a") == [], "the lease holds"
    await lease_is_over(database)
    (taken,) = await claimed(database, "b")
    assert taken.attempts == 2
    async with database.write() as tx:
        assert not await jobs.done(tx, lost, "a", NOON)
        assert not await jobs.failed(tx, lost, "a", "late", None)
        assert await jobs.again(tx, taken, "b", later(60))
    assert await claimed(database, at=59) == []
    (again,) = await claimed(database, at=60)
    assert again.attempts == 1, "counted anew"


async def test_failures_wait_and_the_last_one_stays_for_somebody_to_see(database: Database) -> None:
    await added(database)
    (job,) = await claimed(database)
    async with database.write() as tx:
        assert await jobs.failed(tx, job, "a", "TimeoutError", later(30))
        assert await jobs.counts(tx) == {("reconcile", "failing"): 1}
    assert await claimed(database, at=29) == []
    (job,) = await claimed(database, at=30)
    async with database.read() as tx:
        assert await jobs.counts(tx) == {("reconcile", "failing"): 1}, "until it is done"
    await added(database, "reconcile:2", due=10_000)
    async with database.read() as tx:
        assert await jobs.counts(tx) == {("reconcile", "failing"): 1, ("reconcile", "pending"): 1}
    async with database.write() as tx:
        assert await jobs.failed(tx, job, "a", "ValueError", None)
        assert await jobs.counts(tx) == {("reconcile", "dead"): 1, ("reconcile", "pending"): 1}
        assert await jobs.delete_before(tx, later(9_999)) == 0, "a dead one is kept"
    assert await claimed(database, at=9_999) == []
    dead = "SELECT status, error, attempts FROM jobs WHERE id = 'reconcile:1'"
    assert await rows(database, dead) == [("dead", "ValueError", 2)]


async def test_work_that_comes_round_again_is_taken_up_where_it_was_given_up(database: Database) -> None:
    async def keep() -> None:
        async with database.write() as tx:
            await jobs.keep(tx, "reconcile:1", "reconcile", "{}", NOON)

    await keep()
    (job,) = await claimed(database)
    await keep()
    assert await claimed(database) == [], "somebody is at it"
    async with database.write() as tx:
        assert await jobs.failed(tx, job, "a", "ValueError", None)
    assert await claimed(database) == []
    await keep()
    (again,) = await claimed(database)
    assert (again.id, again.attempts) == (job.id, 1)
