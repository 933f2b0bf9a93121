"""A process that stood still: the time of its calls stops until their owner and the carrier have been asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.carriers.base import Leg
from pipeline.clock import Clock, slept_seconds
from pipeline.core.errors import CarrierError
from pipeline.core.money import Millis
from server.nodes.lease import Conducted, Lease
from storage.db import Database, DatabaseDown
from storage.nodes import NodeLock, expired, hold_node, is_alive
from tests.server.rig import NOON, RecordingCarrier
from tests.storage.world import call as placed_call
from tests.storage.world import migrated, person
from tests.twilio.rig import run_scaled


class Leaping(Clock):
    """Runs with the loop, and leaps when this process is frozen or this machine put to sleep."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self.leapt = 0.0
        self.slept = 0.0

    def seconds(self) -> float:
        return super().seconds() + self.leapt

    def boot_seconds(self) -> float:
        return self.seconds() + self.slept


@dataclass
class Line(RecordingCarrier):
    """What the carrier says of any call."""

    status: str = "in-progress"
    asked: list[str] = field(default_factory=list)

    async def fetch(self, sid: str) -> Leg:
        self.asked.append(sid)
        if self.status == "away":
            raise CarrierError("not now")
        if self.status == "uncounted":
            return Leg(sid, "completed", None)
        return Leg(sid, self.status, 17 if self.status == "completed" else 0)


@dataclass
class OnIt:
    call_id: str
    epoch: int = 1
    sid: str | None = "CA1"
    fenced: int = 0
    done: list[tuple[str, int]] = field(default_factory=list)

    def fence(self) -> None:
        self.fenced += 1

    def carrier_done(self, status: str, seconds: int) -> None:
        self.done.append((status, seconds))


@dataclass
class Node:
    database: Database
    carrier: Line
    clock: Leaping
    lease: Lease
    on: list[Conducted]

    async def call(self) -> OnIt:
        async with self.database.write() as tx:
            row = await placed_call(tx, await person(tx))
        found = OnIt(row.id)
        self.on.append(found)
        return found

    async def lost(self) -> None:
        async with self.database.write() as tx:
            await tx.execute(text("UPDATE calls SET epoch = 2"))


@asynccontextmanager
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    database = Database.open(f"sqlite:///{tmp_path / 'test.db'}")
    carrier, clock, on = Line(), Leaping(), list[Conducted]()
    async with aclosing(database), hold_node(database, "us") as lock, asyncio.TaskGroup() as tasks:
        lease = Lease(database, carrier, clock, lock, lambda: on)
        task = tasks.create_task(lease.run())
        yield Node(database, carrier, clock, lease, on)
        task.cancel()


def play(tmp_path: Path, story: Callable[[Node], Awaitable[None]]) -> None:
    migrated(f"sqlite:///{tmp_path / 'test.db'}")

    async def main() -> None:
        async with node(tmp_path) as us:
            await story(us)

    run_scaled(main(), speed=4.0)


def test_a_process_that_runs_counts_its_time(tmp_path: Path) -> None:
    async def story(us: Node) -> None:
        await asyncio.sleep(3)
        await us.lease.steady()
        now = us.clock.millis()
        assert us.lease.counted(now) == now
        assert us.carrier.asked == []

    play(tmp_path, story)


@pytest.mark.parametrize("asleep", [False, True], ids=["frozen", "suspended"])
def test_after_a_short_gap_only_the_carrier_is_asked(tmp_path: Path, asleep: bool) -> None:
    async def story(us: Node) -> None:
        found = await us.call()
        await us.lost()
        before = us.clock.millis()
        if asleep:
            us.clock.slept += 4
        else:
            us.clock.leapt += 4
            assert us.lease.counted(us.clock.millis()) <= before + 1_100, "time stands still at the gap"
        await us.lease.steady()
        assert us.carrier.asked == ["CA1"]
        assert (found.fenced, found.done) == (0, []), "nobody could take it in four seconds"
        now = us.clock.millis()
        assert us.lease.counted(now) == now

    play(tmp_path, story)


