"""What a transcriber has not finished with: sound of the caller and the marks of voice activity in it.

Kept so that another engine can hear it again. Pure bookkeeping: a `Segment` finishes one
stretch of speech, a `Turn` all there were; who listens, and who fails, is `transcriber.py`'s.
"""

from __future__ import annotations

from collections import deque

from pipeline.audio.mulaw import RATE
from pipeline.engines.base import Ear

LEAD_BYTES = 500 * RATE // 1000
"""Kept while nothing is said: speech is reported some 130 ms after it began, and begins softly."""
TAIL_BYTES = 200 * RATE // 1000
"""The end of a stretch is reported after at least as much silence, where the next may have begun."""
NEW_BYTES = 1_000 * RATE // 1000
"""A stretch that began less than this before a `Turn`, after another one, is of the turn after it."""


class Unfinished:
    """Sound and marks, at positions counted in bytes since the beginning of the call."""

    def __init__(self) -> None:
        self._sound = bytearray()
        self._begins = 0
        """The position of the first byte kept."""
        self._marks: deque[tuple[int, bool]] = deque()
        self._remainder: int | None = None
        """Where the latest turn ended; a stretch marked there is what its last one goes on with."""

    @property
    def begins(self) -> int:
        return self._begins

    @property
    def ends(self) -> int:
        return self._begins + len(self._sound)

    @property
    def awaited(self) -> int:
        """Stretches that have ended and were not answered."""
        return sum(not speaking for _, speaking in self._marks)

    def feed(self, mulaw: bytes, most: int) -> None:
        """Keep at most so many bytes; the oldest go."""
        self._sound += mulaw
        self._forget(self.ends - most)

    @property
    def idle(self) -> bool:
        """Nothing is being said and nothing is awaited."""
        return not self._marks

    def voice(self, speaking: bool) -> None:
        self._marks.append((self.ends, speaking))

    def segment(self) -> None:
        """The oldest stretch was answered."""
        if not self.awaited:
            return
        while True:
            position, speaking = self._marks.popleft()
            if not speaking:
                break
        self._forget(position - TAIL_BYTES)

    def turn(self) -> None:
        """All that was said was answered, but for a stretch that has only just begun after another."""
        speaking = bool(self._marks) and self._marks[-1][1]
        began = self._marks[-1][0] if speaking else self.ends
        ended = self._said_until()
        if speaking and ended is not None and self.ends - began < NEW_BYTES:
            self._forget(max(ended - TAIL_BYTES, began - LEAD_BYTES))
            self._remainder = None
        else:
            began = self._remainder = self.ends
            self._forget(self.ends - TAIL_BYTES)
        self._marks.clear()
        if speaking:
            self._marks.append((began, True))

    def _said_until(self) -> int | None:
        """Where the latest stretch ended that was more than the remainder of an answered one."""
        marks = list(self._marks)
        if marks and marks[0] == (self._remainder, True):
            marks = marks[2:]
        return next((position for position, speaking in reversed(marks) if not speaking), None)

    def lapse(self) -> None:
        """Stretches whose sound is gone are awaited no more; for engines that need not answer each."""
        while len(self._marks) > 1 and self._marks[1][0] <= self._begins:
            self._marks.popleft()
        if self._marks and not self._marks[0][1] and self._marks[0][0] <= self._begins:
            self._marks.popleft()

    def before(self, position: int) -> int:
        """How many of the bytes kept came before that position."""
        return max(0, position - self._begins)

    def lost(self, since: int) -> int:
        """How many bytes from that position on were said, are unanswered, and are not kept any more."""
        spoken = self._marks[0][0] if self._marks and self._marks[0][1] else self._begins
        return max(0, self._begins - max(spoken, since))

    def again(self, ear: Ear) -> None:
        """Tell another ear everything, in order."""
        position = self._begins
        for at, speaking in self._marks:
            if at > position:
                ear.feed(self._between(position, at))
                position = at
            ear.voice(speaking)
        if self.ends > position:
            ear.feed(self._between(position, self.ends))

    def _between(self, start: int, end: int) -> bytes:
        return bytes(self._sound[start - self._begins : end - self._begins])

    def _forget(self, before: int) -> None:
        if before > self._begins:
            del self._sound[: before - self._begins]
            self._begins = before
