"""Sound on its way out and hearings on their way back, without any vendor's messages."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pipeline.audio.mulaw import silence
from pipeline.clock import run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.base import Hearing, Partial, Segment, Used
from pipeline.engines.deepgram.pipes import LONGEST, MOST_HEARINGS, Bill, Hearings, Outgoing
from tests.emulators.caller import loud
from tests.emulators.flux import FAULTS, KEY, FluxEmulator


async def taken(outgoing: Outgoing) -> list[int | str]:
    """All that leaves now: orders, and sizes of sound."""
    found: list[int | str] = []
    try:
        while True:
            async with asyncio.timeout(0.1):
                piece = await outgoing.take()
            found.append(piece if isinstance(piece, str) else len(piece))
    except TimeoutError:
        return found


def test_an_order_leaves_after_the_sound_before_it_and_before_the_sound_after_it() -> None:
    async def main() -> None:
        outgoing = Outgoing()
        outgoing.feed(loud(100))
        outgoing.order("one")
        outgoing.order("two")
        outgoing.feed(loud(160))
        assert await taken(outgoing) == [640, 160, "one", "two", 640, 640]

    run_virtual(main())


def test_an_order_survives_the_sound_before_it() -> None:
    async def main() -> None:
        outgoing = Outgoing()
        outgoing.feed(loud(100))
        outgoing.order("one")
        outgoing.feed(loud(11_000))
        order, *sizes = await taken(outgoing)
        assert order == "one"
        assert LONGEST - 640 < sum(size for size in sizes if isinstance(size, int)) <= LONGEST
        assert outgoing.fed == 8 * 11_100

    run_virtual(main())


def test_what_was_taken_leaves_once_more_before_everything_else() -> None:
    async def main() -> None:
        outgoing = Outgoing()
        outgoing.feed(loud(100))
        outgoing.order("one")
        outgoing.order("two")
        first = [await outgoing.take() for _ in range(3)]
        outgoing.feed(loud(80))
        outgoing.order("three")
        outgoing.again(first)
        assert outgoing.fed == 8 * 180
        assert await taken(outgoing) == [640, 160, "one", "two", 640, "three"]

    run_virtual(main())


def test_nothing_leaves_after_the_end() -> None:
    async def main() -> None:
        outgoing = Outgoing()
        outgoing.feed(loud(800))
        outgoing.order("one")
        outgoing.close()
        outgoing.feed(loud(800))
        outgoing.order("two")
        assert await taken(outgoing) == []

    run_virtual(main())


def test_sound_that_is_late_by_itself_leaves_as_it_is_fed() -> None:
    async def main() -> None:
        outgoing = Outgoing()
        outgoing.feed(loud(20) + silence(20))
        assert await taken(outgoing) == [320]
        outgoing.feed(silence(580))
        assert await taken(outgoing) == [640] * 7 + [160]
        outgoing.feed(silence(60))
        assert await taken(outgoing) == []

    run_virtual(main())


async def all_of(hearings: Hearings) -> list[Hearing]:
    return [each async for each in hearings.heard()]


def test_hearings_not_fetched_give_way_to_the_next_of_their_kind_and_a_failure_comes_last() -> None:
    async def main() -> None:
        hearings = Hearings()
        coming: list[Hearing] = [Partial("a"), Partial("b"), Used("ear", 1), Used("ear", 2), Segment("b")]
        for hearing in [*coming, Segment("c")]:
            hearings.put(hearing)
        hearings.fail(EngineError("first"))
        hearings.fail(EngineError("second"))
        hearings.put(Segment("d"))
        heard = hearings.heard()
        for expected in [Partial("b"), Used("ear", 2), Segment("b"), Segment("c")]:
            assert await anext(heard) == expected
        with pytest.raises(EngineError, match="first"):
            await anext(heard)
        hearings.close()
        assert await all_of(hearings) == []

    run_virtual(main())


def test_a_listener_who_never_comes_is_a_failure() -> None:
    async def main() -> None:
        hearings = Hearings()
        for number in range(MOST_HEARINGS):
            hearings.put(Segment(str(number)))
        assert not hearings.failed
        hearings.put(Segment("one too many"))
        assert bool(hearings.failed)

    run_virtual(main())


def test_what_a_closed_socket_does_not_take_is_not_billed() -> None:
    async def main() -> None:
        async with FluxEmulator([], [FAULTS["drop_before_any_speech"]]) as emulator:
            headers = {"Authorization": f"Token {KEY}"}
            address = f"{emulator.url}/v2/listen?model=flux-general-en&encoding=mulaw&sample_rate=8000"
            async with connect(address, additional_headers=headers, proxy=None) as socket:
                bill = Bill("ear", Hearings())
                await bill.send(socket, silence(1_000))
                await socket.wait_closed()
                with pytest.raises(ConnectionClosed):
                    await bill.send(socket, silence(1_000))
            assert bill.used == Used("ear", 1)
            assert emulator.seconds_billed == 1

    run_virtual(main(), grace=0.001)
