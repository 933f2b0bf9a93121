"""Transcribers that hear exactly what they are fed: sound is text, so a test sees what was heard, and how often.

A letter is 100 ms of its own byte, `_` is 200 ms of silence, and brackets are the marks of voice activity.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

from pipeline.core.errors import EngineError
from pipeline.engines.base import Ear, Hearing, Segment, Turn

LETTER = 800
SILENCE = 1_600
BROKE = EngineError("broke", retryable=True)


def sound(text: str) -> bytes:
    return b"".join(letter.encode() * (SILENCE if letter == "_" else LETTER) for letter in text)


def words(heard: bytes | bytearray) -> str:
    """The letters in a sound; less than half a letter is none."""
    runs = ((chr(byte), len(list(run))) for byte, run in groupby(heard))
    return "".join(letter * round(length / LETTER) for letter, length in runs if letter != "_")


def say(ear: Ear, marked: str) -> None:
    """Feed all of it at once."""
    for letter in marked:
        tell(ear, letter)


def tell(ear: Ear, letter: str) -> None:
    if letter in "[]":
        ear.voice(letter == "[")
    else:
        ear.feed(sound(letter))


@dataclass(frozen=True)
class Opening:
    """How one opening goes: it takes `opens_s` or fails; then it hears, and fails in place of answer `answers`."""

    opens_s: float = 0.0
    refuses: EngineError | None = None
    answers: int | None = None
    answer_s: float = 0.0
    before: Sequence[Hearing] = ()
    closes_s: float = 0.0


@dataclass
class Echo:
    """Segments are the words between two marks; with `ends_turns`, turns end at each full stop with silence after.

    The n-th opening goes by the n-th of `openings`, or the last.
    """

    model: str
    openings: Sequence[Opening] = (Opening(),)
    ends_turns: bool = False
    ears: list[EchoEar] = field(default_factory=list)
    passed: list[object] = field(default_factory=list)
    """The tasks that entered and left its contexts."""

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        opening = self.openings[min(len(self.ears), len(self.openings) - 1)]
        ear = EchoEar(opening, self.ends_turns)
        self.ears.append(ear)
        self.passed.append(asyncio.current_task())
        try:
            await asyncio.sleep(opening.opens_s)
            if opening.refuses is not None:
                raise opening.refuses
            yield ear
        finally:
            await asyncio.sleep(opening.closes_s)
            self.passed.append(asyncio.current_task())


class EchoEar:
    def __init__(self, opening: Opening, ends_turns: bool) -> None:
        self.fed = bytearray()
        self.marks = ""
        self._opening = opening
        self._ends_turns = ends_turns
        self._from = 0
        self._answers = 0
        self._coming: asyncio.Queue[Hearing | EngineError] = asyncio.Queue()
        for hearing in opening.before:
            self._coming.put_nowait(hearing)

    def feed(self, mulaw: bytes) -> None:
        self.fed += mulaw
        while self._ends_turns and (stop := self.fed.find(b"." * LETTER + b"_" * SILENCE, self._from)) >= 0:
            end = stop + LETTER
            self._answer(Turn(words(self.fed[self._from : end])))
            self._from = end

    def voice(self, speaking: bool) -> None:
        self.marks += "[" if speaking else "]"
        if self._ends_turns:
            return
        if speaking:
            self._from = len(self.fed)
        else:
            self._answer(Segment(words(self.fed[self._from :])))

    def fail(self) -> None:
        self._coming.put_nowait(BROKE)

    def _answer(self, hearing: Hearing) -> None:
        self._answers += 1
        fails = self._opening.answers is not None and self._answers > self._opening.answers
        self._coming.put_nowait(BROKE if fails else hearing)

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        while True:
            coming = await self._coming.get()
            await asyncio.sleep(self._opening.answer_s)
            if isinstance(coming, EngineError):
                raise coming
            yield coming
