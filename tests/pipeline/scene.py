"""A mouth on its own, with a wire or a carrier to listen at: for its tests."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core.events import AudioQueued, Event
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.scripted import ScriptedSpeaker
from pipeline.mouth import Mouth

V = TypeVar("V", bound=Event)
BYTES_A_MS = 8


@dataclass
class Wire:
    """A line that notes when what was sent."""

    clock: Clock
    sent: list[tuple[float, int, bytes]] = field(default_factory=list)
    cleared: list[float] = field(default_factory=list)

    def play(self, chunk: int, mulaw: bytes) -> None:
        self.sent.append((self.clock.seconds(), chunk, mulaw))

    def clear(self) -> None:
        self.cleared.append(self.clock.seconds())

    async def close(self) -> None: ...

    @property
    def sound(self) -> bytes:
        return b"".join(sound for _, _, sound in self.sent)


@dataclass
class Playing:
    """A chunk in the carrier's buffer: when it begins to play, and what happens when it has played."""

    begins: float
    chunk: int
    sound: bytes
    over: asyncio.TimerHandle


@dataclass
class Carrier(Wire):
    """A line with the buffer behind it: plays in order, echoes marks `back_s` later, and those of a clear."""

    back_s: float = 0.0
    mouth: Mouth | None = None
    heard: list[tuple[int, bytes]] = field(default_factory=list)
    """What was truly played: of each chunk as much as was."""
    _buffer: deque[Playing] = field(default_factory=deque)
    _free_at: float = 0.0

    def play(self, chunk: int, mulaw: bytes) -> None:
        super().play(chunk, mulaw)
        begins = max(self._free_at, self.clock.seconds())
        self._free_at = begins + len(mulaw) / (1000 * BYTES_A_MS)
        over = asyncio.get_running_loop().call_at(self._free_at, self._played)
        self._buffer.append(Playing(begins, chunk, mulaw, over))

    def clear(self) -> None:
        super().clear()
        self._free_at = 0.0
        dropped, self._buffer = self._buffer, deque()
        for part in dropped:
            part.over.cancel()
            size = max(0, round((self.clock.seconds() - part.begins) * 1000 * BYTES_A_MS))
            if size:
                self.heard.append((part.chunk, part.sound[:size]))
            self._echo(part.chunk)

    @property
    def ahead_s(self) -> float:
        """So much is still to be played."""
        return max(0.0, self._free_at - self.clock.seconds())

    def _played(self) -> None:
        part = self._buffer.popleft()
        self.heard.append((part.chunk, part.sound))
        self._echo(part.chunk)

    def _echo(self, chunk: int) -> None:
        assert self.mouth is not None
        if self.back_s:
            asyncio.get_running_loop().call_later(self.back_s, self.mouth.played, chunk)
        else:
            self.mouth.played(chunk)


@dataclass
class Scene:
    mouth: Mouth
    wire: Wire
    posted: list[Event]

    def posts(self, kind: type[V]) -> list[V]:
        return [event for event in self.posted if isinstance(event, kind)]

    def of(self, utterance: int) -> list[Event]:
        return [event for event in self.posted if getattr(event, "utterance", 0) == utterance]

    @property
    def carrier(self) -> Carrier:
        assert isinstance(self.wire, Carrier)
        return self.wire

    @property
    def heard(self) -> list[tuple[int, bytes]]:
        """What was played, with the utterance it belongs to."""
        whose = {event.chunk: event.utterance for event in self.posts(AudioQueued)}
        return [(whose[chunk], sound) for chunk, sound in self.carrier.heard]


def carrier(back_s: float = 0.0) -> Callable[[Clock], Carrier]:
    return lambda clock: Carrier(clock, back_s=back_s)


def scene(
    script: Callable[[Scene], Awaitable[None]],
    speaker: Speaker | None = None,
    *,
    clips: Clips | None = None,
    attached: bool = True,
    line: Callable[[Clock], Wire] = Wire,
) -> Scene:
    """Run a mouth and a script beside it, in virtual time, until the script is over."""

    async def main() -> Scene:
        clock = Clock()
        posted: list[Event] = []

        def post(event: Callable[[Millis], Event]) -> None:
            posted.append(event(clock.millis()))

        engine, kept = speaker or ScriptedSpeaker(), Clips() if clips is None else clips
        mouth = Mouth(engine, "nora", kept, clock, post)
        played = Scene(mouth, line(clock), posted)
        if isinstance(played.wire, Carrier):
            played.wire.mouth = mouth
        if attached:
            mouth.attach(played.wire)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(mouth.run())
            await script(played)
            running.cancel()
        assert len(asyncio.all_tasks()) == 1
        return played

    return run_virtual(main())


def saying(*texts: str, wait: float = 60.0) -> Callable[[Scene], Awaitable[None]]:
    async def script(played: Scene) -> None:
        for number, text in enumerate(texts, start=1):
            played.mouth.say(number, text)
        await asyncio.sleep(wait)

    return script


@dataclass(frozen=True)
class Murmur:
    """Speaks noise of which no stretch is like another, so that each byte heard says where it belongs.

    Pieces of `piece_bytes` come `piece_ms` apart, the first after `first_ms`; that the last one was the last
    is known `end_ms` after it.
    """

    first_ms: int = 0
    piece_ms: int = 0
    piece_bytes: int = 1_600
    end_ms: int = 0
    models: tuple[str, ...] = ("murmur",)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        yield MurmurVoice(self)


@dataclass(frozen=True)
class MurmurVoice:
    script: Murmur
    model: str = "murmur"
    sent: bool = True

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        sound = murmured(text)
        await asyncio.sleep(self.script.first_ms / 1000)
        for start in range(0, len(sound), self.script.piece_bytes):
            if start:
                await asyncio.sleep(self.script.piece_ms / 1000)
            yield sound[start : start + self.script.piece_bytes]
        await asyncio.sleep(self.script.end_ms / 1000)


def murmured(text: str) -> bytes:
    """60 ms a character."""
    return random.Random(text).randbytes(len(text) * 60 * BYTES_A_MS)


def rendered(text: str) -> bytes:
    """What the scripted engine makes of a text, by itself."""

    async def main() -> bytes:
        async with ScriptedSpeaker().open("nora") as voice:
            return b"".join([piece async for piece in voice.speak(text)])

    return run_virtual(main())
