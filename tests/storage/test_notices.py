"""LISTEN and NOTIFY as the bus needs them; the bus itself has its contract suite."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from storage import notices
from storage.db import Database, DatabaseDown
from storage.notices import MAX_BYTES, PARCEL_LIFE, Notices
from tests.storage.world import NASTY, NOON, rows

Pair = tuple[Database, Database]


async def test_a_text_is_heard_when_its_transaction_commits_and_only_then(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = Notices(ours, ["one", "Two"], heard.put_nowait, lambda: None)
    await listening.open()
    with suppress(ZeroDivisionError):
        async with theirs.write() as tx:
            await notices.notify(tx, "one", "rolled back")
            raise ZeroDivisionError
    async with theirs.write() as tx:
        await notices.notify(tx, "other channel", "unheard")
        await notices.notify(tx, "Two", NASTY)
        await notices.notify(tx, "one", "é" * (MAX_BYTES // 2))
        assert heard.empty()
    async with asyncio.timeout(60):
        assert [await heard.get(), await heard.get()] == [NASTY, "é" * (MAX_BYTES // 2)]
    await listening.close()
    await listening.close()


async def test_a_long_text_is_refused_before_postgres_does(postgres_pair: Pair) -> None:
    async with postgres_pair[0].write() as tx:
        with pytest.raises(ValueError, match="short"):
            await notices.notify(tx, "one", "é" * MAX_BYTES)


async def test_a_connection_that_is_cut_is_told_and_noticed(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    lost = asyncio.Event()
    listening = Notices(ours, ["one"], lambda _text: None, lost.set)
    await listening.open()
    await listening.check()
    await rows(
        theirs,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    async with asyncio.timeout(60):
        await lost.wait()
    with pytest.raises(DatabaseDown):
        await listening.check()
    await listening.close()


async def test_a_parcel_waits_for_all_who_may_fetch_it_and_is_cleared_away_later(database: Database) -> None:
    async with database.write() as tx:
        first = await notices.post_parcel(tx, NASTY, NOON)
        second = await notices.post_parcel(tx, "second", NOON + PARCEL_LIFE)
        assert [await notices.parcel(tx, first), await notices.parcel(tx, first)] == [NASTY, NASTY]
        await notices.post_parcel(tx, "third", NOON + PARCEL_LIFE + timedelta(seconds=1))
        assert await notices.parcel(tx, first) is None
        assert await notices.parcel(tx, second) == "second"
