"""The golden calls: four stories told by the whole pipeline, whose journals are kept in `tests/calls/`.

`make golden` writes them anew. A deliberate change of what a call does shows in review as a
difference of these files; one that is not deliberate fails `tests/pipeline/test_golden.py`.
Nobody in them exists: names, words and numbers are made up here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.audio.mulaw import RATE, encode, from_float
from pipeline.clock import run_virtual
from pipeline.core.events import CallStarted
from pipeline.core.terms import EndReason, Limits, Manners
from pipeline.engines.base import Partial
from pipeline.engines.scripted import (
    Answer,
    LoudnessActivity,
    ScriptedSpeaker,
    ScriptedThinker,
    ScriptedTranscriber,
    Stretch,
)
from pipeline.journal_file import SUFFIX
from pipeline.offline import run_call
from pipeline.ports import Engines
from tests.core.story import minutes_paid, started
from tests.pipeline.rig import line, speech

CALLS = Path(__file__).parent / "calls"

LONG_ANSWER = (
    "I went to the market, and then I walked along the river for an hour. "
    "The water was very high, and there were two herons fishing by the bridge."
)


@dataclass(frozen=True)
class Told:
    """One golden call: who calls, what the person's side sounds like, what the engines make of it."""

    start: CallStarted
    caller: bytes
    engines: Engines


@dataclass(frozen=True)
class Script:
    hears: list[str | Stretch]
    answers: list[str | Answer]
    speaker: ScriptedSpeaker = field(default_factory=lambda: ScriptedSpeaker(first_ms=81, model="voice"))

    def engines(self) -> Engines:
        # Odd times on purpose: two timers due at the same instant run in no order that may be counted on.
        return Engines(
            LoudnessActivity(),
            ScriptedTranscriber(self.hears, delay_ms=107, model="ear"),
            ScriptedThinker(self.answers, first_ms=203, piece_ms=61, model="mind"),
            self.speaker,
        )


def called(name: str, start: CallStarted) -> CallStarted:
    return replace(start, call_id=f"golden-{name}")


def interrupted() -> Told:
    """A conversation: the person says "mhm" and is talked on to, then breaks in and is given the floor."""
    script = Script(
        hears=[
            Stretch("What did you do today?", before=(Partial("What did you"),)),
            "Mhm.",
            "How was the way back?",
            "Wait, which bus was that?",
            "",
            "Thank you. I have to go now.",
        ],
        answers=[
            LONG_ANSWER,
            "I took the bus, since it began to rain. And guess who sat right beside me, after all these years!",
            "The one to the old station. It runs every hour.",
            "It was lovely to talk. Take care!",
        ],
    )
    caller = line(
        *(4.013, speech(1.3), 3.2),  # asks
        *(speech(0.22), 8.0),  # mhm, in the middle of the answer
        *(speech(1.1), 5.0),  # asks on
        *(speech(1.5), 2.5),  # breaks in
        *(speech(0.11), 4.0),  # a click
        *(speech(1.4), 4.0),
    )
    return Told(called("interrupted", started()), caller, script.engines())


def budget() -> Told:
    """Two minutes are paid: the warning comes at about 60 s, the goodbye at 108 s, and never a third minute."""
    talk = ["Tell me more.", "Really?", "And what happened then?", "I would like that."]
    script = Script(hears=list(talk * 5), answers=["It was a fine day by the sea."] * 20)
    start = started(minutes_paid(2), binds=EndReason.BUDGET)
    return Told(called("budget", start), line(4.013, line(speech(1.1), 8.0) * 14), script.engines())


def failures() -> Told:
    """Each engine fails once and is apologised for; then the person falls silent."""
    script = Script(
        hears=[
            "Hello?",
            Stretch("Are you there?", delay_ms=107, fails=True),
            "Can you hear me?",
            "That is odd.",
        ],
        answers=[
            Answer("Good morning. I was just", fails_after=4, first_ms=203, piece_ms=61),
            Answer("Never said.", fails_after=0, first_ms=203),
            "A sentence that breaks off.",
        ],
        speaker=ScriptedSpeaker(
            first_ms=81, fails_on=lambda text: "breaks" in text, fails_after=3, model="voice"
        ),
    )
    limits = Limits(idle_prompt_ms=6_000, engine_failures=4)
    caller = line(4.013, line(speech(0.9), 5.0) * 4, 60.0)
    return Told(called("failures", started(limits=limits)), caller, script.engines())


def machine() -> Told:
    """A reply begun too early is dropped, the next one is used; a cough stops the voice for a moment; then a
    machine takes over, and is left a message after its beep."""
    script = Script(
        hears=[
            "Hello.",
            "Who is calling, please?",
            "",
            "I am not at home. Please leave a message after the tone.",
        ],
        answers=[
            "Good morning to you.",
            "It is Nora, and I wanted to hear how the journey was. " + LONG_ANSWER,
        ],
    )
    caller = line(
        *(4.013, speech(0.7), 0.37, speech(1.2), 3.2),  # greets, goes on after all
        *(speech(0.31), 10.0),  # coughs, in the middle of the answer
        *(speech(3.2), 1.3, beep(0.4), 8.0),  # the machine
    )
    return Told(called("machine", started(manners=Manners())), caller, script.engines())


def beep(seconds: float) -> bytes:
    at = np.arange(round(seconds * RATE)) / RATE
    return encode(from_float((0.1 * np.sin(2 * np.pi * 1_000 * at)).astype(np.float32)))


STORIES = {"interrupted": interrupted, "budget": budget, "failures": failures, "machine": machine}


def journals() -> Mapping[str, bytes]:
    """Every golden journal as today's pipeline writes it."""
    written = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, story in STORIES.items():
            told, journal = story(), Path(folder) / f"{name}{SUFFIX}"
            run_virtual(
                run_call(
                    *(told.start, told.caller, told.engines),
                    voice="nora",
                    journal=journal,
                    wav=Path(folder) / f"{name}.wav",
                )
            )
            written[name] = journal.read_bytes()
    return written


def main() -> None:
    CALLS.mkdir(exist_ok=True)
    for name, content in journals().items():
        path = CALLS / f"{name}{SUFFIX}"
        same = path.exists() and path.read_bytes() == content
        path.write_bytes(content)
        sys.stdout.write(f"{path.name}: {len(content):,} bytes, {'as before' if same else 'changed'}\n")


if __name__ == "__main__":
    main()
