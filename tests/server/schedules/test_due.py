"""Schedules ring when they are due, in order, by their rules; what was late or refused is on record."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

from pipeline.core.errors import Refused
from server.errors import invalid
from server.schedules.due import MISSED_AT_ONCE, NOT_THERE, POLL_S
from storage import schedules
from tests.server.rig import NOON
from tests.server.scheduling import ToyDesk, World
from tests.storage.world import rows

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def quiet() -> Refused:
    return Refused("quiet_hours", "Not at this hour.", status=403, retry_after=36_000)


async def test_it_rings_when_it_is_due_and_no_sooner(world: World) -> None:
    node = world.node()
    once = await world.add(NOON + 90 * SECOND, context="the interview")
    await world.pass_time(89.9, node)
    assert world.desk.rung == []
    await world.pass_time(0.2, node)
    ((dial, at),) = world.desk.rung
    assert at - once.due_at <= timedelta(milliseconds=10)
    assert (await world.seen(once)).status == "dialed"
    assert await rows(world.databases[0], "SELECT scheduled_call_id FROM calls") == [(dial,)]
    world.clock.move(600)
    await world.settle(node)
    assert len(world.desk.rung) == 1


async def test_it_rings_with_what_fills_in_its_scenario(world: World) -> None:
    await world.add(NOON, variables='{"place": "the pub"}')
    await world.add(NOON, variables="written by hand")
    await world.pass_time(1, world.node())
    said = [dict(order.variables) for order in world.desk.orders]
    assert sorted(said, key=len) == [{}, {"place": "the pub"}]


async def test_a_scenario_that_asks_for_more_since_is_said_in_words(world: World) -> None:
    world.desk.refuses.append(invalid("variables.place", "the scenario leaves this open: give it a value"))
    one = await world.add(NOON)
    await world.settle(world.node())
    async with world.databases[0].read() as tx:
        (dial,) = await schedules.latest_dials(tx, [one.id], 1)
    assert dial.detail == "variables.place: the scenario leaves this open: give it a value"


async def test_a_schedule_another_node_was_told_is_seen_within_a_second(world: World) -> None:
    node = world.node()
    await world.settle(node)
    await world.add(NOON + timedelta(milliseconds=300))
    assert await node.step() <= POLL_S
    await world.pass_time(1.1, node)
    assert len(world.desk.rung) == 1


async def test_many_due_at_once_are_spread_in_order_over_all_nodes(world: World) -> None:
    made = [await world.add(NOON + MINUTE) for _ in range(5)]
    made += [await world.add(NOON + MINUTE - SECOND)]
    other = ToyDesk(world.databases[1], world.clock, world.desk.rung)
    await world.pass_time(70, world.node("a", pace=1), world.node("b", pace=1, desk=other))
    order = sorted(made, key=lambda schedule: (schedule.due_at, schedule.created_at, schedule.id))
    assert [dial.partition(".")[0] for dial, _ in world.desk.rung] == [schedule.id for schedule in order]
    times = [at for _, at in world.desk.rung]
    apart = [later - earlier for earlier, later in pairwise(times)]
    assert min(apart) >= SECOND - timedelta(milliseconds=1), (
        "the carrier takes one a second, of all nodes together"
    )


async def test_a_late_one_is_missed_and_said_so(world: World) -> None:
    node = world.node()
    late = await world.add(NOON - 301 * SECOND)
    just = await world.add(NOON - 299 * SECOND)
    await world.settle(node)
    assert (await world.seen(late)).status == "missed"
    assert (await world.seen(just)).status == "dialed"
    async with world.databases[0].read() as tx:
        (dial,) = await schedules.latest_dials(tx, [late.id], 9)
    assert (dial.status, dial.detail, dial.call_id) == ("missed", NOT_THERE, None)


async def test_after_an_outage_every_missed_run_is_on_record_and_the_rule_goes_on(world: World) -> None:
    daily = await world.daily("2026-11-18T09:00:00")  # five days before noon of the 23rd
    await world.settle(world.node())
    assert await world.dials(daily) == [(0, "missed", "")] * 6
    seen = await world.seen(daily)
    assert (seen.status, seen.due_at) == ("pending", NOON.replace(day=24, hour=9))
    assert world.desk.rung == []
    hourly = await world.add(
        NOON - timedelta(days=30), rrule="FREQ=HOURLY", local_time="2026-10-24T12:00:00", timezone="UTC"
    )
    await world.settle(world.node(), steps=20)
    assert len(await world.dials(hourly)) > MISSED_AT_ONCE
    # The run of noon is due this very moment, and is the one that rings.
    assert [dial.rpartition(".")[0][-7:] for dial, _ in world.desk.rung] == ["T120000"]


async def test_a_rule_rings_each_day_until_it_ends(world: World) -> None:
    rule = await world.add(
        NOON + MINUTE, local_time="2026-11-23T12:01:00", timezone="UTC", rrule="FREQ=DAILY;COUNT=3",
        skips="2026-11-24",
    )  # fmt: skip
    node = world.node()
    for _ in range(4):
        world.clock.move(61)
        await world.settle(node)
        await world.end_calls("completed")
        world.clock.move(86_400 - 61)
    assert [at.day for _, at in world.desk.rung] == [23, 25], "the skipped day counts, as RFC 5545 has it"
    assert (await world.seen(rule)).status == "dialed"


async def test_a_refusal_is_on_record_and_a_rule_goes_on_after_it(world: World) -> None:
    node = world.node()
    daily, once = await world.daily("2026-11-23T12:01:00"), await world.add(NOON + MINUTE)
    world.desk.refuses += [quiet(), quiet()]
    world.clock.move(60)
    await world.pass_time(1, node)
    assert await world.dials(daily) == await world.dials(once) == [(0, "failed", "quiet_hours")]
    assert (await world.seen(once)).status == "failed"
    assert (await world.seen(daily)).due_at == NOON.replace(day=24, minute=1)
    assert world.desk.rung == []


async def test_a_draining_node_claims_nothing(world: World) -> None:
    once = await world.add(NOON)
    world.open = False
    await world.settle(world.node())
    assert (await world.seen(once)).status == "pending"
    world.open = True
    await world.settle(world.node())
    assert (await world.seen(once)).status == "dialed"


async def test_new_time_zone_data_moves_what_is_due(world: World) -> None:
    local = "2027-07-01T09:00:00"
    stale = datetime.fromisoformat("2027-07-01T08:00:00+00:00")
    old = {"local_time": local, "timezone": "Europe/Berlin", "tzdata": "1999a"}
    once = await world.add(stale, **old)
    rule = await world.add(stale, rrule="FREQ=DAILY", **old)
    moment = await world.add(stale, **{**old, "local_time": ""})
    paused = await world.add(stale, status="paused", **old)
    node = world.node()
    await node.step()
    right = datetime.fromisoformat("2027-07-01T07:00:00+00:00")
    assert [(await world.seen(one)).due_at for one in (once, rule, moment, paused)] == [
        right,
        right,
        stale,
        right,
    ]
    assert (await world.seen(paused)).status == "paused"


async def test_a_row_written_by_hand_that_makes_no_sense_harms_no_other(world: World) -> None:
    odd = [
        await world.add(NOON, rrule="FREQ=NEVER"),
        await world.add(NOON, rrule="FREQ=DAILY", timezone="Mars/Olympus"),
        await world.add(NOON, rrule="FREQ=DAILY", local_time="soon"),
        await world.add(NOON - timedelta(days=1), rrule="FREQ=NEVER"),
    ]
    good = await world.add(NOON)
    await world.pass_time(2, world.node())
    assert (await world.seen(good)).status == "dialed"
    assert [(await world.seen(one)).status for one in odd] == ["dialed", "dialed", "dialed", "missed"]


async def test_it_goes_on_after_a_step_that_failed(world: World) -> None:
    """`run` itself, for a second of real time."""
    await world.add(NOON)
    await world.add(NOON)
    rung = asyncio.Event()

    def tells(point: str) -> bool:
        world.clock.move(1)
        if point == "rung":
            rung.set()
        return False

    world.desk.dies = tells
    world.desk.refuses.append(RuntimeError("surprise"))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.node(pace=1_000_000).run())
        async with asyncio.timeout(60):
            await rung.wait()
        running.cancel()
    assert len(world.desk.rung) == 1
