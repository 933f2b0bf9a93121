"""Who gets past a media socket's entrance, in what time and how many at once; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import BadStream
from pipeline.media import MAX_MESSAGE, Guard
from server.metrics import SURPRISES
from server.routes.entrance import INTRODUCTION_S, MAX_STRANGERS, MAX_UNPROVED, Entrance, first_words
from storage.db import DatabaseDown

GONE: Message = {"type": "websocket.disconnect", "code": 1006}


def says(text: str) -> Message:
    return {"type": "websocket.receive", "text": text}


@dataclass
class Socket:
    """The far end, as an ASGI server shows it: sends `messages`, then nothing more."""

    messages: tuple[Message, ...] = (says("me"),)
    sent: list[Message] = field(default_factory=list)
    proved: str | None = None

    async def come(self, entrance: Entrance, prove: Callable[[str], Awaitable[str]]) -> None:
        coming = iter(({"type": "websocket.connect"}, *self.messages))

        async def receive() -> Message:
            for message in coming:
                return message
            return await asyncio.Future()

        async def send(message: Message) -> None:
            self.sent.append(message)

        scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
        websocket, guard = WebSocket(scope, receive, send), Guard(Clock().seconds())
        self.proved = await entrance.let_in(websocket, lambda: first_words(websocket, guard, Clock()), prove)

    @property
    def answer(self) -> int | None:
        """The status instead of an upgrade or the close code behind it; None while it is open."""
        last = self.sent[-1] if self.sent else {}
        first = self.sent[0] if self.sent else {}
        return first.get("status") or last.get("code")


async def at_once(name: str) -> str:
    return name


async def after_a_while(name: str) -> str:
    await asyncio.sleep(1)
    return name


def come(*sockets: Socket, prove: Callable[[str], Awaitable[str]] = at_once) -> None:
    """All at the same time, to one entrance."""

    async def main() -> None:
        entrance = Entrance("test")
        async with asyncio.TaskGroup() as tasks:
            for socket in sockets:
                tasks.create_task(socket.come(entrance, prove))

    run_virtual(main())


def test_one_that_introduces_itself_and_is_proved_comes_in() -> None:
    one = Socket()
    come(one)
    assert (one.proved, one.answer) == ("me", None)


def test_a_burst_of_calls_that_wait_for_the_database_all_come_in() -> None:
    burst = [Socket() for _ in range(5 * MAX_STRANGERS)]
    come(*burst, prove=after_a_while)
    assert {one.proved for one in burst} == {"me"}


def test_strangers_are_few_and_do_not_stay() -> None:
    silent = [Socket(()) for _ in range(MAX_STRANGERS + 1)]
    come(*silent)
    assert [one.answer for one in silent] == [1008] * MAX_STRANGERS + [503]


def test_so_many_at_most_wait_for_the_database() -> None:
    async def main() -> list[int | None]:
        entrance = Entrance("test")
        burst = [Socket() for _ in range(MAX_UNPROVED + 1)]
        async with asyncio.TaskGroup() as tasks:
            for one in burst:
                tasks.create_task(one.come(entrance, after_a_while))
                await asyncio.sleep(0)  # it has introduced itself before the next one comes
        return [one.answer for one in burst]

    assert run_virtual(main()) == [None] * MAX_UNPROVED + [1013]


def test_whoever_left_makes_room() -> None:
    async def main() -> Socket:
        entrance = Entrance("test")
        for messages in [(GONE,), (says("me"),), ({"type": "websocket.receive", "bytes": b"x"},)]:
            for _ in range(MAX_STRANGERS):
                await Socket(messages).come(entrance, at_once)
        await (last := Socket()).come(entrance, at_once)
        return last

    assert run_virtual(main()).proved == "me"


@pytest.mark.parametrize(
    "first",
    [{"type": "websocket.receive", "bytes": b"me"}, says("x" * (MAX_MESSAGE + 1))],
    ids=["binary", "too long"],
)
def test_a_first_message_that_is_none_is_refused(first: Message) -> None:
    one = Socket((first,))
    come(one)
    assert (one.proved, one.answer) == (None, 1008)


def test_it_has_five_seconds() -> None:
    async def main() -> float:
        began = Clock().seconds()
        await Socket(()).come(Entrance("test"), at_once)
        return Clock().seconds() - began

    assert run_virtual(main()) == INTRODUCTION_S


@pytest.mark.parametrize(
    ("error", "code", "surprises"),
    [
        (BadStream("no such token"), 1008, 0),
        (DatabaseDown("busy", retryable=True), 1013, 0),
        (KeyError("x"), 1011, 1),
    ],
)
def test_why_a_proof_failed_decides_what_is_answered(error: Exception, code: int, surprises: int) -> None:
    async def fails(_name: str) -> str:
        raise error

    counted = SURPRISES.labels("test")
    before = counted._value.get()
    one = Socket()
    come(one, prove=fails)
    assert (one.proved, one.answer) == (None, code)
    assert counted._value.get() - before == surprises
