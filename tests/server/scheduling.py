"""Schedules, and a desk that places calls as the real one does but rings a list. It can die at any point of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from server.parts import PlaceCall
from server.schedules.due import Scheduler
from server.zones import tzdata_version
from storage import calls, schedules
from storage.db import Database
from storage.ids import new_id
from storage.records import CallRow, CallStatus, NewCall, User
from storage.schedule_records import Schedule
from tests.server.rig import NOON, ManualClock
from tests.storage.world import person


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing after this runs, not even what catches exceptions."""


POINTS = ("claimed", "in the transaction", "committed", "rung")
"""Where a process may die between the claim and the end of the dial."""


@dataclass
class ToyDesk:
    """The call and its dial in one transaction, then the carrier. `rung` is what the carrier was asked, by dial."""

    database: Database
    clock: ManualClock
    rung: list[tuple[str, datetime]] = field(default_factory=list)
    dies: Callable[[str], bool] = lambda _point: False
    refuses: list[Exception] = field(default_factory=list)
    """One for each call to come, in order."""
    orders: list[PlaceCall] = field(default_factory=list)
    """What it was asked for."""

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        claim = order.scheduled
        assert claim is not None
        assert idem is not None
        self.orders.append(order)
        self._reached("claimed")
        if self.refuses:
            raise self.refuses.pop(0)
        new = NewCall(
            id=new_id(), user_id=user.id, persona_id=order.persona_id, channel="phone", created_at=self.clock.utc(),
            price_ids=(), owner="node", idem_key=idem[0], idem_hash=idem[1], scheduled_call_id=claim.dial_id,
        )  # fmt: skip
        async with self.database.write() as tx:
            row = await calls.create(tx, new)
            await schedules.dialed(tx, claim, row.id)
            self._reached("in the transaction")
        self._reached("committed")
        self.rung.append((claim.dial_id, self.clock.utc()))
        self._reached("rung")
        return row

    def _reached(self, point: str) -> None:
        if self.dies(point):
            raise Killed(point)


@dataclass
class StalledDesk(ToyDesk):
    """Frozen between claim and dial, as SIGSTOP would, until it is let go."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        self.reached.set()
        await self.go.wait()
        return await super().place(user, order, idem)


@dataclass
class World:
    """One database, one clock, one user, and as many nodes as are asked for."""

    databases: tuple[Database, Database]
    clock: ManualClock = field(default_factory=ManualClock)
    user: User | None = None
    desk: ToyDesk = field(init=False)
    open: bool = True

    def __post_init__(self) -> None:
        self.desk = ToyDesk(self.databases[0], self.clock)

    def node(self, name: str = "a", *, pace: int = 100, desk: ToyDesk | None = None) -> Scheduler:
        return Scheduler(
            database=self.databases[name.startswith("b")],
            clock=self.clock,
            desk=desk or self.desk,
            node=name,
            calls_per_second=pace,
            taking=lambda: self.open,
        )

    async def add(self, due_at: datetime, **more: Any) -> Schedule:
        values = {"persona_id": "brad", "due_at": due_at, "tzdata": tzdata_version(), "retries": 0, **more}
        async with self.databases[0].write() as tx:
            if self.user is None:
                self.user = await person(tx)
            return await schedules.add(tx, self.user.id, values, NOON)

    async def daily(self, local: str, **more: Any) -> Schedule:
        due = datetime.fromisoformat(f"{local}+00:00")
        return await self.add(due, local_time=local, timezone="UTC", rrule="FREQ=DAILY", **more)

    async def seen(self, schedule: Schedule) -> Schedule:
        async with self.databases[0].read() as tx:
            found = await schedules.get(tx, schedule.user_id, schedule.id)
        assert found is not None
        return found

    async def dials(self, schedule: Schedule) -> list[tuple[int, str, str]]:
        """Attempt, status and code of each try on record, oldest first."""
        async with self.databases[0].read() as tx:
            found = await schedules.latest_dials(tx, [schedule.id], 1_000)
        return [(dial.attempt, dial.status, dial.code) for dial in reversed(found)]

    async def end_calls(self, status: CallStatus, *, sid: str | None = "CA") -> None:
        """Every call that is still on ends like this, now."""
        async with self.databases[0].write() as tx:
            for row in await calls.live(tx):
                answered = self.clock.utc() if status == "completed" else None
                named = None if sid is None else f"{sid}{row.id}"
                await calls.advance(tx, row.id, status, at=self.clock.utc(), sid=named, answered_at=answered)

    async def settle(self, *nodes: Scheduler, steps: int = 200) -> None:
        """Lets the nodes work until none has anything to do at this moment."""
        for _ in range(steps):
            waits = [await node.step() for node in nodes]
            if all(waits):
                return
        raise AssertionError("it never comes to rest")

    async def pass_time(self, seconds: float, *nodes: Scheduler) -> None:
        """Time passes as the nodes ask for it."""
        end = self.clock.utc() + timedelta(seconds=seconds)
        while self.clock.utc() < end:
            wait = min([await node.step() for node in nodes])
            self.clock.move(min(max(wait, 0.001), (end - self.clock.utc()).total_seconds() + 0.001))


async def leases_run_out(world: World) -> None:
    async with world.databases[0].write() as tx:
        await tx.execute(text("UPDATE scheduled_calls SET lease_until = NULL WHERE status = 'claimed'"))


@asynccontextmanager
async def stalled_before_the_dial(world: World) -> AsyncIterator[None]:
    """Node a has claimed what is due and stands still before the dial while the block runs; then it goes on."""
    desk = StalledDesk(world.databases[0], world.clock, world.desk.rung)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.node("a", desk=desk).step())
        await desk.reached.wait()
        yield
        desk.go.set()
