"""What the operator looks at, on both databases."""

from __future__ import annotations

from datetime import timedelta

from storage import calls, ledger, overview
from storage.db import Database
from tests.server.rig import NOON
from tests.storage.world import call, person


async def test_what_is_live_and_what_days_cost(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        for days in (40, 1, 1):
            over = await call(tx, user, at=NOON - timedelta(days=days))
            await calls.advance(tx, over.id, "completed", at=NOON, carrier_seconds=60)
            await ledger.finalise(tx, call_id=over.id, epoch=1, now=NOON)
        made = await call(tx, user, at=NOON)
    async with database.read() as tx:
        assert [row.id for row in await overview.live(tx, 10)] == [made.id]
        assert await overview.live_count(tx) == 1
        assert [(row.day, row.calls) for row in await overview.spend_by_day(tx, NOON - timedelta(days=31))] == [
            ((NOON - timedelta(days=1)).date().isoformat(), 2), (NOON.date().isoformat(), 1),
        ]  # fmt: skip
        assert await overview.spend_by_service(tx, NOON) == []
        assert (await overview.sold(tx), await overview.dead_jobs(tx, 5), await overview.noted(tx, 5)) == (
            [], [], [],
        )  # fmt: skip
        assert [each.id for each in await overview.people(tx, user.email[:3].upper(), 5)] == [user.id]
        assert list(await overview.people(tx, "_", 5)) == []
        assert await overview.all_nodes(tx) == []
        assert not await overview.job_waits(tx, "audit")
