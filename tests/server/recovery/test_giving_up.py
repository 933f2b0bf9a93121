"""A call that a sweep ends: from its first try on nobody is connected to it, and one that goes on is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pytest

from pipeline.carriers.base import DialOrder, Leg
from pipeline.core.errors import CarrierError
from storage import calls
from storage.nodes import hold_node
from storage.records import CallRow, Fenced
from tests.server.recovery.test_orphans import (
    HangingUp,
    World,
    conducts_nothing,
    data,
    looking,
    world,
)
from tests.server.recovery.test_takeover import SID, cut, in_progress, lines, resuming, takeovers
from tests.storage.world import audited, rows

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
    assert await resuming(world).take(row.id, SID) is None, "the carrier is told to hang up"
    assert ((await world.now(row)).epoch, (await world.now(row)).final_at) == (2, None)
    world.carrier.away = False
    assert await world.orphans.look(conducts_nothing) == 1
    assert world.carrier.hung_up == [SID]
    assert (await audited(world.database)).breaches == []


async def test_one_that_went_on_meanwhile_is_not_hung_up(world: World) -> None:
    """The sweep had claimed it, and the carrier asked before the sweep came to hang it up."""
    row = await broken_off(world)
    claimed = await takeovers(world).claim(row)
    assert claimed is not None
    assert await resuming(world).take(row.id, SID) is not None
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
    assert await world.orphans.look({ours.id, theirs.id}.__contains__) == 0
    assert world.carrier.hung_up == []
    assert await world.orphans.look(conducts_nothing) == 2


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
    assert await orphans.look(conducts_nothing) == 1
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
        await orphans.settle_all()
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
