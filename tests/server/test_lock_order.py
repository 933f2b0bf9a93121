"""Locks on PostgreSQL are taken in one order: whoever waits for the first of two does not hold the second yet.

Each test has an account locked, waits until something stands before it, and takes what comes behind the account.
Taken in the other order, each would wait for the other, and the database would have one of them fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text, update

from pipeline.clock import Clock
from pipeline.core import events as ev
from pipeline.core.effects import OptedOut
from pipeline.journal_file import JournalFile
from server.money.flush import Account, Flush
from server.news import News
from server.recovery.rebuilding import catch_up
from server.recovery.settling import told
from storage import calls, dials, inbound, ledger, opt_outs, tables
from storage.db import Database, Tx
from storage.ids import new_id
from storage.records import CallRow, NewCall
from tests.core.story import Story, started
from tests.server.inbound.test_reception import PIN, Caller, serving, with_pin
from tests.server.money.test_flush import Watcher
from tests.server.recovery.test_orphans import HELD, World, data, opened
from tests.server.rig import NOON, PHONE
from tests.server.test_at_the_same_moment import elsewhere
from tests.storage.world import book

Pair = tuple[Database, Database]


async def somebody_waits(tx: Tx) -> None:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    async with asyncio.timeout(60):
        while not (await tx.execute(query)).scalar_one():
            pass


@asynccontextmanager
async def opted_out(pair: Pair, folder: Path) -> AsyncIterator[tuple[World, CallRow, str]]:
    """A call of a process that is gone, in whose journal the callee keys 9; and its number."""
    async with opened(*pair, folder) as world:
        row = await world.call()
        async with world.database.read() as tx:
            prices = tuple(await book(tx))
        story = Story(started(prices=prices)).answer().hear_out()
        story.post(lambda at: ev.DigitPressed(at, "9")).run(500)
        data(story.steps, world.journal(row))
        assert row.phone_e164 is not None
        yield world, row, row.phone_e164


async def has_opted_out(database: Database, number: str) -> bool:
    async with database.read() as tx:
        return await opt_outs.has(tx, number)


async def test_a_flush_writes_who_wants_no_more_calls_behind_the_money(
    postgres_pair: Pair, tmp_path: Path
) -> None:
    ours, theirs = postgres_pair
    async with opened(ours, theirs, tmp_path) as world, asyncio.TaskGroup() as tasks:
        row = await world.call()
        assert row.phone_e164 is not None
        flush = Flush(ours, Clock(), News(), "dead")
        account = Account(row.id, 1, JournalFile(tmp_path / "c.journal"), row.user_id, HELD)
        flush.open(account, Watcher([]))
        account.wanted = HELD
        account.notes.append(OptedOut("voice"))
        async with theirs.write() as tx:
            await ledger.lock_account(tx, row.user_id)
            flushing = tasks.create_task(flush.once())
            await somebody_waits(tx)
            await dials.alone(tx, row.phone_e164)
        await flushing
        account.journal.close()
        assert account.notes == []
        assert await has_opted_out(ours, row.phone_e164)


async def test_a_dead_process_s_call_is_settled_before_its_number_is_locked(
    postgres_pair: Pair, tmp_path: Path
) -> None:
    async with opted_out(postgres_pair, tmp_path) as (world, row, number), asyncio.TaskGroup() as tasks:
        async with postgres_pair[1].write() as tx:
            await ledger.lock_account(tx, row.user_id)
            settling = tasks.create_task(world.orphans.settle_all())
            await somebody_waits(tx)
            await dials.alone(tx, number)
        assert await settling == 1
        assert await has_opted_out(world.database, number)


async def test_a_call_is_caught_up_with_under_its_account(postgres_pair: Pair, tmp_path: Path) -> None:
    async with opted_out(postgres_pair, tmp_path) as (world, row, number), asyncio.TaskGroup() as tasks:

        async def caught_up() -> bool:
            async with world.database.write() as tx:
                fresh = await catch_up(tx, row, told(tmp_path, row), node="us", now=NOON)
                await ledger.lock_account(tx, row.user_id)  # as who tops its hold up does
                return fresh

        async with postgres_pair[1].write() as tx:
            await ledger.lock_account(tx, row.user_id)
            catching = tasks.create_task(caught_up())
            await somebody_waits(tx)
            await dials.alone(tx, number)
        assert await catching
        assert await has_opted_out(world.database, number)


async def test_an_account_goes_behind_the_calls_it_has(tmp_path: Path, postgres_url: str) -> None:
    async with serving(tmp_path, database_url=postgres_url) as rig, asyncio.TaskGroup() as tasks:
        ann = await with_pin(rig)
        over = NewCall(
            id=new_id(), user_id=ann.id, persona_id="brad", channel="phone", created_at=rig.clock.utc(),
            price_ids=(), owner="gone",
        )  # fmt: skip
        async with rig.parts.database.write() as tx:
            await calls.create(tx, over)
            await tx.execute(
                update(tables.calls).where(tables.calls.c.id == over.id).values(final_at=rig.clock.utc())
            )
        async with elsewhere(rig, postgres_url) as tx:
            assert await calls.lock(tx, over.id) is not None  # as who adjusts it does
            erasing = tasks.create_task(ann.ask("DELETE", "/api/me"))
            await somebody_waits(tx)
            await ledger.lock_account(tx, ann.id)
        assert (await erasing).status_code == 204


async def test_who_is_put_through_has_their_account_before_the_row_of_their_ring(
    tmp_path: Path, postgres_url: str
) -> None:
    async with serving(tmp_path, database_url=postgres_url) as rig, asyncio.TaskGroup() as tasks:
        ann = await with_pin(rig)
        caller = Caller(rig, PHONE)
        await caller.rings()
        async with elsewhere(rig, postgres_url) as tx:
            await ledger.lock_account(tx, ann.id)
            keying = tasks.create_task(caller.keys(PIN))
            await somebody_waits(tx)
            await inbound.forget_guesses(tx, ann.id)
        assert (await keying)[0] == "Connect"
