"""What every text to speech must do, hosted ones against their emulators, and that the local one is understood."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.audio import mulaw
from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.breaker import Breaker
from pipeline.engines.deepgram.aura import AuraSettings, AuraSpeaker
from pipeline.engines.elevenlabs import ElevenLabsSettings, ElevenLabsSpeaker
from pipeline.engines.failover import FailoverSpeaker
from pipeline.engines.local.hibari import TIMBRES, HibariModel, HibariSpeaker, clauses, timbre
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.whisper import WhisperModel, transcribe
from pipeline.engines.scripted import ScriptedSpeaker
from tests.emulators.aura import FAULTS as AURA_FAULTS
from tests.emulators.aura import Aura
from tests.emulators.elevenlabs import FAULTS as ELEVENLABS_FAULTS
from tests.emulators.elevenlabs import ElevenLabs

GRACE = 0.001
SHORT = "Hello there."
LONG = "It was lovely to talk with you, Jordan. Take good care of yourself, and call me again soon!"


@dataclass(frozen=True, slots=True)
class Case:
    """An engine, and the same engine made to fail at every text."""

    engine: Speaker
    failing: Speaker


Bringing = Callable[[], AbstractAsyncContextManager[Case]]
"""Brings a case up on the running loop, with the vendor's emulator for a hosted one."""


@asynccontextmanager
async def elevenlabs() -> AsyncIterator[Case]:
    async with ElevenLabs() as vendor, ElevenLabs(plan=ELEVENLABS_FAULTS["quota_told"]) as failing:
        yield Case(
            ElevenLabsSpeaker(ElevenLabsSettings(key=vendor.key, url=vendor.url)),
            ElevenLabsSpeaker(ElevenLabsSettings(key=failing.key, url=failing.url)),
        )
        assert vendor.violations == failing.violations == []


@asynccontextmanager
async def aura() -> AsyncIterator[Case]:
    async with Aura() as vendor, Aura(plan=AURA_FAULTS["error_told"]) as failing:
        yield Case(
            AuraSpeaker(AuraSettings(key=vendor.key, url=vendor.url)),
            AuraSpeaker(AuraSettings(key=failing.key, url=failing.url)),
        )
        assert vendor.violations == failing.violations == []


@asynccontextmanager
async def failover() -> AsyncIterator[Case]:
    def in_a_row(*speakers: Speaker) -> Speaker:
        return FailoverSpeaker(
            [(each, Breaker(each.models[0], Clock())) for each in speakers], patience_s=1.0
        )

    broken = ScriptedSpeaker(fails_on=bool, model="broken")
    yield Case(in_a_row(broken, ScriptedSpeaker()), in_a_row(broken, broken))


@pytest.fixture(params=["scripted", "hibari", "elevenlabs", "aura", "failover"])
def case(request: pytest.FixtureRequest) -> Bringing:
    if request.param == "elevenlabs":
        return elevenlabs
    if request.param == "aura":
        return aura
    if request.param == "failover":
        return failover
    if request.param == "scripted":
        return lambda: nullcontext(Case(ScriptedSpeaker(), ScriptedSpeaker(fails_on=lambda text: True)))
    hibari: HibariModel = request.getfixturevalue("hibari")
    worker: Worker = request.getfixturevalue("worker")
    full = Worker("full", limit=0)
    return lambda: nullcontext(Case(HibariSpeaker(hibari, worker), HibariSpeaker(hibari, full)))


async def spoken(voice: Voice, text: str, pieces: int | None = None) -> bytes:
    sound = b""
    async with aclosing(voice.speak(text)) as stream:
        async for piece in stream:
            assert piece
            sound += piece
            if pieces is not None:
                pieces -= 1
                if not pieces:
                    break
    return sound


