"""Several voices behind one, and voices that speak and fail as told. Nothing may be left open at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.breaker import Breaker
from pipeline.engines.failover import FailoverSpeaker
from pipeline.engines.scripted import ScriptedSpeaker
from tests.pipeline.doubles import Doors, WatchedSpeaker

TEXT = "It was lovely to talk with you, Jordan."
BYTES_A_CHARACTER = 480
PIECE = 1_600
STAGED_MS_A_CHARACTER = 66


@dataclass
class Rig:
    speakers: Sequence[Speaker]
    doors: Doors = field(default_factory=Doors)

    def __post_init__(self) -> None:
        self.breakers = [Breaker(speaker.models[0], Clock()) for speaker in self.speakers]
        self.speaker = FailoverSpeaker(
            [
                (WatchedSpeaker(speaker, self.doors), breaker)
                for speaker, breaker in zip(self.speakers, self.breakers, strict=True)
            ],
            1.0,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Voice]:
        async with self.speaker.open("sarah") as voice:
            yield voice
        assert self.doors.open == 0
        assert len(asyncio.all_tasks()) == 1


async def spoken(voice: Voice, text: str = TEXT) -> bytes:
    async with aclosing(voice.speak(text)) as pieces:
        return b"".join([piece async for piece in pieces])


def scripted(
    model: str,
    *,
    fails: bool | Callable[[str], bool] = False,
    after: int = 0,
    first_ms: int = 0,
    ms_a_character: int = 60,
) -> ScriptedSpeaker:
    return ScriptedSpeaker(
        model=model,
        first_ms=first_ms,
        ms_a_character=ms_a_character,
        fails_on=fails if callable(fails) else lambda text: bool(fails),
        fails_after=after,
    )


@dataclass
class Stage:
    """Who is speaking just now, over all voices of a test."""

    speaking: int = 0
    most: int = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        self.speaking += 1
        self.most = max(self.most, self.speaking)
        try:
            yield
        finally:
            self.speaking -= 1


@dataclass
class Staged:
    """A voice whose utterances are as told: (ms to the first sound, pieces before it fails or None)."""

    model: str
    stage: Stage
    script: list[tuple[int, int | None]]
    texts: list[str] = field(default_factory=list)
    sent: bool = True

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        yield self

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        first_ms, fails_after = self.script[min(len(self.texts), len(self.script) - 1)]
        self.texts.append(text)
        async with self.stage.taken():
            await asyncio.sleep(first_ms / 1000)
            for index in range(-(-len(text) // 4)):
                if index == fails_after:
                    raise EngineError("broke", retryable=True)
                # Each piece is a quarter of a second, about four characters, and says whose it is and which.
                yield f"{self.model}{index:03}".encode().ljust(4 * 8 * STAGED_MS_A_CHARACTER, b".")
                await asyncio.sleep(0.01)
