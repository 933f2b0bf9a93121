"""What cannot be just now waits, who does not pick up is tried again; each try is on record."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from pipeline.core.errors import Refused
from server.routes.scheduled import FRESH
from storage import schedules
from tests.server.rig import NOON
from tests.server.scheduling import Killed, World, leases_run_out

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("code", "retry_after", "waited"),
    [("call_in_progress", None, 10), ("rate_limited", 45, 45), ("quiet_hours", 45, 45)],
)
async def test_what_cannot_be_just_now_waits_while_it_is_not_too_late(
    world: World, code: str, retry_after: int | None, waited: int
) -> None:
    node = world.node()
    once = await world.add(NOON)
    world.desk.refuses += [Refused(code, "", status=409, retry_after=retry_after)]
    await world.settle(node)
    waiting = await world.seen(once)
    assert (waiting.status, waiting.due_at, waiting.run_at) == ("pending", NOON + waited * SECOND, NOON)
    world.clock.move(waited)
    await world.settle(node)
    assert await world.dials(once) == [(0, "dialed", "")]


async def test_waiting_ends_when_it_is_too_late(world: World) -> None:
    node = world.node()
    once = await world.add(NOON, window_s=60)
    world.desk.refuses += [Refused("call_in_progress", "You are on a call.", status=409)] * 20
    await world.pass_time(90, node)
    assert await world.dials(once) == [(0, "failed", "call_in_progress")]
    full = await world.add(world.clock.utc(), window_s=60)
    world.desk.refuses[:] = [Refused("overloaded", "Full.", status=503)] * 20
    await world.pass_time(90, node)
    assert await world.dials(full) == [(0, "missed", "overloaded")]
    assert (await world.seen(full)).status == "missed"
    assert world.desk.rung == []


@pytest.mark.parametrize("status", ["busy", "no-answer"])
async def test_who_does_not_pick_up_is_tried_again_each_try_on_record(world: World, status: str) -> None:
    node = world.node()
    once = await world.add(NOON, retries=2, retry_s=300)
    for _ in range(4):
        await world.settle(node)
        world.clock.move(20)
        await world.end_calls("busy" if status == "busy" else "no-answer")
        await world.settle(node)
        world.clock.move(299)
        await world.settle(node)
        await world.pass_time(2, node)
    assert await world.dials(once) == [(0, "dialed", status), (1, "dialed", status), (2, "dialed", status)]
    assert [dial[-2:] for dial, _ in world.desk.rung] == [".0", ".1", ".2"]
    times = [at for _, at in world.desk.rung]
    assert all(later - earlier >= 5 * MINUTE for earlier, later in pairwise(times))
    assert (await world.seen(once)).status == "dialed"


async def test_whoever_picked_up_is_not_tried_again_nor_before_the_next_run(world: World) -> None:
    node = world.node()
    once = await world.add(NOON, retries=2)
    await world.settle(node)
    await world.end_calls("completed")
    world.clock.move(400)
    await world.settle(node)
    assert await world.dials(once) == [(0, "dialed", "")]
    soon = await world.add(
        world.clock.utc(), retries=2, retry_s=3600, local_time="2026-11-23T12:00:00", timezone="UTC",
        rrule="FREQ=HOURLY",
    )  # fmt: skip
    await world.settle(node)
    await world.end_calls("no-answer")
    await world.settle(node)
    assert ((await world.seen(soon)).attempt, (await world.seen(soon)).due_at) == (0, NOON.replace(hour=13))


async def test_a_retry_of_a_rule_keeps_its_next_run(world: World) -> None:
    node = world.node()
    daily = await world.daily("2026-11-23T12:00:00", retries=1, retry_s=300)
    await world.settle(node)
    await world.end_calls("busy")
    await world.settle(node)
    waiting = await world.seen(daily)
    assert (waiting.attempt, waiting.run_at, waiting.due_at) == (1, NOON, NOON + 5 * MINUTE)
    await world.pass_time(310, node)
    again = await world.seen(daily)
    assert (again.attempt, again.due_at) == (0, NOON + timedelta(days=1))


async def test_a_call_that_never_reached_the_carrier_has_failed(world: World) -> None:
    node = world.node()
    once = await world.add(NOON, retries=2)
    await world.settle(node)
    await world.end_calls("failed", sid=None)
    await world.settle(node)
    assert await world.dials(once) == [(0, "failed", "failed")]
    assert (await world.seen(once)).status == "failed"


async def test_a_single_call_moved_while_it_rings_keeps_the_day_it_was_moved_to(world: World) -> None:
    node = world.node()
    once = await world.add(NOON, retries=2, retry_s=300)
    await world.settle(node)
    tomorrow = NOON + timedelta(days=1)
    async with world.databases[0].write() as tx:
        await schedules.put(tx, once.id, {**FRESH, "status": "pending", "due_at": tomorrow})
    await world.end_calls("no-answer")
    await world.pass_time(900, node)
    moved = await world.seen(once)
    assert (moved.status, moved.run_at, moved.due_at) == ("pending", tomorrow, tomorrow)
    assert len(world.desk.rung) == 1
    world.clock.move(86_400 - 900)
    await world.settle(node)
    assert [at.day for _, at in world.desk.rung] == [23, 24]


async def test_nobody_picking_up_is_seen_to_once_the_one_who_dialled_is_given_up(world: World) -> None:
    """It died behind the dial: its claim is settled first, and then there is a retry."""
    world.desk.dies = lambda point: point == "rung"
    once = await world.add(NOON, retries=1)
    with pytest.raises(Killed):
        await world.node("a").step()
    world.desk.dies = lambda _point: False
    await world.end_calls("busy")
    for dial in await _ended(world):
        await world.node("a")._look_back(dial)
    assert await world.dials(once) == [(0, "dialed", "")], "too early to tell"
    await leases_run_out(world)
    await world.settle(world.node("b"))
    assert ((await world.seen(once)).status, (await world.seen(once)).attempt) == ("pending", 1)
    await world.pass_time(310, world.node("b"))
    assert await world.dials(once) == [(0, "dialed", "busy"), (1, "dialed", "")]


async def _ended(world: World) -> list[schedules.EndedDial]:
    async with world.databases[0].read() as tx:
        return await schedules.ended(tx)
