"""Schedules are dialled once or visibly missed: on time, in order, over kills, two nodes, refusals and retries."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text

from pipeline.core.errors import Refused
from server.errors import invalid
from server.parts import PlaceCall
from server.schedules.due import MISSED_AT_ONCE, NOT_THERE, POLL_S, STOPPED
from storage import schedules
from storage.db import Database
from storage.records import CallRow, User
from tests.server.rig import NOON
from tests.server.scheduling import POINTS, Killed, ToyDesk, World
from tests.storage.world import rows

Pair = tuple[Database, Database]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def world(two_nodes: Pair) -> World:
    return World(two_nodes)


def quiet() -> Refused:
    return Refused("quiet_hours", "Not at this hour.", status=403, retry_after=36_000)


async def leases_run_out(world: World) -> None:
    async with world.databases[0].write() as tx:
        await tx.execute(text("UPDATE scheduled_calls SET lease_until = NULL WHERE status = 'claimed'"))


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


async def test_a_draining_node_claims_nothing(world: World) -> None:
    once = await world.add(NOON)
    world.open = False
    await world.settle(world.node())
    assert (await world.seen(once)).status == "pending"
    world.open = True
    await world.settle(world.node())
    assert (await world.seen(once)).status == "dialed"


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


@dataclass
class StalledDesk(ToyDesk):
    """Frozen between claim and dial, as SIGSTOP would, until it is let go."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        self.reached.set()
        await self.go.wait()
        return await super().place(user, order, idem)


async def test_a_node_that_wakes_up_after_its_lease_does_not_dial(world: World) -> None:
    stalled = StalledDesk(world.databases[0], world.clock, world.desk.rung)
    once = await world.add(NOON)
    async with asyncio.TaskGroup() as tasks:
        sleeping = tasks.create_task(world.node("a", desk=stalled).step())
        await stalled.reached.wait()
        await leases_run_out(world)
        await world.settle(world.node("b"))
        assert (await world.seen(once)).status == "missed"
        stalled.go.set()
        await sleeping
    assert world.desk.rung == []
    assert await world.dials(once) == [(0, "missed", "")]
    assert await rows(world.databases[0], "SELECT count(*) FROM calls") == [(0,)]


async def test_canceled_between_claim_and_dial_it_does_not_ring(world: World) -> None:
    stalled = StalledDesk(world.databases[0], world.clock, world.desk.rung)
    once = await world.add(NOON)
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(world.node("a", desk=stalled).step())
        await stalled.reached.wait()
        async with world.databases[0].write() as tx:
            await schedules.put(tx, once.id, {"status": "canceled"})
        stalled.go.set()
        await working
    assert world.desk.rung == []
    assert await rows(world.databases[0], "SELECT count(*) FROM calls") == [(0,)]
    assert (await world.seen(once)).status == "canceled"


async def test_changed_between_claim_and_dial_it_rings_by_the_new_words(world: World) -> None:
    stalled = StalledDesk(world.databases[0], world.clock, world.desk.rung)
    once = await world.add(NOON)
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(world.node("a", desk=stalled).step())
        await stalled.reached.wait()
        async with world.databases[0].write() as tx:
            await schedules.put(tx, once.id, {"status": "pending", "persona_id": "alex"})
        stalled.go.set()
        await working
    await world.pass_time(1, world.node("a"))
    assert len(world.desk.rung) == 1
    assert await rows(world.databases[0], "SELECT persona_id FROM calls") == [("alex",)]


async def test_a_claim_within_its_lease_is_left_alone(world: World) -> None:
    if world.databases[0].dialect == "sqlite":
        return  # there one process serves, and another's claim is a dead one's
    stalled = StalledDesk(world.databases[0], world.clock, world.desk.rung)
    once = await world.add(NOON)
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(world.node("a", desk=stalled).step())
        await stalled.reached.wait()
        await world.settle(world.node("b"))
        assert (await world.seen(once)).status == "claimed"
        stalled.go.set()
        await working
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


