"""A call that is being placed, and what forbids it at that very moment: one waits for the other, on PostgreSQL too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from pipeline.engines.scripted import LoudnessActivity, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.ports import Engines
from server.calls.live import open_desk
from server.money.admission import Admissions
from server.parts import PlaceCall
from storage import calls, opt_outs, users
from storage.db import Database, DatabaseDown, Tx
from tests.server.rig import PHONE, LoopClock, Person, RecordingCarrier, Rig, running, settings
from tests.server.test_permits import SCRIPTED
from tests.server.test_placing import ready

ORDER = PlaceCall("brad", None, "", 2, "phone")


@asynccontextmanager
async def serving(tmp_path: Path, url: str) -> AsyncIterator[tuple[Rig, Person]]:
    given = settings(tmp_path, **SCRIPTED, database_url=url)
    async with running(given, open_desk, RecordingCarrier(), LoopClock()) as rig:
        yield rig, await ready(rig)


@asynccontextmanager
async def elsewhere(rig: Rig, url: str) -> AsyncIterator[Tx]:
    """A transaction of another node."""
    database = Database.open(url)
    database.number_key.value = rig.parts.database.number_key.value
    try:
        async with database.write() as tx:
            yield tx
    finally:
        await database.aclose()


async def place(tx: Tx, rig: Rig, ann: Person) -> str:
    """As another node places a call of hers; the call's id."""
    engines = Engines(LoudnessActivity(), ScriptedTranscriber([]), ScriptedThinker([]), ScriptedSpeaker())
    user = await users.by_id(tx, ann.id)
    assert user is not None
    admitted = await Admissions(rig.parts.settings, engines, rig.clock, "other").admit(tx, user, ORDER, None)
    assert admitted.permit is not None
    return admitted.row.id


async def waits(tx: Tx, asked: asyncio.Task[httpx.Response]) -> bool:
    """Whether the request stands before a lock of this transaction; False once it is answered."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    async with asyncio.timeout(60):
        while not asked.done():
            if (await tx.execute(query)).scalar_one():
                return True
    return False


async def test_an_account_with_a_call_that_is_being_placed_stays(tmp_path: Path, postgres_url: str) -> None:
    async with serving(tmp_path, postgres_url) as (rig, ann), asyncio.TaskGroup() as tasks:
        async with elsewhere(rig, postgres_url) as tx:
            call = await place(tx, rig, ann)
            erased = tasks.create_task(ann.ask("DELETE", "/api/me"))
            assert await waits(tx, erased)
        assert ((await erased).status_code, (await erased).json()["code"]) == (409, "call_in_progress")
        async with rig.parts.database.read() as tx:
            assert await calls.get(tx, call) is not None


async def test_a28_an_opt_out_finds_the_call_that_is_being_placed(tmp_path: Path, postgres_url: str) -> None:
    async with serving(tmp_path, postgres_url) as (rig, ann), asyncio.TaskGroup() as tasks:
        async with elsewhere(rig, postgres_url) as tx:
            await place(tx, rig, ann)
            asked = tasks.create_task(ann.post("/api/opt-out"))
            assert await waits(tx, asked)
        assert (await asked).status_code == 204


@pytest.mark.parametrize(("what", "reason"), [("opt-out", "opted_out"), ("proof", "unverified")])
async def test_a28_what_forbids_a_call_that_is_being_placed_is_waited_for(
    tmp_path: Path, postgres_url: str, what: str, reason: str
) -> None:
    async with serving(tmp_path, postgres_url) as (rig, ann), asyncio.TaskGroup() as tasks:
        bob = await rig.register("bob@example.com")
        async with elsewhere(rig, postgres_url) as tx:
            if what == "opt-out":
                await opt_outs.add(tx, PHONE, "sms", rig.clock.utc())
            else:
                await users.mark_verified(tx, bob.id, PHONE, rig.clock.utc())
            asked = tasks.create_task(ann.post("/api/calls", {"persona_id": "brad"}))
            assert await waits(tx, asked)
        assert ((await asked).status_code, (await asked).json()["reason"]) == (403, reason)
        assert rig.carrier.dialled == []


async def test_two_proofs_of_each_others_numbers_do_not_lock_each_other_up(
    tmp_path: Path, postgres_url: str
) -> None:
    async with serving(tmp_path, postgres_url) as (rig, ann):
        bob, other = await rig.register("bob@example.com"), "+12025550143"
        await bob.verify_phone(other)

        waited: list[DatabaseDown] = []

        async def prove(person: Person, number: str) -> None:
            try:
                async with rig.parts.database.write() as tx:
                    await users.mark_verified(tx, person.id, number, rig.clock.utc())
            except DatabaseDown as error:
                waited.append(error)

        for _ in range(20):
            async with asyncio.TaskGroup() as both:
                both.create_task(prove(ann, other))
                both.create_task(prove(bob, PHONE))
            async with asyncio.TaskGroup() as both:
                both.create_task(prove(ann, PHONE))
                both.create_task(prove(bob, other))
        assert len(waited) <= 2, (
            "a machine that stood still may be waited for; in the wrong order nearly every round is"
        )
