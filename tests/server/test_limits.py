"""Attempts, sizes and paces: the limits hold exactly, and forget."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import Refused
from server.limits import BodyLimit, Limiter, network, take_all
from tests.server.rig import ManualClock


@given(limit=st.integers(1, 6), steps=st.lists(st.integers(0, 40), max_size=60))
def test_no_window_ever_holds_more_than_the_limit(limit: int, steps: list[int]) -> None:
    clock = ManualClock()
    limiter = Limiter(clock, limit, 60.0)
    taken: list[float] = []
    for step in steps:
        clock.move(step)
        wait = limiter.take("k")
        now = clock.seconds()
        recent = [moment for moment in taken if moment > now - 60.0]
        assert (wait is None) == (len(recent) < limit)
        if wait is None:
            taken.append(now)
        else:
            assert recent[0] + 60.0 - now <= wait <= 60


def test_after_the_wait_that_was_named_it_goes_on() -> None:
    clock = ManualClock()
    limiter = Limiter(clock, 1, 10.0)
    assert limiter.take("k") is None
    clock.move(3.5)
    wait = limiter.take("k")
    assert wait == 7
    clock.move(wait)
    assert limiter.take("k") is None


def test_keys_do_not_disturb_each_other_and_a_try_can_be_given_back() -> None:
    limiter = Limiter(ManualClock(), 1, 10.0)
    assert limiter.take("a") is None
    assert limiter.take("b") is None
    assert limiter.take("a")
    limiter.give_back("a")
    assert limiter.take("a") is None
    limiter.give_back("nobody")


def test_memory_is_bounded() -> None:
    limiter = Limiter(ManualClock(), 2, 10.0, keys=5)
    for number in range(100):
        limiter.take(str(number))
    assert len(limiter) == 5
    assert limiter.take("99") is None
    assert limiter.take("99")


def test_taking_several_is_all_or_nothing() -> None:
    clock = ManualClock()
    wide, narrow = Limiter(clock, 3, 10.0), Limiter(clock, 1, 10.0)
    take_all([(wide, "k"), (narrow, "k")])
    for _ in range(5):
        with pytest.raises(Refused, match="rate_limited") as refused:
            take_all([(wide, "k"), (narrow, "k")])
        assert refused.value.retry_after == 10
    assert wide.take("k") is None
    assert wide.take("k") is None
    assert wide.take("k")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_client(address: str, client: str) -> None:
    assert network(address) == client


def scope(headers: Iterable[tuple[bytes, bytes]] = ()) -> Scope:
    return {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}


async def reader(_scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-size", str(size).encode())]})
    await send({"type": "http.response.body", "body": b""})


async def status_of(
    messages: list[Message], headers: Iterable[tuple[bytes, bytes]] = (), every_s: float = 0.0
) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(every_s)
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await BodyLimit(reader, Clock(), limit=100, seconds=10.0)(scope(headers), receive, send)
    return int(sent[0]["status"])


def pieces(*sizes: int) -> list[Message]:
    return [
        {"type": "http.request", "body": b"x" * size, "more_body": index + 1 < len(sizes)}
        for index, size in enumerate(sizes)
    ]


def test_a38_a_body_is_counted_whatever_it_declares() -> None:
    length = b"content-length"
    assert run_virtual(status_of(pieces(100))) == 200
    assert run_virtual(status_of(pieces(101))) == 413
    assert run_virtual(status_of(pieces(60, 60))) == 413
    assert run_virtual(status_of(pieces(1), [(length, b"101")])) == 413
    assert run_virtual(status_of(pieces(60, 60), [(length, b"5")])) == 413
    assert run_virtual(status_of(pieces(50), [(length, b"-1")])) == 200


def test_a38_a_body_that_trickles_is_given_up_after_ten_seconds() -> None:
    assert run_virtual(status_of(pieces(*[1] * 9), every_s=1.0)) == 200
    assert run_virtual(status_of(pieces(*[1] * 50), every_s=1.0)) == 408
    assert run_virtual(status_of(pieces(1), every_s=60.0)) == 408
