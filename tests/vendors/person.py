"""Who is at the phone: says recorded lines, each when the agent has been heard out, and repeats one when asked to.

Vendors that only emulate hearing are told through `saying` which line it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.audio.mulaw import is_loud
from pipeline.audio.wav import read_wav
from pipeline.clock import Clock
from pipeline.core.money import Millis
from tests.pipeline.rig import Phone

BYTES_A_SECOND = 8000
FRAME = 160
CALLERS = Path(__file__).parent.parent.parent / "server" / "callers"

WORDS: Mapping[str, str] = json.loads((CALLERS / "lines.json").read_text())
"""What is said in each recorded line."""


@cache
def line(name: str) -> bytes:
    """A recorded line, without the silence around it."""
    sound = read_wav(CALLERS / f"{name}.wav")
    loud = [start for start in range(0, len(sound), FRAME) if is_loud(sound[start : start + FRAME])]
    return sound[loud[0] : loud[-1] + FRAME]


class Ears(Phone):
    """A telephone that knows when the agent was last audible."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._now = clock
        self.audible: list[tuple[float, float]] = []
        """When sound began and ended, in seconds of the loop; what was cleared in time was not heard."""

    def play(self, chunk: int, mulaw: bytes) -> None:
        begins = max(self.silent_from, self._now.seconds())
        self.audible.append((begins, begins + len(mulaw) / BYTES_A_SECOND))
        super().play(chunk, mulaw)

    def clear(self) -> None:
        now = self._now.seconds()
        self.audible = [(begins, min(ends, now)) for begins, ends in self.audible if begins < now]
        super().clear()

    @property
    def silent_from(self) -> float:
        """When the agent is silent, as far as is known."""
        return self.audible[-1][1] if self.audible else 0.0

    def next_sound(self, after: float) -> float | None:
        """When the agent is heard next after that."""
        return next((begins for begins, _ in self.audible if begins >= after), None)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One line as it was said, in milliseconds of the loop: until its last audible sample."""

    name: str
    began: Millis
    ended: Millis

    @property
    def text(self) -> str:
        return WORDS[self.name]


@dataclass(frozen=True, slots=True)
class Into:
    """A line said into the agent's voice, so many seconds after that began."""

    name: str
    after_s: float


class Person:
    """Says `lines` in turn, when the agent has been quiet for `pause_s`; waits no longer than `patience_s` for it."""

    def __init__(
        self,
        lines: Sequence[str | Into],
        ears: Ears,
        clock: Clock,
        *,
        pause_s: float = 1.8,
        patience_s: float = 14.0,
    ) -> None:
        self._lines = lines
        self._ears = ears
        self._clock = clock
        self._pause_s = pause_s
        self._patience_s = patience_s
        self._next = 0
        self._rest = b""
        self._quiet_since = clock.seconds()
        self.sounded = 0
        """Bytes that the telephone picked up."""
        self.said: list[Spoken] = []
        self.asked_again = False
        """The agent did not understand; whoever hears it for this person says so."""
        self.gave_up = False
        """The call went on for too long."""

    @property
    def saying(self) -> str:
        """The words of the line now said, or said last."""
        return self.said[-1].text if self.said else ""

    @property
    def content(self) -> bool:
        """All was said, and was answered or not."""
        return self._next == len(self._lines) and not self.asked_again and self._turn_is_mine

    def sound(self, size: int) -> bytes:
        """What the telephone picks up until now."""
        if not self._rest and not self.content and self._begins:
            self._begin()
        sound, self._rest = self._rest[:size], self._rest[size:]
        self.sounded += size
        if sound and not self._rest:
            self._quiet_since = self._clock.seconds()
        return sound.ljust(size, b"\xff")

    @property
    def _begins(self) -> bool:
        if self.asked_again:
            return self._turn_is_mine
        if self._next == len(self._lines):
            return False
        if isinstance(into := self._lines[self._next], Into):
            heard = self._ears.next_sound(self._quiet_since)
            return heard is not None and self._clock.seconds() >= heard + into.after_s
        return self._turn_is_mine

    @property
    def _turn_is_mine(self) -> bool:
        now, silent = self._clock.seconds(), self._ears.silent_from
        if self._rest or now < silent:
            return False
        answered = silent > self._quiet_since
        waited = now - max(silent, self._quiet_since)
        return waited >= (self._pause_s if answered else self._patience_s)

    def _begin(self) -> None:
        if self.asked_again and self.said:
            name = self.said[-1].name
        else:
            chosen = self._lines[self._next]
            name = chosen if isinstance(chosen, str) else chosen.name
            self._next += 1
        self.asked_again = False
        self._rest = line(name)
        began = self._clock.millis()
        self.said.append(Spoken(name, began, Millis(began + len(self._rest) // 8)))
