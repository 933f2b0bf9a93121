"""Several voices as one: every word is said once or nearly so, by one voice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Voice
from tests.engines.speakers import BYTES_A_CHARACTER, PIECE, TEXT, Rig, Stage, Staged, scripted, spoken
from tests.pipeline.doubles import DeadSpeaker

# -- who speaks ----------------------------------------------------------------------------


def test_the_first_speaks_while_it_can_and_the_others_are_not_opened() -> None:
    first, second = scripted("a"), scripted("b")
    rig = Rig([first, second])

    async def main() -> None:
        async with rig.opened() as voice:
            assert rig.doors.ever == 1
            assert voice.model == "a"
            assert len(await spoken(voice)) == len(TEXT) * BYTES_A_CHARACTER
        assert (rig.doors.ever, list(second.spoken)) == (1, [])

    run_virtual(main())
    assert rig.speaker.models == ("a", "b")


def test_the_next_says_all_of_it_when_the_first_fails_without_a_sound() -> None:
    second = scripted("b")
    rig = Rig([scripted("a", fails=True), second])

    async def main() -> None:
        async with rig.opened() as voice:
            assert len(await spoken(voice)) == len(TEXT) * BYTES_A_CHARACTER
            assert voice.model == "b"
        assert list(second.spoken) == [TEXT]

    run_virtual(main())


def test_the_next_says_the_rest_when_the_first_breaks_off_and_the_first_is_paid() -> None:
    second = scripted("b")
    rig = Rig([scripted("a", fails=True, after=4), second])

    async def main() -> None:
        async with rig.opened() as voice:
            sound = await spoken(voice)
            assert voice.model == "a"
            (rest,) = second.spoken
            assert rest == "lovely to talk with you, Jordan."  # 800 ms is 8 characters at least
            assert len(sound) == 4 * PIECE + len(rest) * BYTES_A_CHARACTER
            await spoken(voice, "And now?")
            assert voice.model == "b"

    run_virtual(main())


def test_a_break_after_the_last_word_is_no_failure_where_nobody_could_say_it_again() -> None:
    rig = Rig([scripted("a", fails=True, after=20, ms_a_character=70), scripted("b", fails=True)])

    async def main() -> None:
        async with rig.opened() as voice:
            assert len(await spoken(voice)) == len(TEXT) * 70 * 8

    run_virtual(main())


def test_sound_comes_within_the_patience_and_the_next_ones_own_time() -> None:
    rig = Rig([scripted("a", first_ms=3_000), scripted("b", first_ms=250)])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as voice, aclosing(voice.speak(TEXT)) as pieces:
            await anext(pieces)
            assert clock.seconds() == pytest.approx(1.25)
        assert rig.breakers[0].failures == 1

    run_virtual(main())


def test_within_a_voice_a_broken_one_is_not_waited_for_again_until_it_may_be_well() -> None:
    first = scripted("a", first_ms=3_000)
    rig = Rig([first, scripted("b")])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as voice:
            await spoken(voice)
            for _ in range(3):
                before = clock.seconds()
                await spoken(voice)
                assert clock.seconds() == before
            await asyncio.sleep(15)
            first.first_ms = 0
            await spoken(voice)
            assert voice.model == "a"
        assert len(first.spoken) == 2

    run_virtual(main())


def test_one_that_failed_lately_is_still_better_than_none() -> None:
    first = scripted("a", fails=lambda text: text == "One.")
    rig = Rig([first, scripted("b", fails=lambda text: text == "Two.")])

    async def main() -> None:
        async with rig.opened() as voice:
            await spoken(voice, "One.")
            assert voice.model == "b"
            await spoken(voice, "Two.")
            assert voice.model == "a"

    run_virtual(main())


def test_an_open_breaker_is_not_tried_at_all() -> None:
    first = scripted("a")
    rig = Rig([first, scripted("b")])

    async def main() -> None:
        attempt = rig.breakers[0].admit()
        assert attempt is not None
        attempt.failed(EngineError("wrong key"))
        async with rig.opened() as voice:
            await spoken(voice)
            assert voice.model == "b"
            assert rig.doors.ever == 1
        assert not first.spoken

    run_virtual(main())


def test_one_that_stalls_is_waited_for_until_what_it_said_has_been_played() -> None:
    @dataclass
    class Stalling:
        model: str = "a"
        sent: bool = True

        async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
            yield bytes(8_000)
            await asyncio.sleep(60)

    class Opening(DeadSpeaker):
        @property
        def models(self) -> tuple[str, ...]:
            return ("a",)

        @asynccontextmanager
        async def open(self, voice: str) -> AsyncIterator[Voice]:
            yield Stalling()

    second = scripted("b")
    rig = Rig([Opening(), second])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as voice, aclosing(voice.speak(TEXT)) as pieces:
            await anext(pieces)
            await asyncio.sleep(0.25)  # the listener is in no hurry
            await anext(pieces)
            assert clock.seconds() == pytest.approx(2.0)
        assert list(second.spoken) == ["lovely to talk with you, Jordan."]  # 1 s is 11 characters at least

    run_virtual(main())


def test_all_down_when_all_have_failed_says_the_last_error() -> None:
    rig = Rig([scripted("a", fails=True), scripted("b", fails=True, first_ms=100)])

    async def main() -> None:
        async with rig.opened() as voice:
            with pytest.raises(AllDown, match="script") as caught:
                await spoken(voice)
            assert not caught.value.retryable
        assert [breaker.failures for breaker in rig.breakers] == [1, 1]

    run_virtual(main())


# -- whatever fails ------------------------------------------------------------------------

UTTERANCE = st.tuples(st.sampled_from([0, 0, 500, 2_000]), st.one_of(st.none(), st.integers(0, 6)))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(UTTERANCE, min_size=1, max_size=4), min_size=3, max_size=3),
    st.lists(st.integers(0, 20), min_size=1, max_size=4),
)
def test_every_word_is_said_in_order_by_one_at_a_time_or_all_are_down(
    scripts: list[list[tuple[int, int | None]]], pauses: list[int]
) -> None:
    stage = Stage()
    voices = [Staged(model, stage, script) for model, script in zip("abc", scripts, strict=True)]
    rig = Rig(voices)

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as voice:
            for pause in pauses:
                before = [len(each.texts) for each in voices]
                begun, pieces, down = clock.seconds(), list[bytes](), False
                try:
                    async with aclosing(voice.speak(TEXT)) as sound:
                        async for piece in sound:
                            if not pieces:
                                assert clock.seconds() - begun <= 3.0
                            pieces.append(piece)
                except AllDown:
                    down = True
                assert (stage.speaking, stage.most) == (0, 1)
                said = [piece[:4].decode() for piece in pieces]
                if said:
                    assert voice.model == said[0][0]
                # Each engine's sound comes in one run from its beginning on: none twice, none mixed in.
                asked = [
                    each.texts[-1]
                    for each, then in zip(voices, before, strict=True)
                    if len(each.texts) > then
                ]
                assert all(TEXT.endswith(text) for text in asked)
                runs = "".join(each[0] for each in said)
                for model in set(runs):
                    assert model * runs.count(model) in runs
                    own = [int(each[1:]) for each in said if each[0] == model]
                    assert own == list(range(len(own)))
                if not down:
                    last = voices["abc".index(said[-1][0])]
                    spoken_by_last = runs.count(last.model)
                    # Its piece count says how far it came: through the rest, or so near the end that a word is left.
                    rest = last.texts[-1][spoken_by_last * 4 :]
                    assert len(rest.split()) <= 1
                    assert rest != TEXT
                await asyncio.sleep(pause)

    run_virtual(main())
