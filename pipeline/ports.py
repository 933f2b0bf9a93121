"""What a live call needs of the world around it. `server/desk.py` supplies it live, `replay.py` offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.core.effects import Effect
from pipeline.core.events import Event
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason
from pipeline.engines.base import Speaker, Thinker, Transcriber, VoiceActivity


class Line(Protocol):
    """The media socket of one call, outbound half. None of these waits."""

    def play(self, chunk: int, mulaw: bytes) -> None:
        """Queue sound at the carrier, and a mark named after the chunk behind it."""

    def clear(self) -> None:
        """Drop what the carrier still buffers; it echoes the marks of what it dropped."""

    async def close(self) -> None: ...


class Talking(Protocol):
    """A live call, as its media socket tells it things: the inbound half. None of these waits."""

    def hear(self, mulaw: bytes) -> None:
        """Sound of the caller, 8 kHz mu-law, as it comes."""

    def played(self, chunk: int) -> None:
        """The mark of this chunk is back: it was played or dropped."""

    def pressed(self, digit: str) -> None:
        """A key: 0-9 * #, from a telephone also A-D."""

    def dropped(self, reason: EndReason) -> None:
        """The other side has ended it, and why."""

    def broken(self) -> None:
        """The socket is gone without a word; another one may come."""


class Surroundings(Protocol):
    """The outside of one call. None of these waits but `hang_up`."""

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        """Each step, after it was journalled: charges to write, turns to keep, news for listeners."""

    async def hang_up(self) -> None:
        """Have the carrier end the call, asked until it says that it did. Raises `CarrierError`."""


class JournalSink(Protocol):
    """Where the journal goes: written before the effects are performed. Whoever opened it closes it."""

    def append(self, event: Event, effects: Sequence[Effect]) -> None:
        """Raises `OSError` when it cannot be written; the call then ends."""


class Pulse(Protocol):
    """Whether this process has run without a gap, and so may count its time as the call's."""

    def counted(self, now: Millis) -> Millis:
        """`now`, or the last moment before a gap of which it is not known yet what happened in it."""

    async def steady(self) -> None:
        """Wait until that is known. Nothing may be bought before."""


class NoGaps:
    """For calls that nobody else could take over."""

    def counted(self, now: Millis) -> Millis:
        return now

    async def steady(self) -> None:
        """There is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The four engines a call uses."""

    voice_activity: VoiceActivity
    transcriber: Transcriber
    thinker: Thinker
    speaker: Speaker
    warm: Callable[[], None] = lambda: None
    """A phone rings: have open what its first reply will need. Returns at once."""
    minds: Mapping[str, Thinker] = field(default_factory=dict)
    """By model: the thinker that asks this one first, where there are several."""

    def thinking_with(self, model: str) -> Engines:
        """These engines with a persona's own model first; as they are where it has none or it is not there."""
        return replace(self, thinker=self.minds.get(model, self.thinker))
