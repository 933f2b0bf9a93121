"""Hundreds of recurring schedules over a night on which clocks change, two schedulers that are killed again and again.

Each run is dialled once or is on record as not dialled. The whole, 500 on PostgreSQL as on SQLite: docs/schedules.md.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from server.schedules.due import Scheduler
from storage import schedules
from storage.db import Database
from storage.schedule_records import Schedule
from tests.server.rig import ManualClock
from tests.server.scheduling import Killed, ToyDesk, World, leases_run_out
from tests.storage.world import rows

NIGHT = timedelta(hours=7)
NIGHTS = {
    # 02:00 to 03:00 is skipped at 07:00, 08:00 and 10:00 UTC in the three zones of America.
    "spring": datetime(2027, 3, 14, 5, 30, tzinfo=UTC),
    # 01:00 to 02:00 comes twice: before and after 06:00, 07:00 and 09:00 UTC.
    "autumn": datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
}
ZONES = (
    "America/New_York", "America/Chicago", "America/Los_Angeles", "America/Phoenix", "Europe/Berlin", "Asia/Kolkata",
)  # fmt: skip
"""Three whose clocks change that night, at different moments, and three whose do not."""
WINDOW_S = 30


@dataclass(frozen=True, slots=True)
class Made:
    """A schedule and the moments at which it is due that night, worked out without the code under test."""

    schedule: Schedule
    due: frozenset[datetime]


@dataclass
class Nodes:
    """Two schedulers on PostgreSQL, one on SQLite. Whichever dies is there again at once, under another name."""

    world: World
    dice: random.Random
    killed: int = 0
    running: list[Scheduler] = field(default_factory=list)

    def __post_init__(self) -> None:
        two = self.world.databases[0] is not self.world.databases[1]
        self._desks = [
            ToyDesk(database, self.world.clock, self.world.desk.rung, self._dies)
            for database in (self.world.databases if two else self.world.databases[:1])
        ]
        self.running = [self._start(number) for number in range(len(self._desks))]

    def _dies(self, _point: str) -> bool:
        death = self.dice.random() < 0.04
        self.killed += death
        return death

    def _start(self, number: int) -> Scheduler:
        name = f"{'ab'[number]}{self.killed}"
        return self.world.node(name, pace=1_000_000, desk=self._desks[number])

    async def step(self) -> float:
        """Each takes a step, all at once; for how many seconds none has anything to do."""
        waits = await asyncio.gather(*(alive(node.step()) for node in self.running))
        for number, wait in enumerate(waits):
            if wait is None:
                self.running[number] = self._start(number)
        return min(wait or 0.0 for wait in waits)

    def let_live(self) -> None:
        for desk in self._desks:
            desk.dies = lambda _point: False


async def alive(step: object) -> float | None:
    """What the step answers; None when its process died."""
    try:
        return await step  # type: ignore[misc,no-any-return]
    except Killed:
        return None


async def made(world: World, begin: datetime, dice: random.Random) -> Made:
    """One that is due at some minute of one, of three or of all hours of each day."""
    zone, minute = ZoneInfo(dice.choice(ZONES)), dice.randrange(60)
    first = dice.randrange(5)
    hours, rule = dice.choice([
        ([first], f"FREQ=DAILY;BYHOUR={first};BYMINUTE={minute}"),
        ([1, 2, 3], f"FREQ=WEEKLY;BYDAY=SA,SU;BYHOUR=1,2,3;BYMINUTE={minute}"),
        (list(range(24)), f"FREQ=HOURLY;BYMINUTE={minute}"),
    ])  # fmt: skip
    midnight = begin.replace(hour=0, minute=0) - timedelta(days=1)
    shown = (
        (midnight + timedelta(days=day)).replace(hour=hour, minute=minute, tzinfo=zone)
        for day in range(10)
        for hour in hours
    )
    # A local time that is skipped moves on by the gap, of one that comes twice the first counts.
    moments = {local.astimezone(UTC) for local in shown if len(hours) != 3 or local.weekday() in {5, 6}}
    due = frozenset(moment for moment in moments if begin <= moment < begin + NIGHT)
    local = begin.astimezone(zone).replace(tzinfo=None) - timedelta(days=7)
    schedule = await world.add(
        min(moment for moment in moments if moment >= begin), rrule=rule, timezone=zone.key,
        local_time=local.isoformat(), window_s=WINDOW_S,
    )  # fmt: skip
    return Made(schedule, due)


async def a_night(world: World, nodes: Nodes, end: datetime) -> None:
    """Until all that is due before `end` is dealt with; now and then everybody is away for longer than calls wait."""
    while True:
        wait, now = await nodes.step(), world.clock.utc()
        if nodes.dice.random() < 0.02:
            await leases_run_out(world)  # also those of a node that only was slow
        if nodes.dice.random() < 0.002:
            world.clock.move(WINDOW_S + 15)
        elif wait > 0:
            async with world.databases[0].read() as tx:
                due_at = await schedules.next_due_at(tx)
            busy = await rows(world.databases[0], "SELECT 1 FROM scheduled_calls WHERE status = 'claimed'")
            if due_at is None or due_at > now:
                await leases_run_out(world)
            if not busy and (due_at is None or due_at >= end):
                return
            if due_at is not None and not busy:
                world.clock.move(max(0.01, (due_at - now).total_seconds()))
            else:
                world.clock.move(min(wait, 1.0))


async def end_as_recovery_would(world: World, rung: set[str]) -> None:
    """Calls that were rung complete; those whose process died before they were end failed, unknown to the carrier."""
    completed = (
        "UPDATE calls SET status = 'completed', twilio_call_sid = 'CA' || CAST(:id AS TEXT), answered_at = created_at"
        " WHERE scheduled_call_id = :id"
    )
    async with world.databases[0].write() as tx:
        await tx.execute(text("UPDATE calls SET status = 'failed', status_rank = 4"))
        await tx.execute(text(completed), [{"id": ident} for ident in sorted(rung)])


@pytest.mark.parametrize("night", list(NIGHTS))
@pytest.mark.parametrize("count", [40, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.slow])])
async def test_each_run_rings_once_or_is_visibly_missed(
    two_nodes: tuple[Database, Database], night: str, count: int
) -> None:
    begin, dice = NIGHTS[night], random.Random(f"{night} {count}")
    world = World(two_nodes, ManualClock(begin))
    all_made = [await made(world, begin, dice) for _ in range(count)]
    nodes = Nodes(world, dice)
    await a_night(world, nodes, begin + NIGHT)
    nodes.let_live()
    dialled = [dial for dial, _ in world.desk.rung]
    assert len(dialled) == len(set(dialled)), "nobody was rung twice"
    await end_as_recovery_would(world, set(dialled))
    for _ in range(2 + len(dialled) // 50):
        await nodes.step()
    expected = {
        f"{each.schedule.id}.{moment:%Y%m%dT%H%M%S}.0": moment for each in all_made for moment in each.due
    }
    tries = await rows(world.databases[0], "SELECT id, status FROM scheduled_dials")
    assert {ident for ident, _ in tries} == set(expected), "every run is on record, and none that is not one"
    assert {ident for ident, status in tries if status == "dialed"} == set(dialled)
    assert {status for _, status in tries} <= {"dialed", "missed", "failed"}
    for dial, at in world.desk.rung:
        late = at - expected[dial]
        assert timedelta(0) <= late <= timedelta(seconds=WINDOW_S)
    assert nodes.killed > len(tries) / 20
    assert len(dialled) > len(tries) / 2
    print(f"{night}: {count} schedules, {len(tries)} runs, {nodes.killed} kills, {len(dialled)} rung")