def test_speech_is_audible_and_as_long_as_the_text(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up:
            async with up.engine.open("sarah") as voice:
                short, long = await spoken(voice, SHORT), await spoken(voice, LONG)
            assert mulaw.loudness(short) > 1_000
            assert 300 < mulaw.duration_ms(short) < 2_500
            assert mulaw.duration_ms(long) > 3 * mulaw.duration_ms(short)

    run_virtual(main(), grace=GRACE)


def test_the_same_text_is_the_same_sound(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up:
            async with up.engine.open("sarah") as voice:
                first = await spoken(voice, SHORT)
                await spoken(voice, LONG)
                assert await spoken(voice, SHORT) == first
            async with up.engine.open("sarah") as voice:
                assert await spoken(voice, SHORT) == first

    run_virtual(main(), grace=GRACE)


def test_voices_differ(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up:
            sounds = set()
            for name in TIMBRES:
                async with up.engine.open(name) as voice:
                    sounds.add(await spoken(voice, SHORT))
            assert len(sounds) == len(TIMBRES)

    run_virtual(main(), grace=GRACE)


def test_closing_cancels_and_the_next_utterance_is_whole(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up, up.engine.open("sarah") as voice:
            whole = await spoken(voice, LONG)
            cut = await spoken(voice, LONG, pieces=1)
            assert len(cut) < len(whole) / 3
            assert whole.startswith(cut)
            assert await spoken(voice, LONG) == whole

    run_virtual(main(), grace=GRACE)


def test_no_text_is_no_sound(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up, up.engine.open("sarah") as voice:
            assert await spoken(voice, "") == b""

    run_virtual(main(), grace=GRACE)


def test_it_says_that_the_text_is_out_with_the_first_sound_at_the_latest(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up, up.engine.open("sarah") as voice:
            told = [voice.sent]
            for _ in range(2):
                async with aclosing(voice.speak(SHORT)) as pieces:
                    await anext(pieces)
                    told.append(voice.sent)
                for text in (LONG, ""):
                    await spoken(voice, text)
                    told.append(voice.sent)
            assert told == [False, *[True, True, False] * 2], "of no text there is nothing to send"

    run_virtual(main(), grace=GRACE)


def test_a_failure_is_an_engine_error(case: Bringing) -> None:
    async def main() -> None:
        async with case() as up, up.failing.open("sarah") as voice:
            with pytest.raises(EngineError):
                await spoken(voice, SHORT)

    run_virtual(main(), grace=GRACE)


# -- scripted only ---------------------------------------------------------------------


def test_a_script_can_break_in_the_middle_or_be_silent() -> None:
    async def main() -> None:
        breaking = ScriptedSpeaker(fails_on=lambda text: "lovely" in text, fails_after=2)
        async with breaking.open("sarah") as voice:
            assert await spoken(voice, SHORT)
            with pytest.raises(EngineError):
                await spoken(voice, LONG)
            assert await spoken(voice, LONG, pieces=2)
        assert list(breaking.spoken) == [SHORT, LONG, LONG]
        async with ScriptedSpeaker(silent=True).open("sarah") as voice:
            assert await spoken(voice, SHORT) == b""

    run_virtual(main())


# -- hibari only -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TIMBRES])
def test_every_voice_is_understood(hibari: HibariModel, whisper: WhisperModel, name: str) -> None:
    said = hibari.speak("Being nervous about the interview shows that it matters to you.", TIMBRES[name])
    heard = transcribe(whisper, said).text.casefold()
    assert re.findall("[a-z]+", heard) == (
        ["being", "nervous", "about", "the", "interview", "shows", "that", "it", "matters", "to", "you"]
    )


def pitch(sound: bytes) -> float:
    """Median pitch of the voiced parts, in hertz, by autocorrelation."""
    pcm = mulaw.to_float(mulaw.decode(sound))
    found = []
    for start in range(0, len(pcm) - 400, 200):
        frame = pcm[start : start + 400]
        energy = float(frame @ frame)
        if energy < 1.0:
            continue
        lags = [float(frame[lag:] @ frame[: len(frame) - lag]) for lag in range(22, 130)]
        if max(lags) > 0.4 * energy:
            found.append(mulaw.RATE / (22 + int(np.argmax(lags))))
    return float(np.median(found))


def test_voices_differ_in_pitch(hibari: HibariModel) -> None:
    low, warm, bright = (pitch(hibari.speak(LONG, TIMBRES[name])) for name in ("brad", "sarah", "alex"))
    assert low < 150 < warm < bright
    assert bright > 1.15 * warm


def test_the_first_clause_does_not_wait_for_the_last(hibari: HibariModel) -> None:
    jobs: list[Callable[[], object]] = []

    class Watched(Worker):
        async def run(self, job: Callable[[], bytes]) -> bytes:  # type: ignore[override]
            jobs.append(job)
            return await super().run(job)

    async def main() -> None:
        worker = Watched("watched", limit=1)
        async with HibariSpeaker(hibari, worker).open("sarah") as voice:
            assert await spoken(voice, LONG, pieces=1)
        worker.close()
        assert len(jobs) == 1

    run_virtual(main())


def test_speech_begins_and_ends_softly_at_an_even_level(hibari: HibariModel) -> None:
    for text in (SHORT, "No!", LONG, "I see, that's a lot to carry at once."):
        for each in TIMBRES.values():
            pcm = np.abs(mulaw.decode(hibari.speak(text, each)).astype(int))
            assert pcm[:4].max() < 300
            assert pcm[-4:].max() < 300
            assert 9_000 < pcm.max() < 31_000
            # No more than 60 ms of silence in front: it would be waited for.
            assert pcm[:480].max() > 300


def test_unspeakable_text_is_no_sound(hibari: HibariModel, worker: Worker) -> None:
    async def main() -> None:
        async with HibariSpeaker(hibari, worker).open("sarah") as voice:
            for text in ("...", "😀", "***", " \n "):
                assert await spoken(voice, text) == b"", text

    run_virtual(main())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?", ["Hello there.", "How are you?"]),
        ("Dr. Smith called. *Really!*", ["Dr. Smith called.", "Really!"]),
        ("", []),
        (
            "When the first light came over the hills we saw the old harbour, quiet as ever, and nobody spoke.",
            [
                "When the first light came over the hills we saw the old harbour, quiet as ever,",
                "and nobody spoke.",
            ],
        ),
    ],
)
def test_clauses(text: str, expected: list[str]) -> None:
    assert clauses(text) == expected


def test_unknown_voices_always_get_the_same_timbre() -> None:
    assert timbre("Sarah") is TIMBRES["sarah"]
    assert timbre("someone") is timbre("SOMEONE")
    assert timbre("someone") in TIMBRES.values()
