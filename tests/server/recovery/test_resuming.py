"""A call of a process that is gone, while this one stops."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from sqlalchemy import update

from pipeline.core.money import Nanos
from server.calls.live import open_desk
from server.nodes.anywhere import Anywhere
from storage import calls, ledger, nodes, users
from storage.db import Database
from storage.tables import calls as calls_table
from tests.server.recovery.test_orphans import HELD, HangingUp
from tests.server.rig import LoopClock, running, settings
from tests.server.test_placing import SCRIPTED, Committing, ready
from tests.storage.world import call as placed_call
from tests.storage.world import migrated

SID = "CA1"


async def test_a_drain_waits_for_a_call_that_is_being_taken_over(tmp_path: Path) -> None:
    """Else it would begin while the server stops, and another process have to take it over again."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)
    database = Committing(url)
    async with (
        aclosing(Database.open(url, checkpoint=False)) as beside,
        aclosing(database),
        running(settings(tmp_path, **SCRIPTED), open_desk, HangingUp(), LoopClock(), database) as rig,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        ann = await ready(rig)
        async with beside.write() as tx:
            await nodes.renew(tx, "gone")  # so that no sweep is faster
            user = await users.by_id(tx, ann.id)
            assert user is not None
            row = await placed_call(tx, user, at=rig.clock.utc(), owner="gone")
            await ledger.hold(
                tx, user_id=ann.id, call_id=row.id, epoch=1, at_least=Nanos(1), wanted=HELD, budget_limit=None
            )
            await calls.advance(tx, row.id, "in-progress", at=rig.clock.utc(), sid=SID)
            await tx.execute(update(calls_table).values(answered_at=rig.clock.utc()))
        assert isinstance(rig.parts.desk, Anywhere)
        desk = rig.parts.desk._desk
        resuming = tasks.create_task(desk.resumed(row.id, SID))
        await database.placed.wait()
        draining = tasks.create_task(desk.drain(0.1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        early = draining.done()
        database.go.set()
        assert await resuming is not None
        await draining
        assert not early
        assert desk.live_calls == 0
