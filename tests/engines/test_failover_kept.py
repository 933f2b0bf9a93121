"""What of the sound is kept for a successor, what is billed, and that each stretch is answered whatever fails."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Hearing, Segment, Switched, Used
from pipeline.engines.failover.transcriber import GAP_BYTES
from pipeline.engines.scripted import ScriptedTranscriber, Stretch
from tests.engines.echoing import LETTER, Echo, Opening, say, sound, tell
from tests.engines.transcribers import RATE_S, REFUSED, Rig, follow, heard

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
