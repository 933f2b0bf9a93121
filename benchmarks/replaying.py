"""How much faster than real time a journal replays: ten minutes of call, made here offline with scripted engines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from benchmarks.callers import CALLERS, LINES
from benchmarks.figures import Figure
from pipeline.audio.mulaw import silence
from pipeline.audio.wav import read_wav
from pipeline.clock import real_seconds, run_virtual
from pipeline.core.events import CallStarted
from pipeline.core.money import NANOS_PER_USD, START, Nanos
from pipeline.core.tariff import Price
from pipeline.core.terms import Allowance, EndReason, Layer, Limits, Manners, Phrases
from pipeline.engines.scripted import LoudnessActivity, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.journal_file import read_lines
from pipeline.offline import run_call
from pipeline.ports import Engines
from pipeline.replay import Replay, replay

MINUTES = 10
LISTENS_MS = 5_000
"""The caller's silence after each line."""
MONEY = Nanos(10 * NANOS_PER_USD)
PRICES = (
    Price(1, "carrier", "twilio", "second", 14_000_000, 60, increment=60),
    Price(2, "stream", "twilio-media", "second", 4_000_000, 60, increment=60),
    Price(3, "amd", "twilio", "call", 7_500_000, 1),
    Price(4, "stt", "scripted", "second", 6_500_000, 60),
    Price(5, "llm", "scripted", "token_in", 350_000_000, 1_000_000),
    Price(6, "llm", "scripted", "token_out", 750_000_000, 1_000_000),
    Price(7, "tts", "scripted", "char", 15_000_000, 1_000),
)
PHRASES = Phrases(
    disclosure="This is an automated call, which you asked for.",
    greeting="Hello there, it is good to hear you. How was your day?",
    warning="Just so you know, we have about a minute left on this call.",
    goodbye="I have to let you go now. Take care, goodbye!",
    out_of_time="I'm so sorry, our time is up. Take care, goodbye!",
    still_there="Are you still there?",
    apology="Sorry, could you say it again?",
    voicemail="I tried to reach you as you asked. Goodbye!",
    trouble="I'm sorry, something is wrong at my end. Goodbye!",
    opted_out="All right, you will not be called again. Goodbye.",
    screening="This is Sarah, with the call that was asked for.",
    listening="Mm-hm.",
)


def started() -> CallStarted:
    return CallStarted(
        START,
        call_id="bench",
        persona="sarah",
        layers=(Layer("identity", "You are Sarah, a warm friend. " * 20), Layer("manners", "Be brief.")),
        phrases=PHRASES,
        prices=PRICES,
        allowance=Allowance(MONEY, MONEY, EndReason.CREDIT),
        limits=Limits(),
        manners=Manners(),
        temperature_pct=70,
        transcriber_ends_turns=False,
        seed=1,
        started_utc="2025-01-01T12:00:00.000+00:00",
    )


def engines() -> Engines:
    return Engines(
        voice_activity=LoudnessActivity(),
        transcriber=ScriptedTranscriber(
            ["Let me tell you a little more about it."], delay_ms=80, repeat=True
        ),
        thinker=ScriptedThinker(
            ["That sounds like a good idea. What will you do about it then?"],
            first_ms=200,
            piece_ms=20,
            repeat=True,
        ),
        speaker=ScriptedSpeaker(first_ms=60),
    )


def caller() -> bytes:
    """A little less than ten minutes of somebody who talks and listens by turns."""
    sounds = [read_wav(CALLERS / f"{name}.wav") for name in LINES]
    told = silence(8_000)
    while len(told) < MINUTES * 60 * 8_000:
        told += sounds[0] + silence(LISTENS_MS)
        sounds = [*sounds[1:], sounds[0]]
    return told


def journal() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="callmeback-bench-") as place:
        path = Path(place, "call.journal")
        run_virtual(
            run_call(started(), caller(), engines(), voice="sarah", journal=path, wav=Path(place, "call.wav"))
        )
        return read_lines(path)


def timed(lines: list[str]) -> tuple[Replay, float]:
    begun = real_seconds()
    result = replay(lines)
    return result, real_seconds() - begun


def measure(repeats: int) -> list[Figure]:
    begun = real_seconds()
    lines = journal()
    making = real_seconds() - begun
    runs = [timed(lines) for _ in range(repeats)]
    result = runs[0][0]
    if not result.exact:
        raise RuntimeError(f"the journal does not replay: {result.difference}")
    took = median(seconds for _, seconds in runs)
    call_s = result.millis / 1000
    return [
        Figure("replay", "level 1, a journal", call_s / took, "× real time", 1_000.0, "at least",
               note=f"{result.steps} steps in {call_s:.0f} s of call, {1e6 * took / result.steps:.0f} µs each"),
        Figure("replay", "whole pipeline offline", call_s / making, "× real time", note="sound in; journal, WAV out"),
    ]  # fmt: skip
