"""The runner of jobs: done, again, failing with growing pauses, dead, bounded, over a database that comes and goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update

from pipeline.core.effects import TurnTaken
from pipeline.core.money import Millis
from server.jobs import AT_ONCE, ATTEMPTS, Handler, Jobs, pause
from server.privacy.retention import KIND, Retention
from storage import calls, jobs, ledger, notes, tables
from storage.db import Database
from tests.server.rig import NOON, ManualClock
from tests.server.scheduling import World
from tests.storage.world import call, person, rows


@pytest.fixture
async def database(migrated_sqlite: str) -> AsyncIterator[Database]:
    opened = Database.open(migrated_sqlite)
    yield opened
    await opened.aclose()


async def added(database: Database, *ids: str) -> None:
    async with database.write() as tx:
        for job_id in ids:
            await jobs.add(tx, job_id, "work", f'{{"id":"{job_id}"}}', NOON)


def runner(database: Database, clock: ManualClock, work: Handler, *, open_: bool = True) -> Jobs:
    return Jobs(database=database, clock=clock, node="a", handlers={"work": work}, taking=lambda: open_)


async def look(runner: Jobs) -> None:
    """One look at the table, and the jobs it takes run to their end."""
    async with asyncio.TaskGroup() as tasks:
        await runner.look(tasks)


async def test_a_job_is_done_once_with_its_payload(database: Database) -> None:
    seen: list[Any] = []

    async def work(payload: dict[str, Any]) -> None:
        seen.append(payload)

    await added(database, "one")
    runs = runner(database, ManualClock(), work)
    for _ in range(2):
        await look(runs)
    assert seen == [{"id": "one"}]
    assert await rows(database, "SELECT status, error FROM jobs") == [("done", "")]


async def test_a_job_that_names_a_moment_runs_again_then(database: Database) -> None:
    clock, seen = ManualClock(), list[datetime]()

    async def work(_payload: dict[str, Any]) -> datetime:
        seen.append(clock.utc())
        return clock.utc() + timedelta(hours=1)

    await added(database, "one")
    runs = runner(database, clock, work)
    for wait in (0, 3_599, 1, 10):
        clock.move(wait)
        await look(runs)
    assert seen == [NOON, NOON + timedelta(hours=1)]


async def test_a_failing_job_waits_longer_each_time_and_then_lies_dead_and_counted(
    database: Database,
) -> None:
    clock, tries = ManualClock(), list[datetime]()

    async def work(_payload: dict[str, Any]) -> None:
        tries.append(clock.utc())
        raise ValueError("secret text")

    await added(database, "one")
    runs = runner(database, clock, work)
    for number in range(ATTEMPTS + 2):
        await look(runs)
        clock.move(pause(number + 1).total_seconds())
    assert len(tries) == ATTEMPTS
    assert await rows(database, "SELECT status, error FROM jobs") == [("dead", "ValueError")]
    assert REGISTRY.get_sample_value("callmeback_jobs", {"kind": "work", "state": "dead"}) == 1
    waits = [pause(number).total_seconds() for number in range(1, ATTEMPTS)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (10, 3600)


async def test_what_comes_round_again_and_again_is_never_given_up(database: Database) -> None:
    clock, tries = ManualClock(), list[datetime]()

    async def work(_payload: dict[str, Any]) -> datetime:
        tries.append(clock.utc())
        if len(tries) <= ATTEMPTS + 2:
            raise ValueError
        return clock.utc() + timedelta(days=1)

    def shown(state: str) -> float | None:
        return REGISTRY.get_sample_value("callmeback_jobs", {"kind": "work", "state": state})

    await added(database, "one")
    runs = Jobs(
        database=database, clock=clock, node="a", handlers={"work": work}, taking=lambda: True, lasting={"work"}
    )  # fmt: skip
    for number in range(ATTEMPTS + 2):
        await look(runs)
        clock.move(pause(number + 1).total_seconds())
    assert len(tries) == ATTEMPTS + 2
    assert await rows(database, "SELECT status FROM jobs") == [("pending",)]
    await look(runs)
    assert (shown("waiting"), shown("failing"), shown("dead")) == (0, 1, 0), (
        "not hidden among those that wait"
    )
    await look(runs)
    assert (shown("waiting"), shown("failing"), shown("dead")) == (1, 0, 0), "the last try did it"


async def test_only_so_many_at_once_and_none_while_draining(database: Database) -> None:
    going, most = 0, 0
    free = asyncio.Event()

    async def work(_payload: dict[str, Any]) -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await free.wait()
        going -= 1

    await added(database, *(f"job{number}" for number in range(AT_ONCE + 3)))
    await look(runner(database, ManualClock(), work, open_=False))
    assert most == 0
    runs = runner(database, ManualClock(), work)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            await runs.look(tasks)
        free.set()
    assert most == AT_ONCE
    await look(runs)
    assert await rows(database, "SELECT DISTINCT status FROM jobs") == [("done",)]


async def test_it_runs_by_itself_and_stops_when_told(database: Database) -> None:
    ran = asyncio.Event()

    async def work(_payload: dict[str, Any]) -> None:
        ran.set()

    await added(database, "one")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(runner(database, ManualClock(), work).run())
        await ran.wait()
        running.cancel()


async def test_an_answer_that_cannot_be_noted_is_this_jobs_trouble_alone(database: Database) -> None:
    done: list[str] = []

    async def work(payload: dict[str, Any]) -> datetime | None:
        if payload["id"] == "bad":
            return datetime(2026, 1, 1)  # noqa: DTZ001  # no moment without its offset
        done.append(payload["id"])
        return None

    await added(database, "bad", "good")
    await look(runner(database, ManualClock(), work))
    assert done == ["good"]
    assert await rows(database, "SELECT id, status FROM jobs ORDER BY id") == [
        ("bad", "claimed"),
        ("good", "done"),
    ]


async def test_a_look_that_fails_ends_nothing_else(database: Database) -> None:
    """What runs in the same process, live calls above all, must not end for it."""
    looked = asyncio.Event()

    def taking() -> bool:
        looked.set()
        raise ZeroDivisionError

    async def work(_payload: dict[str, Any]) -> None:
        raise AssertionError("nothing is taken")

    await added(database, "one")
    runs = Jobs(database=database, clock=ManualClock(), node="a", handlers={"work": work}, taking=taking)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(runs.run())
        await looked.wait()
        await asyncio.sleep(0)
        assert not running.done()
        running.cancel()


async def test_retention_takes_the_words_and_leaves_the_costs(database: Database, tmp_path: Path) -> None:
    clock, folder = ManualClock(), tmp_path / "calls"
    folder.mkdir()
    async with database.write() as tx:
        user = await person(tx)
        old = await call(tx, user, at=NOON - timedelta(days=40))
        new = await call(tx, user, at=NOON - timedelta(days=2))
        for made, days in ((old, 31), (new, 2)):
            ended = NOON - timedelta(days=days)
            filled = update(tables.calls).where(tables.calls.c.id == made.id)
            await tx.execute(filled.values(variables='{"place": "the pier"}'))
            words = "my platypus" if made is old else "my secret"
            said = TurnTaken(0, "caller", words, Millis(0), Millis(900), interrupted=False)
            await notes.write(tx, made.id, [said], ended)
            await calls.advance(tx, made.id, "completed", at=ended, carrier_seconds=60)
            await ledger.finalise(tx, call_id=made.id, epoch=1, now=ended)
            for end in ("journal", "wav"):
                (folder / f"{made.id}.{end}").write_text("sound")
    (folder / "notes.txt").write_text("not a call's")
    retention = Retention(database, clock, folder, days=30)
    assert await retention.clear({}) == NOON + timedelta(days=1)
    if database.dialect == "sqlite":
        index = "SELECT count(*) FROM turn_search_data WHERE instr(block, CAST('platypus' AS BLOB)) > 0"
        assert await rows(database, index) == [(0,)], "nor does the index have them"
    assert await retention.unlink_cleared() == 2
    assert {file.name for file in folder.iterdir()} == {f"{new.id}.journal", f"{new.id}.wav", "notes.txt"}
    assert await rows(database, "SELECT call_id FROM call_turns") == [(new.id,)]
    assert await rows(database, "SELECT variables FROM calls ORDER BY created_at") == [
        ("{}",), ('{"place": "the pier"}',),
    ]  # fmt: skip
    kept = await rows(
        database,
        "SELECT id, COALESCE(phone_e164, 'none') || ' ' || carrier_seconds FROM calls ORDER BY created_at",
    )
    assert kept == [(old.id, "none 60"), (new.id, "+12025550123 60")]
    await retention.plan()
    await retention.plan()
    assert await rows(database, "SELECT id FROM jobs") == [(KIND,)]
    assert await retention.unlink_cleared() == 0


async def test_files_whose_call_is_gone_go_unless_it_may_be_just_beginning(
    database: Database, tmp_path: Path
) -> None:
    clock, folder = ManualClock(), tmp_path / "calls"
    folder.mkdir()
    gone, beginning, before = "a" * 32, "b" * 32, (NOON - timedelta(hours=2)).timestamp()
    names = (f"{gone}.journal", f"{gone}.2.wav", "holiday.wav", f"{gone}-replayed.wav")
    for name in names:
        (folder / name).write_text("sound")
        os.utime(folder / name, (before, before))
    (folder / f"{beginning}.journal").write_text("its row is not committed yet")
    os.utime(folder / f"{beginning}.journal", (NOON.timestamp(), NOON.timestamp()))
    assert await Retention(database, clock, folder, days=30).unlink_cleared() == 2
    assert {file.name for file in folder.iterdir()} == {
        f"{beginning}.journal", "holiday.wav", f"{gone}-replayed.wav",
    }  # fmt: skip


async def test_retention_forgets_schedules_that_are_over_and_old_tries(
    database: Database, tmp_path: Path
) -> None:
    world = World((database, database))
    over = await world.add(NOON - timedelta(days=31))
    daily = await world.daily("2026-11-22T12:00:00")
    await world.settle(world.node())
    assert (await world.seen(over)).status == "missed"
    retention = Retention(database, world.clock, tmp_path, days=30)
    await retention.clear({})
    assert await rows(database, "SELECT id FROM scheduled_calls") == [(daily.id,)]
    world.clock.move(40 * 86_400)
    await retention.clear({})
    assert (await world.seen(daily)).status == "pending", "what is to come stays, late or not"
