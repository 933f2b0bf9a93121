"""Sound on its way to the carrier: cut into chunks, paced, marked, and kept until its mark is back.

Pausing takes back what was not heard; resuming sends it again, from the last mark that came
back. Nothing here knows what is said or who says it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.audio.echo import Playing
from pipeline.audio.mulaw import is_loud
from pipeline.clock import Clock
from pipeline.core.events import Audible, AudioQueued, Event, UtteranceQueued
from pipeline.core.money import Millis
from pipeline.pacer import Pace
from pipeline.ports import Line

BYTES_PER_S = 8000
BYTES_PER_MS = 8
CHUNK_BYTES = 3200
FRAME_BYTES = 160

Post = Callable[[Callable[[Millis], Event]], None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Sound of an utterance, or with none its end, which knows how long it was."""

    utterance: int
    sound: bytes
    total_ms: int = 0


class Outgoing:
    """One call's sound."""

    def __init__(self, clock: Clock, pace: Pace, post: Post) -> None:
        self._clock = clock
        self._pace = pace
        self._post = post
        self._sent: deque[tuple[int, Chunk]] = deque()
        self._kept: deque[Chunk] = deque()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._number = 0
        self._lengths: dict[int, int] = {}
        self._audible = 0
        self._playing = Playing()
        self.line: Line | None = None

    # -- from the mouth --------------------------------------------------------------------

    async def send(self, utterance: int, sound: bytes) -> None:
        """Send when there is room: not more than two seconds ahead of what plays, and not while paused."""
        for start in range(0, len(sound), CHUNK_BYTES):
            chunk = Chunk(utterance, sound[start : start + CHUNK_BYTES])
            await self._room(len(chunk.sound) / BYTES_PER_S)
            self._lengths[utterance] = self._lengths.get(utterance, 0) + len(chunk.sound)
            self._put(chunk)

    async def end(self, utterance: int) -> None:
        """All of an utterance was sent."""
        await self._flowing.wait()
        self._put(Chunk(utterance, b"", self._lengths.pop(utterance, 0) // BYTES_PER_MS))

    async def _room(self, seconds: float) -> None:
        """A pause may come while there is no room yet."""
        await self._flowing.wait()
        await self._pace.room(seconds)
        while not self._flowing.is_set():
            await self._flowing.wait()
            await self._pace.room(seconds)

    # -- back and forth --------------------------------------------------------------------

    def played(self, chunk: int) -> None:
        """The mark of a chunk came back; those before it were played too. Marks of what was taken back say nothing."""
        if all(number != chunk for number, _ in self._sent):
            return
        while self._sent[0][0] != chunk:
            self._sent.popleft()
        self._sent.popleft()
        while self._sent and not self._sent[0][1].sound:
            self._sent.popleft()

    def pause(self) -> None:
        self._flowing.clear()
        self._kept.extendleft(chunk for _, chunk in reversed(self._sent))
        self._stop()

    def resume(self) -> None:
        kept, self._kept = self._kept, deque()
        for chunk in kept:
            self._put(chunk)
        self._flowing.set()

    def drop(self) -> None:
        self._kept.clear()
        self._stop()
        self._lengths.clear()
        self._flowing.set()

    def _stop(self) -> None:
        self._sent.clear()
        self._pace.cleared()
        self._playing.cut(1000 * self._clock.seconds())
        if self.line is not None:
            self.line.clear()

    def loudness(self) -> int:
        """Of the agent's sound that may be audible now, or come back as an echo; 0 while it is silent."""
        return self._playing.loudest(1000 * self._clock.seconds())

    # -- to the carrier --------------------------------------------------------------------

    def _put(self, chunk: Chunk) -> None:
        if not chunk.sound:
            # Kept until a later mark is back, and told again after a pause: the news may cross the order to pause.
            self._sent.append((self._number, chunk))
            self._post(lambda at: UtteranceQueued(at, chunk.utterance, chunk.total_ms))
            return
        self._number += 1
        number = self._number
        self._sent.append((number, chunk))
        wait = self._pace.sent(len(chunk.sound) / BYTES_PER_S)
        self._playing.play(1000 * (self._clock.seconds() + wait), chunk.sound)
        self._tell_audible(chunk, round(wait * 1000))
        ms = len(chunk.sound) // BYTES_PER_MS
        digest = hashlib.blake2b(chunk.sound, digest_size=8).hexdigest()
        if self.line is not None:
            self.line.play(number, chunk.sound)
        self._post(lambda at: AudioQueued(at, chunk.utterance, number, ms, digest))

    def _tell_audible(self, chunk: Chunk, ahead_ms: int) -> None:
        """Once an utterance, also where it is sent again: when its first audible sample plays."""
        if chunk.utterance <= self._audible or (lead := _lead_ms(chunk.sound)) is None:
            return
        self._audible = chunk.utterance
        audible_ms = ahead_ms + lead
        self._post(lambda at: Audible(at, chunk.utterance, audible_ms))


def _lead_ms(sound: bytes) -> int | None:
    """The quiet in front of the first audible 20 ms; None where all is quiet."""
    frames = range(0, len(sound), FRAME_BYTES)
    loud = (start for start in frames if is_loud(sound[start : start + FRAME_BYTES]))
    first = next(loud, None)
    return None if first is None else first // BYTES_PER_MS
