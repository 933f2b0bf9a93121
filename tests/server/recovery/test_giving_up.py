"""A call that a sweep ends: from its first try on nobody is connected to it, and one that goes on is left alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.carriers.base import DialOrder, Leg
from pipeline.core.errors import CarrierError
from server.recovery.orphans import EVERY_S
from storage import calls
from storage.db import Database
from storage.nodes import hold_node
from storage.records import CallRow, Fenced
from tests.server.recovery.test_orphans import (
    HangingUp,
    World,
    conducts_nothing,
    data,
    looked,
    looking,
    opened,
    world,
)
from tests.server.recovery.test_takeover import SID, cut, in_progress, lines, resuming, taken, takeovers
from tests.storage.world import audited, migrated, rows
from tests.twilio.rig import run_scaled

__all__ = ["world"]


async def broken_off(world: World) -> CallRow:
    row, steps = await in_progress(world), cut(await world.told(), 20_000)
    data(steps, world.journal(row))
    await world.flushed(row, steps)
    return row


async def test_a_call_that_is_being_hung_up_is_not_gone_on_with(world: World) -> None:
    """The hang-up got no answer; it may be carried out a moment later, over whoever was connected meanwhile."""
    row = await broken_off(world)
    world.carrier.away = True
    assert await world.orphans.settle_all() == 0
    assert await taken(resuming(world), row.id) is None, "the carrier is told to hang up"
    assert ((await world.now(row)).epoch, (await world.now(row)).final_at) == (2, None)
    world.carrier.away = False
    assert await world.look(conducts_nothing) == 1
    assert world.carrier.hung_up == [SID]
    assert (await audited(world.database)).breaches == []


async def test_one_that_went_on_meanwhile_is_not_hung_up(world: World) -> None:
    """The sweep had claimed it, and the carrier asked before the sweep came to hang it up."""
    row = await broken_off(world)
    claimed = await takeovers(world).claim(row)
    assert claimed is not None
    assert await taken(resuming(world), row.id) is not None
    with pytest.raises(Fenced):
        await takeovers(world).settle(claimed)
    now = await world.now(row)
    assert (now.epoch, now.final_at, now.given_up_at) == (3, None, None)
    assert world.carrier.hung_up == []


async def test_what_this_node_is_on_is_swept_by_nobody_here(world: World) -> None:
    """Not even when it was begun to be swept, or is a dead node's whose journal is written to here."""
    ours, theirs = await broken_off(world), await world.call(owner="dead", sid="CA9")
    world.carrier.away = True
    assert await world.orphans.settle_all() == 0
    world.carrier.away = False
    async with world.database.write() as tx:
        assert await calls.claim(tx, theirs.id, 2, "dead") is not None
    assert await world.look({ours.id, theirs.id}.__contains__) == 0
    assert world.carrier.hung_up == []
    assert await world.look(conducts_nothing) == 2


@dataclass
class Slow(HangingUp):
    """Says that a call is over once all four were asked about."""

    asked: set[str] = field(default_factory=set)

    async def fetch(self, sid: str) -> Leg:
        self.asked.add(sid)
        return await super().fetch(sid) if len(self.asked) == 4 else Leg(sid, "in-progress", 0)


async def test_orphans_wait_for_the_carrier_side_by_side(world: World) -> None:
    """One after the other each would wait in vain."""
    slow = Slow()
    orphans = looking(world.database, slow, world.clock, world.folder, world.node)
    for number in range(4):
        await world.call(sid=f"CA{number}")
    assert await orphans.settle_all() == 4
    assert await world.held() == 0


@dataclass
class Silent(HangingUp):
    """Does not answer for `CA0`, and does for all others."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self, sid: str) -> Leg:
        if sid == "CA0":
            self.asked.set()
            await asyncio.Event().wait()
        return await super().fetch(sid)


def test_a_leg_the_carrier_does_not_answer_for_keeps_no_other_waiting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)

    async def main() -> None:
        database = Database.open(url)
        async with opened(database, database, tmp_path) as world, asyncio.TaskGroup() as tasks:
            silent, again, looks = Silent(), asyncio.Event(), 0
            orphans = looking(database, silent, world.clock, tmp_path, world.node)
            stuck = await world.call(sid="CA0")

            def conducts(call_id: str) -> bool:
                nonlocal looks
                looks += call_id == stuck.id
                again.set()
                return False

            task = tasks.create_task(orphans.run(conducts))
            async with asyncio.timeout(60 * EVERY_S):
                await silent.asked.wait()
                other = await world.call(sid="CA1")
                while looks < 4 or (now := await world.now(other)).status != "completed":
                    again.clear()
                    await again.wait()
            waiting = await world.now(stuck)
            assert now.epoch == 2
            assert silent.hung_up == ["CA0", "CA1"], "one that is under way is not begun again"
            assert (waiting.final_at, waiting.epoch) == (None, 2)
            task.cancel()
        await database.aclose()

    run_scaled(main(), speed=60.0)


@dataclass
class Listing(HangingUp):
    """Has in its list what a process dialled and did not live to note."""

    listed: Leg | None = None
    wanted: list[DialOrder] = field(default_factory=list)

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        if self.away:
            raise CarrierError("not now", retryable=True)
        self.wanted.append(order)
        return self.listed


async def test_a_phone_that_rings_though_its_dial_was_not_noted_is_ended_and_busy_until_then(
    world: World,
) -> None:
    carrier = Listing(seconds=7, away=True, listed=Leg("CA7", "ringing", 0))
    orphans = looking(world.database, carrier, world.clock, world.folder, world.node)
    row = await world.call()
    assert await orphans.settle_all() == 0
    async with world.database.read() as tx:
        assert await calls.count_live_to(tx, "+12025550123") == 1, "nobody knows yet whether it rings"
    carrier.away = False
    assert await looked(orphans, conducts_nothing) == 1
    assert [order.to for order in carrier.wanted] == ["+12025550123"]
    assert carrier.hung_up == ["CA7"]
    settled = await world.now(row)
    assert (settled.sid, settled.status, settled.carrier_seconds) == ("CA7", "completed", 7)
    assert await rows(world.database, "SELECT kind FROM jobs") == [("reconcile",)]
    assert await world.held() == 0


async def test_a_listed_call_that_is_anothers_is_left_alone(world: World) -> None:
    carrier = Listing(listed=Leg("CA8", "in-progress", 0))
    orphans = looking(world.database, carrier, world.clock, world.folder, world.node)
    other, row = await world.call(owner="alive", sid="CA8"), await world.call()
    async with hold_node(world.other, "alive"):
        assert await looked(orphans, conducts_nothing) == 1
    assert carrier.hung_up == []
    assert ((await world.now(row)).status, (await world.now(row)).sid) == ("failed", None)
    assert (await world.now(other)).final_at is None


async def test_a_count_that_never_comes_leaves_what_is_known(world: World) -> None:
    """`completed` without a duration is no call of 0 seconds."""
    row = await broken_off(world)
    bought = (await lines(world, row))["carrier:twilio:second"]
    world.carrier.seconds = None
    assert await world.orphans.settle_all() == 1
    settled = await world.now(row)
    assert settled.status == "completed"
    assert settled.carrier_seconds, "our own count stands until the carrier says"
    assert (await lines(world, row))["carrier:twilio:second"] == bought > 0
    assert (await audited(world.database)).breaches == []
