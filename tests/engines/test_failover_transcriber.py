"""Several transcribers as one: every stretch of speech is answered once, whoever fails in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Ear, Segment, Switched, Turn
from pipeline.engines.breaker import State
from pipeline.engines.scripted import ScriptedTranscriber
from tests.engines.echoing import Echo, Opening, say, sound, tell, words
from tests.engines.transcribers import REFUSED, Buggy, Rig, heard
from tests.pipeline.doubles import DeadTranscriber


def test_the_first_listens_while_it_can_and_the_others_are_not_opened() -> None:
    rig = Rig([Echo("a"), Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[hello_]__[there_]")
            assert await heard(ear, 2) == [Segment("hello"), Segment("there")]
        assert rig.doors.ever == 1

    run_virtual(main())
    assert rig.transcriber.models == ("a", "b")


def test_whether_turns_are_ended_is_the_firsts() -> None:
    assert Rig([Echo("a", ends_turns=True), Echo("b")]).transcriber.ends_turns
    assert not Rig([Echo("a"), Echo("b", ends_turns=True)]).transcriber.ends_turns


# -- opening -------------------------------------------------------------------------------


def test_the_first_that_can_be_opened_is_and_says_so() -> None:
    rig = Rig([Echo("a", [Opening(refuses=REFUSED)]), Echo("b", ends_turns=True)])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[hello._]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=True), Turn("hello.")]
        assert rig.breakers[0].failures == 1

    run_virtual(main())


def test_one_that_does_not_open_within_the_patience_is_passed_over() -> None:
    slow = Echo("a", [Opening(opens_s=5.0, closes_s=3.0)])
    rig = Rig([slow, Echo("b")])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as ear:
            assert clock.seconds() == pytest.approx(1.0)
            assert await heard(ear, 1) == [Switched("b", ends_turns=False)]
        entered, left = slow.passed
        assert entered is left

    run_virtual(main())


def test_an_open_breaker_is_not_tried() -> None:
    first = Echo("a", [Opening(refuses=EngineError("wrong key"))])
    rig = Rig([first, Echo("b")])

    async def main() -> None:
        for _ in range(2):
            async with rig.opened():
                pass
        assert len(first.ears) == 1
        assert rig.breakers[0].state is State.OPEN

    run_virtual(main())


def test_all_down_when_none_can_be_opened() -> None:
    rig = Rig([DeadTranscriber(), DeadTranscriber()])

    async def main() -> None:
        with pytest.raises(AllDown, match="refused") as caught:
            async with rig.opened():
                pass
        assert not caught.value.retryable
        assert rig.doors.open == 0

    run_virtual(main())


def test_the_bodys_error_comes_out_as_it_is() -> None:
    rig = Rig([Echo("a")])

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with rig.opened():
                raise ZeroDivisionError
        assert rig.doors.open == 0
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


# -- failing in mid-call -------------------------------------------------------------------


def test_the_next_hears_again_what_was_not_answered_and_nothing_else() -> None:
    first, second = Echo("a", [Opening(answers=1)]), Echo("b")
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]__[two_]__[three_]__[fo")
            assert await heard(ear, 4) == [
                Segment("one"),
                Switched("b", ends_turns=False),
                Segment("two"),
                Segment("three"),
            ]
            say(ear, "ur_]")
            assert await heard(ear, 1) == [Segment("four")]
        assert second.ears[0].marks == "[][][]"
        assert "one" not in words(second.ears[0].fed)
        assert rig.breakers[0].failures == 1

    run_virtual(main())


def test_what_is_said_while_the_next_opens_is_not_lost() -> None:
    rig = Rig([Echo("a", [Opening(answers=0)]), Echo("b", [Opening(opens_s=0.9)])])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]")
            await asyncio.sleep(0.1)
            for letter in "__[tw":
                tell(ear, letter)
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.8)
            say(ear, "o_]")
            assert await heard(ear, 3) == [Switched("b", ends_turns=False), Segment("one"), Segment("two")]

    run_virtual(main())


def test_soft_speech_while_the_next_opens_is_not_lost_to_one_that_needs_no_marks() -> None:
    rig = Rig([Echo("a"), Echo("b", [Opening(opens_s=0.9)], ends_turns=True)])
    first = rig.transcribers[0]
    assert isinstance(first, Echo)

    async def main() -> None:
        async with rig.opened() as ear:
            ear.feed(sound("_" * 50))
            first.ears[0].fail()
            await asyncio.sleep(0.1)
            say(ear, "hello there._")
            assert await heard(ear, 2) == [Switched("b", ends_turns=True), Turn("hello there.")]

    run_virtual(main())


def test_a_stretch_that_is_not_answered_within_the_patience_goes_to_the_next() -> None:
    first = Echo("a", [Opening(answer_s=1.5)])
    rig = Rig([first, Echo("b", [Opening(answer_s=0.2)])])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as ear:
            await asyncio.sleep(9)  # nothing is owed yet
            say(ear, "[one_]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("one")]
            assert clock.seconds() == pytest.approx(10.2)
            await asyncio.sleep(30)
            say(ear, "[two_]")
            assert await heard(ear, 1) == [Segment("two")]
        assert [breaker.failures for breaker in rig.breakers] == [1, 0]

    run_virtual(main())


def test_each_owed_segment_has_the_patience_of_its_own() -> None:
    rig = Rig([Echo("a", [Opening(answer_s=0.7)]), Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]_[two_]_[three_]")
            assert await heard(ear, 3) == [Segment("one"), Segment("two"), Segment("three")]
            await asyncio.sleep(9)
        assert rig.breakers[0].failures == 0

    run_virtual(main())


def test_more_speech_does_not_prolong_the_patience() -> None:
    rig = Rig([Echo("a", [Opening(answer_s=9.0)]), Echo("b")])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as ear:
            say(ear, "[one_]")
            await asyncio.sleep(0.8)
            say(ear, "[two_]")
            assert await heard(ear, 1) == [Switched("b", ends_turns=False)]
            assert clock.seconds() == pytest.approx(1.0)

    run_virtual(main())


def test_the_patience_with_a_successor_begins_when_it_is_open() -> None:
    rig = Rig([Echo("a", [Opening(answers=0)]), Echo("b", [Opening(0.6, answer_s=9.0)]), Echo("c")])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as ear:
            say(ear, "[one_]")
            assert await heard(ear, 3) == [
                Switched("b", ends_turns=False),
                Switched("c", ends_turns=False),
                Segment("one"),
            ]
            assert clock.seconds() == pytest.approx(1.6)

    run_virtual(main())


def test_one_that_simply_stops_listening_has_failed() -> None:
    class Hangs(DeadTranscriber):
        models = ("a",)

        @asynccontextmanager
        async def open(self) -> AsyncIterator[Ear]:
            async with ScriptedTranscriber([]).open() as ear:
                ear.close()
                yield ear

    rig = Rig([Hangs(), Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            assert await heard(ear, 1) == [Switched("b", ends_turns=False)]
        assert rig.breakers[0].failures == 1

    run_virtual(main())


def test_a_broken_one_is_closed_beside_the_next_ones_listening() -> None:
    first, second = Echo("a", [Opening(answers=0, closes_s=5.0)]), Echo("b")
    rig = Rig([first, second])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as ear:
            say(ear, "[one_]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("one")]
            assert clock.seconds() == 0
            await asyncio.sleep(6)
            assert rig.doors.open == 1
        for each in (first, second):
            entered, left = each.passed
            assert entered is left

    run_virtual(main())


def test_all_down_in_mid_call_whoever_asks() -> None:
    first = Echo("a", [Opening(answers=1), Opening(refuses=REFUSED)])
    rig = Rig([first, Echo("b", [Opening(refuses=REFUSED)])])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]_[two_]")
            assert await heard(ear, 1) == [Segment("one")]
            for _ in range(2):
                with pytest.raises(AllDown, match="refused"):
                    await heard(ear, 1)
            say(ear, "[three_]")  # nobody listens, which is no reason to raise
        assert len(first.ears) == 2  # it had heard something, so it was tried once more

    run_virtual(main())


def test_engines_that_open_and_die_are_not_opened_in_turn_for_ever() -> None:
    first, second = Echo("a", [Opening(answers=0)]), Echo("b", [Opening(answers=0)])
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]")
            with pytest.raises(AllDown):
                await heard(ear, 9)
        assert (len(first.ears), len(second.ears)) == (1, 1)

    run_virtual(main())


def test_one_that_dies_of_idleness_is_opened_again() -> None:
    first = Echo("a", [Opening(), Opening()])
    rig = Rig([first])

    async def main() -> None:
        async with rig.opened() as ear:
            await asyncio.sleep(60)
            first.ears[0].fail()
            assert await heard(ear, 1) == [Switched("a", ends_turns=False)]
            say(ear, "[one_]")
            assert await heard(ear, 1) == [Segment("one")]

    run_virtual(main())


def test_a_bug_of_an_engine_is_a_failure_like_any_other() -> None:
    rig = Rig([Buggy("a"), Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            assert await heard(ear, 1) == [Switched("b", ends_turns=False)]
        assert rig.breakers[0].state is State.OPEN

    run_virtual(main())


def test_a_hearing_lets_a_probe_succeed() -> None:
    rig = Rig([Echo("a", [Opening(refuses=EngineError("wrong key")), Opening()]), Echo("b")])

    async def main() -> None:
        async with rig.opened():
            pass
        await asyncio.sleep(15)
        async with rig.opened() as ear:
            assert rig.breakers[0].state is State.HALF_OPEN
            say(ear, "[one_]")
            assert await heard(ear, 1) == [Segment("one")]
            assert rig.breakers[0].failures == 1
        assert rig.breakers[0].admit() is not None
        assert rig.breakers[0].admit() is not None

    run_virtual(main())


# -- closing -------------------------------------------------------------------------------


def test_closing_while_the_next_is_being_opened_leaves_nothing_behind() -> None:
    rig = Rig([Echo("a", [Opening(answers=0)]), Echo("b", [Opening(opens_s=0.9)])])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]")
            await asyncio.sleep(0.1)
        assert await heard(ear, 1) == []
        assert rig.breakers[1].failures == 0

    run_virtual(main())


def test_cancelled_while_it_is_opened_and_while_it_listens() -> None:
    rig = Rig([Echo("a", [Opening(opens_s=0.9)]), Echo("b")])

    async def main() -> None:
        for seconds in (0.5, 1.5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(seconds), rig.transcriber.open() as ear:
                    await heard(ear, 1)
            assert rig.doors.open == 0
            assert len(asyncio.all_tasks()) == 1
        assert rig.breakers[0].failures == 0

    run_virtual(main())
