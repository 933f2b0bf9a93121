"""Calls: placed once a key, moved only upwards, the same in the end whatever order the news came in."""

import asyncio
from itertools import permutations
from typing import TypedDict

import pytest

from storage import calls, ledger, turns
from storage.db import Database, Tx
from storage.records import CallRow, CallStatus, IdemTaken, TurnRow
from tests.storage.world import (
    DOLLAR,
    LINES,
    NASTY,
    NOON,
    book,
    call,
    charges,
    completed,
    held_call,
    later,
    patiently,
    person,
    tile,
)


async def test_a_call_comes_back_as_it_was_placed(database: Database) -> None:
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)
        placed = await call(tx, user, key="k")
        assert (placed.status, placed.epoch, placed.owner, placed.created_at) == ("queued", 1, "node", NOON)
        assert (placed.total_nano, placed.settled_nano, placed.last_seq, placed.final_at) == (0, 0, 0, None)
        assert len(placed.price_ids) > 3
        assert await calls.get(tx, placed.id) == placed
        assert await calls.get_for(tx, user.id, placed.id) == placed
        assert await calls.get_for(tx, other.id, placed.id) is None
        assert await calls.by_idem(tx, user.id, "k") == placed
        assert await calls.by_idem(tx, other.id, "k") is None
        assert await calls.get(tx, "none") is None
        assert await calls.by_sid(tx, "CA1") is None
        await calls.advance(tx, placed.id, "initiated", at=NOON, sid="CA1")
        found = await calls.by_sid(tx, "CA1")
        assert found is not None
        assert found.id == placed.id


async def test_a_key_places_one_call(database: Database) -> None:
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)

    async def place(tx: Tx) -> str:
        try:
            return (await call(tx, user, key="k")).id
        except IdemTaken as taken:
            return taken.existing.id

    assert len(set(await asyncio.gather(*(patiently(database, place) for _ in range(6))))) == 1
    async with database.write() as tx:
        await call(tx, other, key="k")
        await call(tx, user)
        await call(tx, user)
        page = await calls.page(tx, user.id, None, 2)
        rest = await calls.page(tx, user.id, page.next_cursor, 2)
        assert (len(page.items), len(rest.items), rest.next_cursor) == (2, 1, None)


class News(TypedDict, total=False):
    status: CallStatus
    second: float
    sid: str
    end_reason: str
    carrier_seconds: int


async def tell(tx: Tx, call_id: str, news: News) -> bool:
    return await calls.advance(
        tx,
        call_id,
        news["status"],
        at=later(news["second"]),
        sid=news.get("sid"),
        end_reason=news.get("end_reason"),
        carrier_seconds=news.get("carrier_seconds"),
    )


CALLBACKS: tuple[News, ...] = (
    {"status": "initiated", "second": 0, "sid": "CA"},
    {"status": "ringing", "second": 1},
    {"status": "in-progress", "second": 4},
    {"status": "in-progress", "second": 5},  # the media stream says so too
    {"status": "completed", "second": 65, "end_reason": "budget"},
    {"status": "completed", "second": 66, "carrier_seconds": 61},
)


async def test_six_callbacks_end_the_same_in_all_720_orders(database: Database) -> None:
    ends = set()
    async with database.write() as tx:
        user, prices = await person(tx), await book(tx)
        for order in permutations(CALLBACKS):
            placed = await call(tx, user, prices=prices)
            for news in order:
                await tell(tx, placed.id, {**news, "sid": f"CA{placed.id}"} if "sid" in news else news)
        ended = await calls.live(tx)
        assert len(ended) == 720
        for end in ended:
            assert end.sid == f"CA{end.id}"
            ends.add((end.status, end.answered_at, end.ended_at, end.end_reason, end.carrier_seconds))
    assert ends == {("completed", later(4), later(65), "budget", 61)}


