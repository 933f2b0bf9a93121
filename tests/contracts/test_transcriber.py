"""What every speech to text must do, and how well the local one hears."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

import pytest

from pipeline.audio import mulaw
from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Ear, Hearing, Partial, Segment, Switched, Transcriber, Turn, Used
from pipeline.engines.breaker import Breaker
from pipeline.engines.deepgram.flux import FluxSettings, FluxTranscriber
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from pipeline.engines.failover import FailoverTranscriber
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.whisper import (
    MOST_STRETCHES,
    Transcript,
    WhisperModel,
    WhisperTranscriber,
    spoken_words,
    transcribe,
)
from pipeline.engines.scripted import ScriptedTranscriber, Stretch
from tests.emulators import flux as emulator_flux
from tests.emulators import nova as emulator_nova
from tests.emulators.deepgram import Plan as DeepgramPlan
from tests.emulators.flux import FluxEmulator
from tests.emulators.nova import NovaEmulator
from tests.pipeline.doubles import DeadTranscriber

SAID = ("hello", "sister", "okay")


Engine = Callable[[], AbstractAsyncContextManager[Transcriber]]


@dataclass(frozen=True, slots=True)
class Case:
    """An engine that should hear `SAID` in each opening, and the same engine made to fail at once.

    Brought up inside the loop, together with the vendor's emulator if it has one.
    """

    engine: Engine
    failing: Engine


def ready(engine: Transcriber) -> Engine:
    return lambda: nullcontext(engine)


@asynccontextmanager
async def in_a_row(*engines: Transcriber) -> AsyncIterator[Transcriber]:
    yield FailoverTranscriber([(each, Breaker(each.models[0], Clock())) for each in engines], patience_s=1.0)


@asynccontextmanager
async def flux(texts: Sequence[str], *plans: DeepgramPlan) -> AsyncIterator[Transcriber]:
    # Turns end within the silence of `say`; none of the lines pauses for so long.
    async with FluxEmulator(texts, plans, eot_ms=300, continues=False) as emulator:
        yield FluxTranscriber(FluxSettings(emulator_flux.KEY, url=emulator.url, eager_eot_threshold=0.5))
        assert not emulator.violations


@asynccontextmanager
async def nova(texts: Sequence[str], *plans: DeepgramPlan) -> AsyncIterator[Transcriber]:
    async with NovaEmulator(texts, plans, continues=False) as emulator:
        yield NovaTranscriber(NovaSettings(emulator_nova.KEY, url=emulator.url))
        assert not emulator.violations


def make_case(name: str, said: Sequence[str], whisper: WhisperModel, worker: Worker) -> Case:
    match name:
        case "scripted":
            return Case(
                ready(ScriptedTranscriber(said, delay_ms=120)),
                ready(ScriptedTranscriber([Stretch("", fails=True, delay_ms=50)])),
            )
        case "whisper":
            return Case(
                ready(WhisperTranscriber(whisper, worker)),
                ready(WhisperTranscriber(whisper, Worker("full", limit=0))),
            )
        case "failover":
            fails = ScriptedTranscriber([Stretch("", fails=True, delay_ms=50)])
            return Case(
                lambda: in_a_row(DeadTranscriber(), ScriptedTranscriber(said, delay_ms=120)),
                lambda: in_a_row(DeadTranscriber(), fails),
            )
        case "flux":
            drop = emulator_flux.FAULTS["drop_before_any_speech"]
            return Case(lambda: flux(said), lambda: flux(said, drop))
        case _:
            drop = emulator_nova.FAULTS["drop_before_any_speech"]
            return Case(lambda: nova(said), lambda: nova(said, drop))


@pytest.fixture
def make(lines: dict[str, str], whisper: WhisperModel, worker: Worker) -> Callable[[str], Case]:
    return lambda name: make_case(name, [lines[each] for each in SAID], whisper, worker)


SEGMENTING = ["scripted", "whisper", "nova", "failover"]
TURNING = ["flux"]


@pytest.fixture(params=[*SEGMENTING, *TURNING])
def case(request: pytest.FixtureRequest, make: Callable[[str], Case]) -> Case:
    return make(request.param)


@pytest.fixture(params=SEGMENTING)
def segmenting(request: pytest.FixtureRequest, make: Callable[[str], Case]) -> Case:
    """Only of the engines that leave the turns to us."""
    return make(request.param)


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
    async with asyncio.timeout(60):
        async for hearing in ear.heard():
            if isinstance(hearing, Switched):
                continue
            found.append(hearing)
            if len(found) == count:
                break
    return found


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.casefold())


async def next_texts(engine: Transcriber, ear: Ear, count: int) -> list[str]:
    """The next final texts, of the one kind that this engine gives."""
    kind = Turn if engine.ends_turns else Segment
    other = Segment if engine.ends_turns else Turn
    found: list[str] = []
    async with asyncio.timeout(60):
        async for hearing in ear.heard():
            assert not isinstance(hearing, other)
            assert not isinstance(hearing, Used) or hearing.model in engine.models
            if isinstance(hearing, kind):
                found.append(hearing.text)
            if len(found) == count:
                break
    return found


def run(check: Coroutine[object, object, None]) -> None:
    run_virtual(check, grace=0.001)


def test_one_text_a_stretch_in_order(case: Case, lines: dict[str, str], sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with case.engine() as engine, engine.open() as ear:
            for name in SAID:
                say(ear, sounds[name])
            found = await next_texts(engine, ear, len(SAID))
        assert [words(text) for text in found] == [words(lines[name]) for name in SAID]

    run(main())


def test_a_stretch_without_sound_is_still_answered(segmenting: Case) -> None:
    async def main() -> None:
        async with segmenting.engine() as engine, engine.open() as ear:
            ear.voice(True)
            ear.voice(False)
            ear.voice(True)
            ear.voice(False)
            assert len(await next_texts(engine, ear, 2)) == 2

    run(main())


def test_closing_ends_the_hearing(case: Case, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with case.engine() as engine, asyncio.TaskGroup() as group:
            async with engine.open() as ear:
                idle = group.create_task(next_heard(ear, 1))
                await asyncio.sleep(0.01)
                say(ear, sounds["hello"])
            ear.feed(sounds["hello"])
            ear.voice(False)
        assert idle.result() == []
        assert await next_heard(ear, 1) == []

    run(main())


def test_a_failure_is_an_engine_error(case: Case, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with case.failing() as engine, engine.open() as ear:
            say(ear, sounds["hello"])
            with pytest.raises(EngineError) as caught:
                await next_texts(engine, ear, 1)
            # With every engine down there is nothing to retry: when one may be tried again is its breaker's.
            assert caught.value.retryable or isinstance(caught.value, AllDown)

    run(main())


def test_every_opening_stands_alone(case: Case, lines: dict[str, str], sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with case.engine() as engine:
            for _ in range(2):
                async with engine.open() as ear:
                    say(ear, sounds[SAID[0]])
                    (found,) = await next_texts(engine, ear, 1)
                    assert words(found) == words(lines[SAID[0]])

    run(main())


@pytest.mark.parametrize("name", [*SEGMENTING, *TURNING])
def test_it_names_its_price_lines_and_who_ends_turns(make: Callable[[str], Case], name: str) -> None:
    async def main() -> None:
        async with make(name).engine() as engine:
            assert engine.models
            assert engine.ends_turns == (name in TURNING)

    run(main())


# -- scripted only ---------------------------------------------------------------------


def test_the_script_keeps_its_time_and_its_partials() -> None:
    script = ScriptedTranscriber([Stretch("I see.", 300, before=(Partial("I"), Used("ear", 2)))], repeat=True)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with script.open() as ear:
            for _ in range(2):
                began = loop.time()
                ear.voice(True)
                assert await next_heard(ear, 2) == [Partial("I"), Used("ear", 2)]
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


def test_a_model_far_behind_is_a_failure_and_no_heap_of_sound(whisper: WhisperModel, worker: Worker) -> None:
    async def main() -> None:
        async with WhisperTranscriber(whisper, worker).open() as ear:
            for _ in range(MOST_STRETCHES + 10):
                ear.voice(True)
                ear.feed(mulaw.silence(1_000))
                ear.voice(False)
            with pytest.raises(EngineError, match="keep up"):
                await next_heard(ear, 1)

    run_virtual(main())
