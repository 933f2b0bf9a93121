"""What every speech to text must do, and how well the local one hears."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import pytest

from pipeline.audio import mulaw
from pipeline.clock import run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.base import Ear, Hearing, Partial, Segment, Transcriber, Turn, Used
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.whisper import (
    Transcript,
    WhisperModel,
    WhisperTranscriber,
    spoken_words,
    transcribe,
)
from pipeline.engines.scripted import ScriptedTranscriber, Stretch

SAID = ("hello", "sister", "okay")


@dataclass(frozen=True, slots=True)
class Case:
    """An engine that should hear `SAID`, and the same engine made to fail at once."""

    engine: Transcriber
    failing: Transcriber


@pytest.fixture(params=["scripted", "whisper"])
def case(
    request: pytest.FixtureRequest, lines: dict[str, str], whisper: WhisperModel, worker: Worker
) -> Case:
    if request.param == "scripted":
        said = [lines[name] for name in SAID]
        return Case(
            ScriptedTranscriber(said, delay_ms=120),
            ScriptedTranscriber([Stretch("", fails=True, delay_ms=50)]),
        )
    return Case(WhisperTranscriber(whisper, worker), WhisperTranscriber(whisper, Worker("full", limit=0)))


def say(ear: Ear, sound: bytes) -> None:
    """A stretch of speech as the runner reports it: the start 100 ms late, the stop after 200 ms of silence."""
    pieces = [sound[start : start + 160] for start in range(0, len(sound), 160)]
    for index, piece in enumerate(pieces):
        ear.feed(piece)
        if index == 14:
            ear.voice(True)
    ear.feed(mulaw.silence(200))
    ear.voice(False)


async def next_heard(ear: Ear, count: int) -> list[Hearing]:
    found: list[Hearing] = []
    async with asyncio.timeout(30):
        async for hearing in ear.heard():
            found.append(hearing)
            if len(found) == count:
                break
    return found


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.casefold())


def test_one_segment_a_stretch_in_order(case: Case, lines: dict[str, str], sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with case.engine.open() as ear:
            for name in SAID:
                say(ear, sounds[name])
            found = await next_heard(ear, len(SAID))
        assert all(isinstance(each, Segment) for each in found)
        texts = [each.text for each in found if isinstance(each, Segment)]
        assert [words(text) for text in texts] == [words(lines[name]) for name in SAID]

    run_virtual(main())


def test_a_stretch_without_sound_is_still_answered(case: Case) -> None:
    async def main() -> None:
        async with case.engine.open() as ear:
            ear.voice(True)
            ear.voice(False)
            ear.voice(True)
            ear.voice(False)
            assert len(await next_heard(ear, 2)) == 2

    run_virtual(main())


def test_closing_ends_the_hearing(case: Case, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            async with case.engine.open() as ear:
                idle = group.create_task(next_heard(ear, 1))
                await asyncio.sleep(0.01)
                say(ear, sounds["hello"])
            ear.feed(sounds["hello"])
            ear.voice(False)
        assert idle.result() == []
        assert await next_heard(ear, 1) == []

    run_virtual(main())


def test_a_failure_is_an_engine_error(case: Case, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with case.failing.open() as ear:
            say(ear, sounds["hello"])
            with pytest.raises(EngineError) as caught:
                await next_heard(ear, 1)
            assert caught.value.retryable

    run_virtual(main())


def test_every_opening_stands_alone(case: Case, lines: dict[str, str], sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        for _ in range(2):
            async with case.engine.open() as ear:
                say(ear, sounds[SAID[0]])
                (found,) = await next_heard(ear, 1)
                assert isinstance(found, Segment)
                assert words(found.text) == words(lines[SAID[0]])

    run_virtual(main())


def test_it_names_its_price_line(case: Case) -> None:
    assert case.engine.model
    assert not case.engine.ends_turns


# -- scripted only ---------------------------------------------------------------------


def test_the_script_keeps_its_time_and_its_partials() -> None:
    script = ScriptedTranscriber([Stretch("I see.", 300, before=(Partial("I"), Used(2)))], repeat=True)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with script.open() as ear:
            for _ in range(2):
                began = loop.time()
                ear.voice(True)
                assert await next_heard(ear, 2) == [Partial("I"), Used(2)]
                ear.voice(False)
                assert await next_heard(ear, 1) == [Segment("I see.")]
                assert loop.time() - began == pytest.approx(0.3)

    run_virtual(main())


def test_a_script_that_ends_turns() -> None:
    async def main() -> None:
        script = ScriptedTranscriber(["Yes."], ends_turns=True)
        async with script.open() as ear:
            ear.voice(True)
            ear.voice(False)
            assert await next_heard(ear, 1) == [Turn("Yes.")]

    run_virtual(main())


def test_after_a_scripted_failure_the_script_goes_on_where_it_failed() -> None:
    script = ScriptedTranscriber(["One.", Stretch("Two.", fails=True), "Three."])

    async def main() -> None:
        async with script.open() as ear:
            ear.voice(False)
            ear.voice(False)
            assert await next_heard(ear, 1) == [Segment("One.")]
            with pytest.raises(EngineError):
                await next_heard(ear, 1)
        async with script.open() as ear:
            ear.voice(False)
            ear.voice(False)
            ear.voice(False)
            assert await next_heard(ear, 3) == [Segment("Two."), Segment("Three."), Segment("")]

    run_virtual(main())


# -- Whisper only ----------------------------------------------------------------------


def test_every_callers_line_is_heard_right(
    whisper: WhisperModel, lines: dict[str, str], sounds: dict[str, bytes]
) -> None:
    wrong = {
        name: found.text
        for name, text in lines.items()
        if text and name != "mhm" and words((found := transcribe(whisper, sounds[name])).text) != words(text)
    }
    assert not wrong


@pytest.mark.parametrize("lead_ms", [100, 200])
def test_a_loop_is_read_again(whisper: WhisperModel, sounds: dict[str, bytes], lead_ms: int) -> None:
    # In the short window the model says this line twice or more with this much silence in front.
    sound = mulaw.silence(lead_ms) + sounds["interrupt"]
    assert words(transcribe(whisper, sound).text) == words("wait sorry can i ask you something else")


@pytest.mark.parametrize("name", ["click", "cough"])
def test_noises_hold_no_words(whisper: WhisperModel, sounds: dict[str, bytes], name: str) -> None:
    assert spoken_words(transcribe(whisper, sounds[name])) == ""


def test_the_first_word_survives_a_late_report(
    whisper: WhisperModel, worker: Worker, sounds: dict[str, bytes]
) -> None:
    async def main() -> None:
        async with WhisperTranscriber(whisper, worker).open() as ear:
            ear.feed(mulaw.silence(5_000))
            say(ear, sounds["interrupt"])
            (found,) = await next_heard(ear, 1)
            assert isinstance(found, Segment)
            assert found.text.startswith("Wait")

    run_virtual(main())


def test_of_an_endless_stretch_the_end_is_kept(
    whisper: WhisperModel, worker: Worker, sounds: dict[str, bytes]
) -> None:
    async def main() -> None:
        async with WhisperTranscriber(whisper, worker).open() as ear:
            ear.voice(True)
            ear.feed(mulaw.silence(60_000))
            ear.feed(sounds["sister"])
            ear.voice(False)
            (found,) = await next_heard(ear, 1)
            assert isinstance(found, Segment)
            assert "sister" in found.text

    run_virtual(main())


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (Transcript("Thank you.", 0.8), ""),
        (Transcript("Thank you.", 0.1), "Thank you."),
        (Transcript("[BLANK_AUDIO]", 0.1), ""),
        (Transcript("(coughs) Hello *sighs* there.", 0.1), "Hello there."),
        (Transcript(" . ", 0.1), ""),
    ],
)
def test_what_counts_as_said(transcript: Transcript, expected: str) -> None:
    assert spoken_words(transcript) == expected


def test_the_queue_is_bounded(whisper: WhisperModel, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        engine = WhisperTranscriber(whisper, Worker("small", limit=1))
        async with engine.open() as one, engine.open() as other, asyncio.TaskGroup() as group:
            say(one, sounds["okay"])
            say(other, sounds["okay"])
            first = group.create_task(next_heard(one, 1))
            await asyncio.sleep(0)
            with pytest.raises(EngineError, match="overloaded"):
                await next_heard(other, 1)
        assert len(first.result()) == 1

    run_virtual(main())