async def test_500_schedules_two_schedulers_and_kills(world: World) -> None:
    """Each is dialled once or not at all, and one that is not says so."""
    dice = random.Random(20_261_123)
    two = world.databases[0] is not world.databases[1]
    count = 500 if two else 150
    made = [await world.add(NOON + dice.randrange(60) * SECOND, window_s=30) for _ in range(count)]
    killed = 0

    def dies(_point: str) -> bool:
        nonlocal killed
        killed += (death := dice.random() < 0.04)
        return death

    world.desk.dies = dies
    other = ToyDesk(world.databases[1], world.clock, world.desk.rung, dies)
    names = ["a", "b"] if two else ["a"]
    nodes = {
        name: world.node(f"{name}0", pace=1_000_000, desk=other if name == "b" else None) for name in names
    }
    for turn in range(20 * count):
        outcomes = await asyncio.gather(*(alive(node.step()) for node in nodes.values()))
        for name, outcome in zip(list(nodes), outcomes, strict=True):
            if outcome is None:
                nodes[name] = world.node(
                    f"{name}{killed}", pace=1_000_000, desk=other if name == "b" else None
                )
        if dice.random() < 0.02:
            await leases_run_out(world)  # also those of a node that only was slow
        open_ = "SELECT 1 FROM scheduled_calls WHERE status IN ('pending', 'claimed')"
        if turn % 10 == 0 and not await rows(world.databases[0], open_):
            break
        # Now and then both are away for longer than the calls may wait.
        world.clock.move(45 if dice.random() < 0.002 else min(outcome or 0.01 for outcome in outcomes))
        if world.clock.utc() > NOON + 100 * SECOND:
            await leases_run_out(world)
    world.desk.dies = other.dies = lambda _point: False
    rung = [dial.partition(".")[0] for dial, _ in world.desk.rung]
    assert len(rung) == len(set(rung)), "nobody was rung twice"
    await end_as_recovery_would(world, set(rung))
    for _ in range(20):
        await world.settle(*nodes.values())
    seen = {schedule.id: (await world.seen(schedule)).status for schedule in made}
    assert {status for ident, status in seen.items() if ident in set(rung)} == {"dialed"}
    assert {status for ident, status in seen.items() if ident not in set(rung)} <= {"missed", "failed"}
    shown = await rows(
        world.databases[0], "SELECT count(*), count(DISTINCT schedule_id) FROM scheduled_dials"
    )
    assert shown == [(count, count)], "and each is on record once"
    assert killed > count / 30
    assert len(rung) > count / 2


async def alive(step: object) -> float | None:
    """What the step answers; None when its process died."""
    try:
        return await step  # type: ignore[misc,no-any-return]
    except Killed:
        return None


async def end_as_recovery_would(world: World, rung: set[str]) -> None:
    """Calls that were rung complete; those whose process died before they were end failed, unknown to the carrier."""
    async with world.databases[0].write() as tx:
        await tx.execute(text("UPDATE calls SET status = 'failed', status_rank = 4"))
        for ident in rung:
            named = {"id": ident, "like": f"{ident}.%"}
            await tx.execute(
                text(
                    "UPDATE calls SET status = 'completed', twilio_call_sid = 'CA' || CAST(:id AS TEXT),"
                    " answered_at = created_at WHERE scheduled_call_id LIKE :like"
                ),
                named,
            )


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


async def test_the_same_try_is_never_made_twice_though_the_row_is_set_back(world: World) -> None:
    once = await world.add(NOON)
    node = world.node()
    await world.settle(node)
    async with world.databases[0].write() as tx:
        await tx.execute(text("UPDATE scheduled_calls SET status = 'pending', dial_id = NULL"))
    await world.pass_time(1, node)
    assert len(world.desk.rung) == 1
    assert (await world.seen(once)).status == "dialed"


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
        async with asyncio.timeout(20):
            await rung.wait()
        running.cancel()
    assert len(world.desk.rung) == 1


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
