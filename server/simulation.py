"""Who is at a simulated phone: the person of the demo, or somebody who only listens.

The lines are recorded (`server/callers`); when each is said follows from what the agent is
heard to say. Nothing of the server is known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Act, Answer, HangUp, Interrupt, Machine, Script, Silence, Speak
from pipeline.carriers.phonecall import Sms
from pipeline.carriers.simulated import patient_listener

CALLERS = Path(__file__).parent / "callers"

TEXTS = 100

CONVERSATION: tuple[tuple[str, int], ...] = (
    ("hello", 1_200),
    ("interview", 1_500),
    ("bakery", 2_000),
    ("weaknesses", 2_500),
    ("interrupt", -900),
    ("sister", 2_500),
    ("joke", 3_000),
    ("hobbies", 3_000),
    ("day", 3_000),
    ("thanks", 3_500),
)
"""Recorded line, and how long the agent has been quiet before it; negative: said so long into the agent's voice."""

FAREWELL_MS = 6_000
"""How long the talker of `callmeback serve` stays on the line for an answer to their goodbye."""


def jordan() -> Script:
    """Answers after two rings, says recorded lines, once into the agent's voice, and stays on the line."""
    acts: list[Act] = []
    for name, pause_ms in CONVERSATION:
        acts.append(Interrupt(_line(name), -pause_ms) if pause_ms < 0 else Speak(_line(name), pause_ms))
    return Script(Answer(2_000), tuple(acts), Machine("human"))


def talker(_number: str) -> Script:
    """Says the same, then goodbye, and hangs up."""
    told = jordan()
    farewell = (Speak(_line("bye"), 3_000), Silence(FAREWELL_MS), HangUp())
    return Script(told.outcome, (*told.acts, *farewell), told.machine)


def phones(callee: Literal["talks", "listens"]) -> Callable[[str], Script]:
    """Who answers, by number."""
    return talker if callee == "talks" else patient_listener


@cache
def _line(name: str) -> bytes:
    return read_wav(CALLERS / f"{name}.wav")


class Texts:
    """The latest text messages to simulated phones, for the page that stands in for their screens."""

    def __init__(self) -> None:
        self._kept: deque[Sms] = deque(maxlen=TEXTS)

    def arrived(self, message: Sms) -> None:
        self._kept.append(message)

    def to(self, number: str) -> list[Sms]:
        """Newest first."""
        return [message for message in reversed(self._kept) if message.to == number]
