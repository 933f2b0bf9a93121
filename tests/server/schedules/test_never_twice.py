"""Whatever happens between the claim and the dial, the phone rings once or it is visibly missed."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from server.schedules.due import STOPPED
from storage import schedules
from tests.server.rig import NOON
from tests.server.scheduling import (
    POINTS,
    Killed,
    StalledDesk,
    World,
    leases_run_out,
    stalled_before_the_dial,
)
from tests.storage.world import rows


async def test_a_node_that_wakes_up_after_its_lease_does_not_dial(world: World) -> None:
    once = await world.add(NOON)
    async with stalled_before_the_dial(world):
        await leases_run_out(world)
        await world.settle(world.node("b"))
        assert (await world.seen(once)).status == "missed"
    assert world.desk.rung == []
    assert await world.dials(once) == [(0, "missed", "")]
    assert await rows(world.databases[0], "SELECT count(*) FROM calls") == [(0,)]


async def test_canceled_between_claim_and_dial_it_does_not_ring(world: World) -> None:
    once = await world.add(NOON)
    async with stalled_before_the_dial(world), world.databases[0].write() as tx:
        await schedules.put(tx, once.id, {"status": "canceled"})
    assert world.desk.rung == []
    assert await rows(world.databases[0], "SELECT count(*) FROM calls") == [(0,)]
    assert (await world.seen(once)).status == "canceled"


async def test_changed_between_claim_and_dial_it_rings_by_the_new_words(world: World) -> None:
    once = await world.add(NOON)
    async with stalled_before_the_dial(world), world.databases[0].write() as tx:
        await schedules.put(tx, once.id, {"status": "pending", "persona_id": "alex"})
    await world.pass_time(1, world.node("a"))
    assert len(world.desk.rung) == 1
    assert await rows(world.databases[0], "SELECT persona_id FROM calls") == [("alex",)]


async def test_a_claim_within_its_lease_is_left_alone(world: World) -> None:
    if world.databases[0].dialect == "sqlite":
        return  # there one process serves, and another's claim is a dead one's
    once = await world.add(NOON)
    async with stalled_before_the_dial(world):
        await world.settle(world.node("b"))
        assert (await world.seen(once)).status == "claimed"
    assert len(world.desk.rung) == 1
    assert (await world.seen(once)).status == "dialed"


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_point_it_rings_once_or_is_visibly_missed(world: World, point: str) -> None:
    once = await world.add(NOON)
    world.desk.dies = lambda reached: reached == point
    with pytest.raises(Killed):
        await world.settle(world.node("a1"))
    world.desk.dies = lambda _reached: False
    await leases_run_out(world)
    await world.settle(world.node("a2"))
    rung = point == "rung"
    assert len(world.desk.rung) == rung
    if point in {"committed", "rung"}:  # there is a call, and recovery is what ends it
        assert (await world.seen(once)).status == "dialed"
        await world.end_calls("completed" if rung else "failed", sid="CA" if rung else None)
        await world.settle(world.node("a2"))
    ((_, status, _),) = await world.dials(once)
    assert (
        status
        == (await world.seen(once)).status
        == ("dialed" if rung else "missed" if point != "committed" else "failed")
    )
    if status == "missed":
        assert await rows(world.databases[0], "SELECT detail FROM scheduled_dials") == [(STOPPED,)]
    world.clock.move(400)
    await world.settle(world.node("a2"))
    assert len(world.desk.rung) == rung, "and never again"


async def test_the_same_try_is_never_made_twice_though_the_row_is_set_back(world: World) -> None:
    once = await world.add(NOON)
    node = world.node()
    await world.settle(node)
    async with world.databases[0].write() as tx:
        await tx.execute(text("UPDATE scheduled_calls SET status = 'pending', dial_id = NULL"))
    await world.pass_time(1, node)
    assert len(world.desk.rung) == 1
    assert (await world.seen(once)).status == "dialed"


async def test_a_stopping_node_lets_the_dial_under_way_be_made(world: World) -> None:
    stalled = StalledDesk(world.databases[0], world.clock, world.desk.rung)
    node = world.node("a", desk=stalled)
    once = await world.add(NOON)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node.run())
        await stalled.reached.wait()
        world.open = False
        resting = tasks.create_task(node.at_rest())
        stalled.go.set()
        await resting
        running.cancel()
    assert (await world.seen(once)).status == "dialed"
