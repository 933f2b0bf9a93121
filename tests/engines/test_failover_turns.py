"""Engines that end turns and engines that do not, as one: no word is heard twice or never."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from pipeline.core.errors import AllDown
from pipeline.engines.base import Eager, Hearing, Partial, Segment, Switched, Turn
from tests.engines.echoing import Echo, Opening, say, tell
from tests.engines.transcribers import Rig, follow, heard


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