def test_after_a_long_one_the_database_says_whose_it_is(tmp_path: Path) -> None:
    async def story(us: Node) -> None:
        mine, theirs = await us.call(), await us.call()
        theirs.epoch = 0  # it has gone on since
        us.clock.leapt += 30
        await us.lease.steady()
        assert (mine.fenced, theirs.fenced) == (0, 1)

    play(tmp_path, story)


def test_a_call_the_carrier_has_ended_meanwhile_is_over_before_its_time_goes_on(tmp_path: Path) -> None:
    async def story(us: Node) -> None:
        found, ringing = await us.call(), await us.call()
        ringing.sid = None
        us.carrier.status = "completed"
        stood_still = Millis(us.clock.millis() + 1_100)
        counted: list[Millis] = []
        found.carrier_done = lambda status, seconds: counted.append(  # type: ignore[method-assign]
            us.lease.counted(us.clock.millis())
        )
        us.clock.leapt += 5
        await us.lease.steady()
        assert len(counted) == 1
        assert counted[0] <= stood_still
        assert ringing.done == []

    play(tmp_path, story)


@pytest.mark.parametrize("status", ["away", "uncounted"])
def test_a_carrier_that_cannot_say_stops_nobody(tmp_path: Path, status: str) -> None:
    async def story(us: Node) -> None:
        found = await us.call()
        us.carrier.status = status
        us.clock.leapt += 5
        await us.lease.steady()
        assert (found.fenced, found.done) == (0, [])

    play(tmp_path, story)


class Telling(NodeLock):
    """Says when it was taken, and can be kept from it."""

    def __init__(self, database: Database, name: str) -> None:
        super().__init__(database, name)
        self.taken = asyncio.Event()
        self.refusals = 0

    async def take(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise DatabaseDown("not now", retryable=True)
        await super().take()
        self.taken.set()


def test_without_the_database_nothing_goes_on_after_a_long_gap(tmp_path: Path) -> None:
    migrated(f"sqlite:///{tmp_path / 'test.db'}")

    async def main() -> None:
        database = Database.open(f"sqlite:///{tmp_path / 'test.db'}")
        clock, lock = Leaping(), Telling(database, "us")
        lock.refusals = 1_000
        async with asyncio.TaskGroup() as tasks:
            lease = Lease(database, Line(), clock, lock, list, lambda: "well")
            task = tasks.create_task(lease.run())
            clock.leapt += 30
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await lease.steady()
            lock.refusals = 0
            await lease.steady()
            assert lock.taken.is_set()
            task.cancel()
        async with database.read() as tx:
            assert (await tx.execute(text("SELECT engines FROM nodes"))).all() == [("well",)]
        await database.aclose()

    run_scaled(main(), speed=4.0)


def test_a_restart_of_the_database_takes_no_signs_of_life_for_good(migrated_postgres: str) -> None:
    kill = text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid IN"
        " (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
    )

    async def main() -> None:
        ours, theirs = Database.open(migrated_postgres), Database.open(migrated_postgres)
        lock = Telling(ours, "us")
        async with asyncio.TaskGroup() as tasks:
            lease = Lease(ours, Line(), Clock(NOON), lock, list)
            await lease.renew()
            lock.taken.clear()
            async with theirs.write() as tx:
                assert len((await tx.execute(kill)).all()) == 1
            task = tasks.create_task(lease.run())
            async with theirs.read() as tx:
                assert not await is_alive(tx, "us")
                assert await expired(tx, ["us"]) == set()
            async with asyncio.timeout(60):
                await lock.taken.wait()
            async with theirs.read() as tx:
                assert await is_alive(tx, "us")
            task.cancel()
        await lock.release()
        await ours.aclose()
        await theirs.aclose()

    run_scaled(main(), speed=4.0)


def test_how_long_the_machine_slept_is_known() -> None:
    assert slept_seconds() > -0.01
