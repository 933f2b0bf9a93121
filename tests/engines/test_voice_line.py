"""Sound on its way to who speaks it, and lines that neither hang nor leak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection, serve

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.voice_line import MOST_WAITING, Address, Utterance, VoiceLine, VoiceLines, speakable

GRACE = 0.001


class Kept:
    """Keeps what it is told; raises what `breaks` says at the first message."""

    def __init__(self, breaks: Exception | None = None) -> None:
        self.taken: list[str | bytes] = []
        self.losses: list[EngineError] = []
        self.breaks = breaks

    def take(self, message: str | bytes) -> None:
        self.taken.append(message)
        if self.breaks is not None:
            raise self.breaks

    def lost(self, error: EngineError) -> None:
        self.losses.append(error)


@asynccontextmanager
async def line(
    talk: Kept, serving: Callable[[ServerConnection], Awaitable[None]], patience_s: float = 2.0
) -> AsyncIterator[VoiceLine]:
    async with serve(serving, "127.0.0.1", 0, ping_interval=None, max_queue=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        address = Address(
            "Vendor", f"ws://127.0.0.1:{port}", {"key": "secret"}, patience_s, "bye", "lasting".__eq__
        )
        lines, one = VoiceLines(), VoiceLine(address, talk)
        assert "secret" not in repr(address)
        async with lines.tended():
            lines.start(one)
            yield one


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


async def pieces(utterance: Utterance, patience_s: float = 2.0, stall_s: float = 3.0) -> list[bytes]:
    return [piece async for piece in utterance.pieces(patience_s, stall_s)]


# -- sound -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"), [("", False), (" .!", False), ("😀", False), ("a", True), ("é", True), ("7", True)]
)
def test_speakable(text: str, expected: bool) -> None:
    assert speakable(text) is expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([1], [1]), ([159, 1, 5], [160, 5]), ([1600, 1600], [1600, 1600]), ([1] * 400, [160, 160, 80])],
)
def test_pieces_are_a_frame_at_least_except_the_last(sizes: list[int], expected: list[int]) -> None:
    async def main() -> None:
        utterance = Utterance("Vendor")
        for size in sizes:
            utterance.sound(b"\x10" * size)
        utterance.done()
        assert [len(piece) for piece in await pieces(utterance)] == expected

    run_virtual(main())


def test_sound_before_a_failure_is_heard_first() -> None:
    async def main() -> None:
        utterance, heard = Utterance("Vendor"), []
        utterance.sound(b"\x10" * 100)
        utterance.fail(EngineError("gone", retryable=True))
        with pytest.raises(EngineError, match="gone"):
            heard += [piece async for piece in utterance.pieces(1, 1)]
        stream = utterance.pieces(1, 1)
        await stream.aclose()

    run_virtual(main())


@pytest.mark.parametrize(
    ("sizes", "after", "says"), [([], 2.0, "no sound in time"), ([5], 3.0, "mid-utterance")]
)
def test_waiting_has_an_end(sizes: list[int], after: float, says: str) -> None:
    async def main() -> None:
        utterance = Utterance("Vendor")
        for size in sizes:
            utterance.sound(b"\x10" * size)
        with pytest.raises(EngineError, match=says) as caught:
            await pieces(utterance)
        assert caught.value.retryable
        assert Clock().seconds() == after

    run_virtual(main())


def test_empty_sound_is_no_sign_of_life() -> None:
    async def main() -> None:
        utterance = Utterance("Vendor")
        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(failure(utterance))
            await asyncio.sleep(1)
            utterance.sound(b"")
        assert "no sound in time" in speaking.result()
        assert Clock().seconds() == 2.0

    async def failure(utterance: Utterance) -> str:
        with pytest.raises(EngineError) as caught:
            await pieces(utterance)
        return caught.value.detail

    run_virtual(main())


def test_a_slow_listener_is_not_a_stall() -> None:
    async def main() -> None:
        utterance = Utterance("Vendor")
        for _ in range(3):
            utterance.sound(b"\x10" * 1600)
        utterance.done()
        heard = 0
        async for piece in utterance.pieces(1, 1):
            heard += len(piece)
            await asyncio.sleep(10)
        assert heard == 4800

    run_virtual(main())


def test_sound_without_end_is_refused_but_not_what_was_taken() -> None:
    async def main() -> None:
        utterance = Utterance("Vendor")
        utterance.sound(b"\x10" * MOST_WAITING)
        with pytest.raises(EngineError, match="without end"):
            utterance.sound(b"\x10")
        assert await anext(utterance.pieces(1, 1))
        utterance.sound(b"\x10" * MOST_WAITING)

    run_virtual(main())


# -- lines -----------------------------------------------------------------------------


def test_a_line_takes_and_sends_and_says_goodbye() -> None:
    got: list[str | bytes] = []

    async def serving(socket: ServerConnection) -> None:
        async for message in socket:
            got.append(message)
            await socket.send(message)

    async def main() -> None:
        talk = Kept()
        async with line(talk, serving) as one:
            assert one.usable
            await one.opened()
            await one.send(["a", "b"], 1)
            await asyncio.sleep(0.1)
            assert talk.taken == ["a", "b"]
            assert one.usable
        assert got == ["a", "b", "bye"]

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(
    ("breaks", "retryable", "logged"),
    [(EngineError("over"), False, 0), (ValueError("a bug, and what was said"), True, 1)],
)
def test_what_breaks_while_reading_ends_the_line_only(
    breaks: Exception, retryable: bool, logged: int
) -> None:
    async def main() -> None:
        talk = Kept(breaks)
        async with line(talk, echo) as one:
            await one.opened()
            await one.send(["a"], 1)
            await asyncio.sleep(0.1)
            assert not one.usable
            (loss,) = talk.losses
            assert loss.retryable is retryable
            assert "said" not in loss.detail
            with pytest.raises(EngineError):
                await one.send(["b"], 1)
            with pytest.raises(EngineError):
                await one.opened()

    with capture_logs() as logs:
        run_virtual(main(), grace=GRACE)
    assert len(logs) == logged


@pytest.mark.parametrize(("reason", "retryable"), [("lasting", False), ("passing", True), ("", True)])
def test_a_close_may_pass_or_not_by_its_reason(reason: str, retryable: bool) -> None:
    async def serving(socket: ServerConnection) -> None:
        await socket.close(1008, reason)

    async def main() -> None:
        talk = Kept()
        async with line(talk, serving) as one:
            await one.opened()
            await asyncio.sleep(0.1)
            assert not one.usable
            assert [loss.retryable for loss in talk.losses] == [retryable]

    run_virtual(main(), grace=GRACE)


def test_a_vendor_that_does_not_read_is_not_waited_for() -> None:
    async def serving(socket: ServerConnection) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        talk = Kept()
        async with line(talk, serving) as one:
            await one.opened()
            with pytest.raises(EngineError, match="no more messages"):
                await one.send(["x" * 900_000 for _ in range(40)], 0.5)
            assert not one.usable
            assert len(talk.losses) == 1

    run_virtual(main(), grace=GRACE)


def test_a_vendor_that_goes_while_it_is_told_something() -> None:
    async def serving(socket: ServerConnection) -> None:
        await asyncio.sleep(0.2)
        socket.transport.abort()

    async def main() -> None:
        talk = Kept()
        async with line(talk, serving) as one:
            await one.opened()
            with pytest.raises(EngineError, match="closed the socket") as caught:
                await one.send(["x" * 900_000 for _ in range(40)], 5)
            assert caught.value.retryable
            assert len(talk.losses) == 1

    run_virtual(main(), grace=GRACE)


def test_a_line_given_up_while_opening_stays_so() -> None:
    async def main() -> None:
        talk = Kept()
        async with line(talk, echo) as one:
            one.drop()
            assert not one.usable
            with pytest.raises(EngineError, match="given up"):
                await one.opened()
            await asyncio.sleep(1)
            assert not one.usable
            with pytest.raises(EngineError, match="given up"):
                await one.opened()
            assert len(talk.losses) == 1

    run_virtual(main(), grace=GRACE)


def test_a_line_dropped_twice_is_lost_once() -> None:
    async def main() -> None:
        talk = Kept()
        async with line(talk, echo) as one:
            await one.opened()
            one.drop()
            one.drop()
            await asyncio.sleep(2)
            assert len(talk.losses) == 1

    run_virtual(main(), grace=GRACE)
