"""Live events of a call on another node: the same ids, nothing lost, and nothing sent that nobody listens to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.clock import Clock, run_virtual
from server.news import Item, News
from server.nodes.bus import LocalBus, Wire, Word
from server.nodes.following import BATCH_CHARS, BATCH_ITEMS, LEASE_S, Following, Forwarding
from storage import calls, ledger
from storage.db import Database
from storage.records import CallRow
from tests.storage import world
from tests.twilio.rig import run_scaled

Pair = tuple[Database, Database]


@dataclass
class Node:
    """One node's news, and both halves of what it has to do with those of others."""

    bus: LocalBus
    news: News
    forwarding: Forwarding
    following: Following | None = None
    words: list[Word] = field(default_factory=list)
    lose: Callable[[Word], bool] = lambda word: False

    def heard(self, word: Word) -> None:
        self.words.append(word)
        if self.lose(word):
            return
        if word.kind == "follow":
            self.forwarding.heard(word)
        elif word.kind == "news" and self.following is not None:
            self.following.heard(word)

    def catch_up(self) -> None: ...


def node(name: str, wire: Wire) -> Node:
    bus, news = LocalBus(name, wire), News()
    return Node(bus, news, Forwarding(bus, news, Clock()))


@asynccontextmanager
async def linked(database: Database, *names: str) -> AsyncIterator[list[Node]]:
    wire = Wire()
    nodes = [node(name, wire) for name in names]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one.bus.run(one)) for one in nodes]
        running += [tasks.create_task(one.forwarding.run()) for one in nodes]
        for one in nodes:
            one.following = Following(database, one.bus, one.news, tasks)
        yield nodes
        for task in running:
            task.cancel()


async def placed(database: Database, owner: str) -> CallRow:
    async with database.write() as tx:
        return await world.call(tx, await world.person(tx), owner=owner)


def play(url: str, story: Callable[[Database], Awaitable[None]]) -> None:
    """On a loop that is faster than the clock, for what waits until somebody asks again."""

    async def main() -> None:
        database = Database.open(url)
        try:
            await story(database)
        finally:
            await database.aclose()

    run_scaled(main(), speed=8.0)


async def read(news: News, call_id: str, count: int, after: int = 0) -> list[Item]:
    listening = news.listen(call_id, after, ahead=True)
    async with asyncio.timeout(60):
        return [await anext(listening) for _ in range(count)]


async def test_a_listener_elsewhere_hears_what_was_and_what_comes_under_the_same_ids(two_nodes: Pair) -> None:
    call = await placed(two_nodes[0], "a")
    async with linked(two_nodes[0], "a", "b") as (a, b):
        for index in range(5):
            a.news.publish(call.id, "turn", {"index": index, "text": "é" * 3_000})
        assert b.following is not None
        with b.following.follow(call):
            heard = await read(b.news, call.id, 5)
            a.news.publish(call.id, "ended", {"status": "completed"})
            a.news.close(call.id)
            heard += [item async for item in b.news.listen(call.id, 5)]
    assert [(item.id, item.kind) for item in heard] == [(n, "turn") for n in range(1, 6)] + [(6, "ended")]
    assert [item.data.get("index") for item in heard[:5]] == [0, 1, 2, 3, 4]


def test_a_batch_that_was_lost_is_asked_for_again(migrated_url: str) -> None:
    async def story(database: Database) -> None:
        call = await placed(database, "a")
        async with linked(database, "a", "b") as (a, b):
            lost = iter([True, False, True, False, False, False, False, False])
            b.lose = lambda word: word.kind == "news" and next(lost, False)
            a.news.publish(call.id, "status", {"n": 1})
            assert b.following is not None
            with b.following.follow(call):
                await asyncio.sleep(0)
                a.news.publish(call.id, "status", {"n": 2})
                listening = b.news.listen(call.id, 0, ahead=True)
                async with asyncio.timeout(60):
                    reading = [await anext(listening), await anext(listening)]
                    a.news.publish(call.id, "status", {"n": 3})
                    a.news.publish(call.id, "status", {"n": 4})
                    reading += [await anext(listening), await anext(listening)]
        assert [(item.id, item.data["n"]) for item in reading] == [(1, 1), (2, 2), (3, 3), (4, 4)]

    play(migrated_url, story)


def test_a_new_conductor_counts_anew_and_ids_go_on_rising(migrated_url: str) -> None:
    async def story(database: Database) -> None:
        call = await placed(database, "a")
        async with linked(database, "a", "b", "c") as (a, b, c):
            a.news.publish(call.id, "status", {"of": "a"})
            a.news.publish(call.id, "status", {"of": "a"})
            assert b.following is not None
            with b.following.follow(call):
                heard = await read(b.news, call.id, 2)
                async with database.write() as tx:
                    assert await calls.claim(tx, call.id, call.epoch, "c") is not None
                c.news.publish(call.id, "status", {"of": "c"})
                heard += await read(b.news, call.id, 1, after=2)
        assert [(item.id, item.data["of"]) for item in heard] == [(1, "a"), (2, "a"), (3, "c")]

    play(migrated_url, story)


