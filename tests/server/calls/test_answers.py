"""Two webhooks of one answer at the same moment."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from server.calls.answers import Answer, take_answer
from storage import calls
from storage.db import Database
from tests.storage.world import NOON, call, person, rows

SID = "CA1"


async def test_two_answers_at_once_wait_for_each_other_in_one_order(
    postgres_pair: tuple[Database, Database],
) -> None:
    """The carrier repeats itself while its name of the call is not noted yet; somebody else has the row just then."""
    one, other = postgres_pair
    async with one.write() as tx:
        row = await call(tx, await person(tx))

    async def answered(database: Database) -> Answer | None:
        async with database.write() as tx:
            return await take_answer(tx, row.id, SID, NOON)

    async def both_wait() -> None:
        here = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        while await rows(one, f"{here} AND wait_event_type = 'Lock'") != [(2,)]:
            pass

    async with asyncio.TaskGroup() as tasks, other.write() as tx:
        await tx.execute(text("UPDATE calls SET context = 'changed'"))  # which lets tokens refer to it
        asked = [tasks.create_task(answered(database)) for database in (one, other)]
        await both_wait()
    answers = [task.result() for task in asked]
    assert sorted(answer is not None and answer.moved for answer in answers) == [False, True]
    assert len(await rows(one, "SELECT * FROM stream_tokens")) == 2
    async with one.read() as tx:
        found = await calls.get(tx, row.id)
    assert found is not None
    assert (found.sid, found.status) == (SID, "in-progress")
