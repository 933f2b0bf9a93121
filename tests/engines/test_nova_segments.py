"""What Nova tells becomes one segment a stretch: none waits for ever, no word is lost or said twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from pipeline.audio.mulaw import silence
from pipeline.core.errors import EngineError
from pipeline.engines.base import Hearing, Partial, Segment
from pipeline.engines.deepgram.nova_text import NovaText, Results
from tests.emulators.caller import calling, loud
from tests.emulators.deepgram import Act, Fault, Moment
from tests.emulators.nova import FAULTS, NovaEmulator, Plan
from tests.engines.novas import FINALIZE, SETTINGS, TEXTS, engine, run


def test_an_answer_that_does_not_come_is_waited_for_half_a_second() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with NovaEmulator(TEXTS, [FAULTS["mute_after_interim"]]) as emulator:
            settings = replace(SETTINGS, mute_s=None)
            async with engine(emulator, settings).open() as ear:
                ear.feed(loud(1_100) + silence(240))
                ear.voice(False)
                began = loop.time()
                async for each in ear.heard():
                    if isinstance(each, Segment):
                        assert each == Segment("Hi Sarah, this is")
                        break
                assert loop.time() - began == pytest.approx(0.5)

    run(main)


def test_half_a_sentence_is_no_answer_where_the_vendor_is_silent_about_the_rest() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        plan = FAULTS["mute_after_interim"]
        async with NovaEmulator(TEXTS, [plan]) as emulator, engine(emulator).open() as ear:
            ear.feed(loud(1_250) + silence(240))
            ear.voice(False)
            began = loop.time()
            heard: list[Hearing] = []

            async def listen() -> None:
                async for each in ear.heard():
                    heard.append(each)  # noqa: PERF401  # what came before the failure counts

            with pytest.raises(EngineError, match=r"no answer in 1\.5 s"):
                await listen()
            assert not [each for each in heard if isinstance(each, Segment)]
            assert loop.time() - began == pytest.approx(1.5)

    run(main)


def test_stretches_that_wait_for_a_late_answer_get_it() -> None:
    async def main() -> None:
        plan = Plan(faults=FAULTS["end_late"].faults[1:])
        async with NovaEmulator(TEXTS, [plan], interim_ms=9_000) as emulator:
            settings = replace(SETTINGS, finalize_s=0.2)
            async with calling(engine(emulator, settings)) as call:
                await call.speak(900, 240)
                await call.speak(900, 900)
            assert [call.finals, call.error] == [TEXTS[:2], None]

    run(main)


def test_a_segment_does_not_wait_when_the_vendor_found_the_silence_first() -> None:
    async def main() -> None:
        async with (
            NovaEmulator(TEXTS, [Plan(finalizes=False)]) as emulator,
            calling(engine(emulator)) as call,
        ):
            await call.say(loud(1_200) + silence(400))
            assert not call.finals
            assert call.ear is not None
            call.ear.voice(False)
            await asyncio.sleep(0.01)
            assert call.finals == TEXTS[:1]

    run(main)


def test_stretches_fed_in_one_go_are_answered_in_order() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator, calling(engine(emulator)) as call:
            assert call.ear is not None
            for _ in TEXTS:
                call.ear.feed(loud(1_000) + silence(250))
                call.ear.voice(False)
            await asyncio.sleep(0.6)
            assert call.finals == TEXTS
            assert emulator.records[0].texts == [FINALIZE] * 3

    run(main)


def test_without_sound_there_is_nothing_to_wait_for() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator, calling(engine(emulator)) as call:
            assert call.ear is not None
            call.ear.voice(True)
            call.ear.voice(False)
            await asyncio.sleep(0.01)
            assert call.told == [Segment("")]
            await call.say(silence(2_000))
            call.ear.voice(False)
            await asyncio.sleep(0.6)
            assert call.told == [Segment(""), Segment("")]

    run(main)


def results(text: str, start: float, end: float, **more: object) -> Results:
    words = text.split()
    each = (end - start) / max(1, len(words))
    timed = [{"word": word, "start": start + number * each} for number, word in enumerate(words)]
    best = {"transcript": text, "words": timed}
    message = {"channel": {"alternatives": [best]}, "start": start, "duration": end - start, **more}
    return msgspec.convert(message, Results)


def test_words_are_neither_lost_nor_said_twice_across_a_segment_that_could_not_wait() -> None:
    text = NovaText()
    assert text.take(results("one two", 0, 1, is_final=True)) == Partial("one two")
    assert text.take(results("three", 1, 2)) == Partial("one two three")
    assert text.end() == Segment("one two three")
    # The final text of what was told already, with two words of what comes next.
    assert text.take(results("three four five", 1, 4, is_final=True)) == Partial("four five")
    assert text.take(results("three four five", 1, 4, is_final=True)) is None
    assert text.take(results("six", 4, 5)) == Partial("four five six")
    assert text.end() == Segment("four five six")
    assert text.take(results("six", 4, 5, is_final=True)) is None
    assert text.end() == Segment("")


def test_words_that_were_not_final_stand_where_the_result_that_makes_them_so_is_left_out() -> None:
    text = NovaText()
    assert text.take(results("one two", 0, 1)) == Partial("one two")
    assert text.take(results("", 1.6, 1.6, is_final=True, from_finalize=True)) is None
    assert text.end() == Segment("one two")
    assert text.take(results("three", 1.6, 2)) == Partial("three")
    assert text.take(results("four", 2.5, 3)) == Partial("three four")
    assert text.end() == Segment("three four")


LEFT_OUT = "deepgram nova left out what was said"


@pytest.mark.parametrize(
    ("loud_ms", "told"),
    [(1_200, [Partial("Hi Sarah, this is")]), (600, []), (240, [])],
    ids=["told in part", "never told", "one word"],
)
def test_an_end_that_is_left_out_is_a_failure_as_soon_as_another_result_gives_it_away(
    loud_ms: int, told: list[Hearing]
) -> None:
    async def main() -> None:
        async with (
            NovaEmulator(TEXTS, [FAULTS["end_skipped"]]) as emulator,
            calling(engine(emulator)) as call,
        ):
            # The vendor finds the silence before we do: all that is left to answer to Finalize is nothing.
            await call.say(loud(loud_ms) + silence(400))
            assert call.ear is not None
            call.ear.voice(False)
            await asyncio.sleep(0.01)
            assert [call.told, call.detail] == [told, LEFT_OUT]

    run(main)


def test_a_result_that_is_not_final_gives_it_away_too() -> None:
    async def main() -> None:
        plan = Plan(faults=(Fault(Moment.END, Act.SKIP),))
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.say(loud(700) + silence(1_500))
            assert call.detail == LEFT_OUT

    run(main)


def test_an_answer_that_came_too_late_to_count_is_not_missed() -> None:
    async def main() -> None:
        plan = Plan(faults=(Fault(Moment.FINALIZED, Act.SKIP),))
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.speak(1_100)
            await call.speak(1_100)
            assert [call.finals, call.error] == [["Hi Sarah, this is", TEXTS[1]], None]

    run(main)


def test_a_late_answer_does_not_wait_for_what_is_said_after_it() -> None:
    async def main() -> None:
        plan = Plan(faults=(Fault(Moment.FINALIZED, Act.SKIP),))
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.speak(1_100, 240)
            await call.say(loud(600))
            assert [call.finals, call.error] == [["Hi Sarah, this is"], None]

    run(main)


def test_a_result_without_words_tells_nothing_of_what_was_said() -> None:
    async def main() -> None:
        faults = (Fault(Moment.INTERIM, Act.EMPTY), Fault(Moment.FINALIZED, Act.SKIP))
        async with NovaEmulator(TEXTS, [Plan(faults=faults)]) as emulator, calling(engine(emulator)) as call:
            await call.speak(1_000, 240)
            await asyncio.sleep(2)
            assert not call.finals
            assert "no answer in 1.5 s" in call.detail

    run(main)
