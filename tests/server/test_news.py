"""What listeners hear, in what order, and what they are told when they were too slow."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from server.news import Item, Listening, News


async def everything(listening: Listening) -> list[Item]:
    return [item async for item in listening]


async def test_a_listener_hears_what_was_and_what_comes_then_the_end() -> None:
    news = News()
    news.publish("a", "status", {"status": "ringing"})
    async with asyncio.TaskGroup() as group:
        heard = group.create_task(everything(news.listen("a")))
        other = group.create_task(everything(news.listen("b")))
        await asyncio.sleep(0)
        news.publish("a", "turn", {"index": 0})
        news.close("a")
        news.close("b")
    assert [(item.id, item.kind, item.missed) for item in heard.result()] == [
        (1, "status", 0),
        (2, "turn", 0),
    ]
    assert other.result() == []


async def test_listening_resumes_after_an_id() -> None:
    news = News()
    for index in range(5):
        news.publish("a", "turn", {"index": index})
    news.close("a")
    assert [item.id for item in await everything(news.listen("a", 3))] == [4, 5]
    assert [item.id for item in await everything(news.listen("a", 5))] == []
    assert [item.id for item in await everything(news.listen("a", 99))] == [1, 2, 3, 4, 5]
    assert [item.id for item in await everything(news.listen("a", -1))] == [1, 2, 3, 4, 5]


@given(ring=st.integers(1, 8), published=st.lists(st.integers(1, 12), max_size=6))
def test_ids_rise_and_what_is_missed_is_counted(ring: int, published: list[int]) -> None:
    async def listen() -> None:
        news = News(ring=ring)
        listening = news.listen("a")
        at = 0
        for burst in published:
            for _ in range(burst):
                news.publish("a", "cost", {})
            item = await anext(listening)
            assert item.id == at + item.missed + 1
            assert item.id > at
            at = item.id
        news.close("a")
        rest = await everything(listening)
        assert [item.id for item in rest][-1:] in ([], [sum(published)])
        assert at + len(rest) + sum(item.missed for item in rest) == sum(published)

    run_virtual(listen())


async def test_a_timeout_loses_nothing() -> None:
    news = News()
    listening = news.listen("a")
    for index in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(listening)
        news.publish("a", "turn", {"index": index})
        assert (await anext(listening)).data == {"index": index}
    news.close("a")
    assert await everything(listening) == []


async def test_nothing_is_published_after_the_end_and_ending_twice_is_no_error() -> None:
    news = News()
    news.close("a")
    news.close("a")
    news.publish("a", "status", {})
    assert await everything(news.listen("a")) == []


def test_what_ended_calls_leave_in_memory_is_bounded_in_bytes() -> None:
    most = 500_000
    news = News(closed_bytes=most)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20):
            for index in range(200):
                news.publish(str(number), "turn", {"index": index, "text": f"{index} is a number, " * 20})
            news.close(str(number))
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert most / 2 < kept < most * 1.2
    known = [number for number in range(20) if news.knows(str(number))]
    assert known == list(range(20 - len(known), 20)), "the latest ones"


async def test_one_call_too_large_to_keep_is_read_to_its_end_by_whoever_listens() -> None:
    news = News(closed_bytes=1_000)
    listening = news.listen("a")
    news.publish("a", "turn", {"text": "x" * 2_000})
    news.close("a")
    assert not news.knows("a")
    assert [item.id for item in await everything(listening)] == [1]


async def test_memory_is_bounded() -> None:
    news = News(ring=4, listened=2)
    waiting = [news.listen(name) for name in ("x", "y", "z")]
    assert await everything(waiting[0]) == []
    news.publish("z", "status", {})
    assert (await anext(waiting[2])).kind == "status"


def test_items_of_another_node_keep_their_ids_and_come_once() -> None:
    news = News()
    assert news.mirror("a", Item(1, "status", {}))
    assert news.mirror("a", Item(2, "status", {}))
    assert news.mirror("a", Item(1, "status", {}))
    assert not news.mirror("a", Item(4, "status", {})), "the third is missing"
    assert news.last("a") == 2
    assert news.mirror("a", Item(6, "status", {}, missed=3)), "they are gone there too"
    assert [(item.id, item.missed) for item in news.listen("a").ready(9)] == [(6, 5)]
    assert [(item.id, item.missed) for item in news.listen("a", 2).ready(9)] == [(6, 3)]
    assert not news.has_own("a")
    news.drop_mirror("a")
    assert not news.knows("a")
    news.publish("a", "status", {})
    news.drop_mirror("a")
    assert news.has_own("a"), "what was published here is not another node's"
