"""Several transcribers as one: every stretch of speech is answered once, whoever fails in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Eager, Ear, Hearing, Partial, Segment, Switched, Transcriber, Turn, Used
from pipeline.engines.breaker import Breaker, State
from pipeline.engines.failover import FailoverTranscriber
from pipeline.engines.failover.transcriber import GAP_BYTES
from pipeline.engines.scripted import ScriptedTranscriber, Stretch
from tests.engines.echoing import LETTER, Echo, Opening, say, sound, tell, words
from tests.pipeline.doubles import DeadTranscriber, Doors, WatchedTranscriber

RATE_S = 8_000
REFUSED = EngineError("refused", retryable=True)


@dataclass
class Rig:
    transcribers: Sequence[Transcriber]
    doors: Doors = field(default_factory=Doors)

    def __post_init__(self) -> None:
        self.breakers = [Breaker(each.models[0], Clock()) for each in self.transcribers]
        self.transcriber = FailoverTranscriber(
            [
                (WatchedTranscriber(each, self.doors), breaker)
                for each, breaker in zip(self.transcribers, self.breakers, strict=True)
            ],
            1.0,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Ear]:
        async with self.transcriber.open() as ear:
            yield ear
        assert self.doors.open == 0
        assert len(asyncio.all_tasks()) == 1


class Buggy(Echo):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        yield BuggyEar()


class BuggyEar:
    def feed(self, mulaw: bytes) -> None: ...

    def voice(self, speaking: bool) -> None: ...

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        raise ZeroDivisionError
        yield  # type: ignore[unreachable]  # makes it a generator


async def follow(ear: Ear, found: list[Hearing]) -> None:
    async for hearing in ear.heard():
        found.append(hearing)  # noqa: PERF401  # it is read when this was cancelled


async def heard(ear: Ear, count: int) -> list[Hearing]:
    found: list[Hearing] = []
    async with asyncio.timeout(60):
        async for hearing in ear.heard():
            found.append(hearing)
            if len(found) == count:
                break
    return found


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


# -- engines of two kinds ------------------------------------------------------------------


def test_from_one_that_ends_turns_to_one_that_does_not() -> None:
    first = Echo("a", ends_turns=True)
    rig = Rig([first, Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one._]")
            assert await heard(ear, 1) == [Turn("one.")]
            say(ear, "__[two_]_[thr")
            first.ears[0].fail()
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("two")]
            say(ear, "ee_]")
            assert await heard(ear, 1) == [Segment("three")]

    run_virtual(main())


def test_an_end_of_voice_that_comes_after_the_turn_is_answered_too() -> None:
    first = Echo("a", ends_turns=True)
    rig = Rig([first, Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one._")
            assert await heard(ear, 1) == [Turn("one.")]
            say(ear, "]")
            first.ears[0].fail()
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("")]

    run_virtual(main())


def test_speech_that_begins_just_before_the_turn_of_the_speech_before_it_is_of_the_next() -> None:
    first = Echo("a", [Opening(answer_s=0.3)], ends_turns=True)
    rig = Rig([first, Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one._]_[tw")
            assert await heard(ear, 1) == [Turn("one.")]
            first.ears[0].fail()
            say(ear, "o_]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("two")]

    run_virtual(main())


def test_its_first_sound_before_the_mark_is_of_the_next_too() -> None:
    first = Echo("a", [Opening(answer_s=0.3)], ends_turns=True)
    rig = Rig([first, Echo("b", ends_turns=True)])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one._]_t[w")
            assert await heard(ear, 1) == [Turn("one.")]
            first.ears[0].fail()
            say(ear, "o._]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=True), Turn("two.")]

    run_virtual(main())


def test_a_turn_that_ends_before_the_voice_does_is_not_heard_again() -> None:
    first = Echo("a", ends_turns=True)
    rig = Rig([first, Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            for word in ("one", "two"):
                say(ear, f"[{word}._")
                assert await heard(ear, 1) == [Turn(f"{word}.")]
                say(ear, "]__")
            say(ear, "[x._")
            assert await heard(ear, 1) == [Turn("x.")]
            first.ears[0].fail()
            say(ear, "]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("")]

    run_virtual(main())


def test_from_one_that_does_not_end_turns_to_one_that_does() -> None:
    rig = Rig([Echo("a", [Opening(answers=1)]), Echo("b", ends_turns=True)])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]__[two_]_[three._]")
            assert await heard(ear, 3) == [
                Segment("one"),
                Switched("b", ends_turns=True),
                Turn("twothree."),
            ]

    run_virtual(main())


def test_a_turn_answers_all_of_its_stretches_though_the_voice_is_still_on() -> None:
    first = Echo("a", ends_turns=True)
    rig = Rig([first, Echo("b")])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]__[and twelve more._")
            assert await heard(ear, 1) == [Turn("oneand twelve more.")]
            first.ears[0].fail()
            say(ear, "]")
            assert await heard(ear, 2) == [Switched("b", ends_turns=False), Segment("")]

    run_virtual(main())


@pytest.mark.parametrize("alone", [True, False])
def test_one_that_ends_turns_owes_no_segments(alone: bool) -> None:
    patient = Echo("b", ends_turns=True)
    rig = Rig([patient] if alone else [Echo("a", [Opening(answers=0)]), patient])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]")
            await asyncio.sleep(0.1)
            say(ear, "[two_]")
            await asyncio.sleep(5)
            say(ear, "[three._]")
            assert (await heard(ear, 1 if alone else 2))[-1] == Turn("onetwothree.")
        assert rig.breakers[-1].failures == 0

    run_virtual(main())


def test_an_early_guess_of_the_one_before_does_not_count_as_an_answer() -> None:
    first = Echo("a", [Opening(before=[Partial("on"), Eager("one.")])], ends_turns=True)
    rig = Rig([first, Echo("b", ends_turns=True)])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one.")
            first.ears[0].fail()
            say(ear, "_]")
            found = await heard(ear, 4)
            assert found == [Partial("on"), Eager("one."), Switched("b", ends_turns=True), Turn("one.")]

    run_virtual(main())


# -- what is kept --------------------------------------------------------------------------


def test_of_an_endless_stretch_the_latest_is_kept_and_answered_once() -> None:
    first, second = Echo("a"), Echo("b")
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[" + "x" * 100 + "y" * 75)
            first.ears[0].fail()
            assert await heard(ear, 1) == [Switched("b", ends_turns=False)]
            say(ear, "z_]")
            assert await heard(ear, 1) == [Segment("x" * 5 + "y" * 75 + "z")]

    run_virtual(main())


def test_in_a_pause_next_to_nothing_is_kept() -> None:
    first, second = Echo("a"), Echo("b")
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]")
            await heard(ear, 1)
            ear.feed(sound("_" * 100))
            first.ears[0].fail()
            await heard(ear, 1)
            assert 1_600 <= len(second.ears[0].fed) <= 4_000

    run_virtual(main())


def test_while_nobody_listens_what_is_kept_is_bounded() -> None:
    first, second = Echo("a"), Echo("b", [Opening(opens_s=0.9)])
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[" + "x" * 100)
            first.ears[0].fail()
            await asyncio.sleep(0.1)
            ear.feed(sound("y" * 500))
            await heard(ear, 1)
            assert len(second.ears[0].fed) == 100 * LETTER - 2 * RATE_S + GAP_BYTES

    run_virtual(main())


def test_noises_that_one_that_ends_turns_never_answers_are_forgotten() -> None:
    first, second = Echo("a", ends_turns=True), Echo("b")
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            for _ in range(30):
                say(ear, "[x_]" + "_" * 4)
            say(ear, "_" * 45)
            first.ears[0].fail()
            await heard(ear, 1)
            assert second.ears[0].marks == ""
            assert len(second.ears[0].fed) <= 4_000

    run_virtual(main())


# -- what is billed ------------------------------------------------------------------------


def test_an_engine_opened_again_goes_on_counting_and_others_count_for_themselves() -> None:
    first = Echo(
        "a", [Opening(before=[Used("a", 1), Used("a", 4)], answers=1), Opening(before=[Used("a", 2)])]
    )
    second = Echo("b", [Opening(before=[Used("b", 3)], answers=0)])
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]_[two_]")
            assert await heard(ear, 8) == [
                Used("a", 1),
                Used("a", 4),
                Segment("one"),
                Switched("b", ends_turns=False),
                Used("b", 2),  # and one of what was heard before
                Switched("a", ends_turns=False),
                Used("a", 5),
                Segment("two"),
            ]

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


# -- whatever fails ------------------------------------------------------------------------

STRETCHES = st.lists(st.text(st.sampled_from("abc"), min_size=0, max_size=4), min_size=1, max_size=6)
OPENINGS = st.lists(
    st.builds(
        Opening,
        opens_s=st.sampled_from([0.0, 0.0, 0.3, 1.5]),
        refuses=st.sampled_from([None, None, None, REFUSED, EngineError("wrong key")]),
        answers=st.sampled_from([None, 0, 1, 2]),
        answer_s=st.sampled_from([0.0, 0.15, 1.5]),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(STRETCHES, st.lists(OPENINGS, min_size=3, max_size=3), st.sets(st.integers(0, 40)))
def test_every_stretch_is_answered_once_in_order_or_all_are_down(
    stretches: list[str], scripts: list[list[Opening]], failing: set[int]
) -> None:
    """At each tick in `failing` whoever listens fails."""
    echoes = [Echo(model, openings) for model, openings in zip("abc", scripts, strict=True)]
    rig = Rig(echoes)
    found: list[Hearing] = []

    async def main() -> None:
        async with rig.opened() as ear, asyncio.TaskGroup() as group:
            following = group.create_task(follow(ear, found))
            for tick, letter in enumerate("__".join(f"[{text}_]" for text in stretches)):
                tell(ear, letter)
                await asyncio.sleep(0.1)
                if tick in failing and (latest := [each.ears[-1] for each in echoes if each.ears]):
                    latest[tick % len(latest)].fail()
            await asyncio.sleep(60)
            following.cancel()

    try:
        run_virtual(main())
        down = False
    except* AllDown:
        down = True
    answers = [each.text for each in found if isinstance(each, Segment)]
    assert answers == (stretches[: len(answers)] if down else stretches)
    assert rig.doors.open == 0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.0, 0.3]), min_size=3, max_size=3),
    st.sets(st.integers(0, 50), max_size=4),
)
def test_no_word_is_heard_twice_or_never_among_engines_of_both_kinds(
    sentences: list[str], kinds: list[bool], opening: list[float], failing: set[int]
) -> None:
    echoes = [
        Echo(model, [Opening(opens_s=opens_s)], ends_turns)
        for model, ends_turns, opens_s in zip("abc", kinds, opening, strict=True)
    ]
    rig = Rig(echoes)

    async def main() -> None:
        found: list[Hearing] = []

        async with rig.opened() as ear, asyncio.TaskGroup() as group:
            following = group.create_task(follow(ear, found))
            for tick, letter in enumerate("".join(f"[{text}._]__" for text in sentences)):
                tell(ear, letter)
                await asyncio.sleep(0.1)
                if tick in failing:
                    for each in echoes:
                        for open_ear in each.ears[-1:]:
                            open_ear.fail()
            await asyncio.sleep(20)
            following.cancel()
        said = "".join(each.text for each in found if isinstance(each, Segment | Turn))
        assert said == "".join(f"{text}." for text in sentences)

    try:
        run_virtual(main())
    except* AllDown:
        pass


def test_the_scripted_ones_go_on_where_one_fails() -> None:
    rig = Rig(
        [
            ScriptedTranscriber([Stretch("Never.", fails=True, delay_ms=50)], model="a"),
            ScriptedTranscriber(["One.", "Two."], delay_ms=100, model="b"),
        ]
    )

    async def main() -> None:
        async with rig.opened() as ear:
            say(ear, "[one_]_[two_]")
            assert await heard(ear, 3) == [Switched("b", ends_turns=False), Segment("One."), Segment("Two.")]

    run_virtual(main())