@pytest.mark.parametrize("end", ["completed", "busy", "no-answer", "failed", "canceled"])
async def test_a_terminal_status_sticks(database: Database, end: CallStatus) -> None:
    async with database.write() as tx:
        placed = await call(tx, await person(tx))
        path: tuple[CallStatus, ...] = ("initiated", "ringing", end)
        assert [await calls.advance(tx, placed.id, status, at=NOON) for status in path] == [True] * 3
        after: tuple[CallStatus, ...] = (
            "queued",
            "initiated",
            "ringing",
            "in-progress",
            "completed",
            "failed",
        )
        assert [await calls.advance(tx, placed.id, status, at=NOON) for status in after] == [False] * 6
        stuck = await calls.get(tx, placed.id)
        assert stuck is not None
        assert stuck.status == end
        assert not await calls.advance(tx, "none", "completed", at=NOON)


async def test_the_first_reason_and_given_times_are_kept(database: Database) -> None:
    async with database.write() as tx:
        placed = await call(tx, await person(tx))
        await calls.advance(tx, placed.id, "in-progress", at=later(9), answered_at=later(3))
        await calls.advance(tx, placed.id, "completed", at=later(99), ended_at=later(50), end_reason="credit")
        await calls.advance(tx, placed.id, "completed", at=later(99), end_reason="caller_hung_up")
        end = await calls.get(tx, placed.id)
        assert end is not None
        assert (end.answered_at, end.ended_at, end.end_reason) == (later(3), later(50), "credit")


async def test_live_is_what_is_not_settled_and_busy_what_is_not_over(database: Database) -> None:
    def ids(found: list[CallRow]) -> list[str]:
        return [item.id for item in found]

    async with database.write() as tx:
        user = await person(tx)
        ringing = await call(tx, user)
        over = await call(tx, user, at=later(1), owner="other node")
        final = await call(tx, user, at=later(2))
        await completed(tx, over.id)
        await completed(tx, final.id)
        await ledger.finalise(tx, call_id=final.id, epoch=1, now=NOON)
        assert ids(await calls.live(tx)) == [ringing.id, over.id]
        assert ids(await calls.live(tx, "other node")) == [over.id]
        assert ids(await calls.live(tx, "nobody")) == []
        assert await calls.count_live(tx, user.id) == 1


async def test_a_turn_is_written_once(database: Database) -> None:
    async with database.write() as tx:
        placed = await call(tx, await person(tx))
        assert await turns.add(tx, placed.id, 1, "agent", NASTY, 900, 1800, interrupted=True)
        assert await turns.add(tx, placed.id, 0, "caller", "hi", 0, 500, interrupted=False)
        assert not await turns.add(tx, placed.id, 1, "caller", "else", 0, 0, interrupted=False)
        assert await turns.of_call(tx, placed.id) == [
            TurnRow(0, "caller", "hi", 0, 500, interrupted=False),
            TurnRow(1, "agent", NASTY, 900, 1800, interrupted=True),
        ]
        assert await turns.of_call(tx, "none") == []


async def test_an_open_call_is_claimed_once_an_epoch(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await held_call(tx, user, 1_000)

    async def take(owner: str) -> CallRow | None:
        async with database.write() as tx:
            return await calls.claim(tx, placed.id, 1, owner)

    won = [row for row in await asyncio.gather(*(take(owner) for owner in "abc")) if row is not None]
    assert [(row.id, row.epoch) for row in won] == [(placed.id, 2)]
    assert won[0].owner in "abc"
    async with database.write() as tx:
        prices = await book(tx)
        stale = charges(placed.id, [tile(prices, 1, LINES["stt"], 0, 1)])
        assert await ledger.flush(tx, [stale]) == [placed.id], "whoever had it writes nothing more"
        await completed(tx, placed.id)
        await ledger.finalise(tx, call_id=placed.id, epoch=2, now=NOON)
        assert await calls.claim(tx, placed.id, 2, "d") is None
        assert await calls.claim(tx, "none", 1, "d") is None