def test_a_conductor_that_is_gone_does_not_leave_listeners_waiting(migrated_url: str) -> None:
    async def story(database: Database) -> None:
        async with database.write() as tx:
            call = await world.held_call(tx, await world.person(tx, credit=world.DOLLAR), 1_000)
        async with linked(database, "a", "b") as (_, b):
            assert b.following is not None
            with b.following.follow(call):
                b.news.mirror(call.id, Item(1, "status", {"status": "in-progress"}))
                async with database.write() as tx:
                    await world.completed(tx, call.id)
                    await ledger.finalise(tx, call_id=call.id, epoch=call.epoch, now=world.NOON)
                async with asyncio.timeout(120):
                    heard = [item async for item in b.news.listen(call.id)]
        assert [item.kind for item in heard] == ["status", "cost", "ended"]
        assert heard[-1].data["status"] == "completed"

    play(migrated_url, story)


async def test_a_last_id_nobody_ever_reached_means_from_the_start(two_nodes: Pair) -> None:
    call = await placed(two_nodes[0], "a")
    async with linked(two_nodes[0], "a", "b") as (a, b):
        a.news.publish(call.id, "status", {"n": 1})
        a.news.publish(call.id, "status", {"n": 2})
        assert b.following is not None
        with b.following.follow(call):
            assert [item.id for item in await read(b.news, call.id, 2, after=900)] == [1, 2]


# -- how much is sent ------------------------------------------------------------------

LIVE = 100
SECONDS = 20


def traffic(followed: int) -> list[Word]:
    """What another node hears while a hundred calls cost something every second and so many are followed."""

    async def main() -> list[Word]:
        wire = Wire()
        a, b = node("a", wire), node("b", wire)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one.bus.run(one)) for one in (a, b)]
            running.append(tasks.create_task(a.forwarding.run()))
            await asyncio.sleep(0)  # they listen
            for second in range(SECONDS):
                for number in range(LIVE):
                    a.news.publish(f"{number:032}", "cost", {"second": second, "total_usd": "0.012345678"})
                    if second % 5 == 0 and number < followed:
                        await b.bus.tell(Word("follow", f"{number:032}", {"after": second}), to="a")
                await asyncio.sleep(1)
            for task in running:
                task.cancel()
        return b.words

    return run_virtual(main())


def test_a_hundred_calls_nobody_follows_send_nothing() -> None:
    assert traffic(0) == []


@pytest.mark.parametrize("followed", [1, 10, LIVE])
def test_a_hundred_calls_do_not_flood_the_bus(followed: int) -> None:
    """All that a second brought goes out together: a word or two, not one a call."""
    words = traffic(followed)
    items = [item for word in words for item in word.data["items"]]
    assert len({(call_id, ident) for call_id, ident, *_ in items}) == len(items), "none twice"
    assert followed * (SECONDS - 1) <= len(items) <= followed * SECONDS
    assert len(words) <= SECONDS * 4
    assert len(words) <= SECONDS * 2 or followed == LIVE


def test_a_lease_that_is_not_renewed_runs_out() -> None:
    async def main() -> None:
        wire = Wire()
        a, b = node("a", wire), node("b", wire)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one.bus.run(one)) for one in (a, b)]
            running.append(tasks.create_task(a.forwarding.run()))
            await asyncio.sleep(0)  # they listen
            a.news.publish("c", "status", {})
            await b.bus.tell(Word("follow", "c", {"after": 0}), to="a")
            await asyncio.sleep(LEASE_S + 1)
            assert len(b.words) == 1
            a.news.publish("c", "status", {})
            await asyncio.sleep(1)
            assert len(b.words) == 1
            for task in running:
                task.cancel()

    run_virtual(main())


def test_a_long_history_goes_out_in_pieces_and_in_order() -> None:
    async def main() -> None:
        wire = Wire()
        a, b = node("a", wire), node("b", wire)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one.bus.run(one)) for one in (a, b)]
            running.append(tasks.create_task(a.forwarding.run()))
            await asyncio.sleep(0)  # they listen
            for index in range(3 * BATCH_ITEMS):
                a.news.publish("c", "turn", {"index": index, "text": "x" * 100})
            await b.bus.tell(Word("follow", "c", {"after": 0}), to="a")
            await asyncio.sleep(5)
            for task in running:
                task.cancel()
        idents = [item[1] for word in b.words for item in word.data["items"]]
        assert idents == list(range(1, 3 * BATCH_ITEMS + 1))
        assert max(len(str(word.data)) for word in b.words) < 1.5 * BATCH_CHARS
        assert [last for word in b.words for _, last in word.data.get("current", ())] == [3 * BATCH_ITEMS]

    run_virtual(main())
