"""Engines around engines: some that are watched for being closed again, some that are down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import (
    Ear,
    Hearing,
    Reply,
    Segment,
    Speaker,
    Thinker,
    Transcriber,
    Voice,
    VoiceActivity,
    VoiceTrack,
)
from pipeline.engines.scripted import ScriptedSpeaker, ScriptedTranscriber
from pipeline.ports import Engines

T = TypeVar("T")


# -- engines that are watched --------------------------------------------------------------


@dataclass
class Doors:
    """How many engine contexts are open, and how many ever were."""

    open: int = 0
    ever: int = 0

    @contextmanager
    def track(self, inside: AbstractContextManager[T]) -> Iterator[T]:
        with inside as thing, self._ajar():
            yield thing

    @asynccontextmanager
    async def through(self, inside: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        async with inside as thing:
            with self._ajar():
                yield thing

    @contextmanager
    def _ajar(self) -> Iterator[None]:
        self.open += 1
        self.ever += 1
        try:
            yield
        finally:
            self.open -= 1


@dataclass(frozen=True)
class WatchedActivity:
    inner: VoiceActivity
    doors: Doors

    def open(self, on_window: Callable[[float], None]) -> AbstractContextManager[VoiceTrack]:
        return self.doors.track(self.inner.open(on_window))


@dataclass(frozen=True)
class WatchedTranscriber:
    inner: Transcriber
    doors: Doors

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @property
    def ends_turns(self) -> bool:
        return self.inner.ends_turns

    def open(self) -> AbstractAsyncContextManager[Ear]:
        return self.doors.through(self.inner.open())


@dataclass(frozen=True)
class WatchedThinker:
    inner: Thinker
    doors: Doors

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AbstractAsyncContextManager[Reply]:
        return self.doors.through(self.inner.reply(messages, max_tokens=max_tokens, temperature=temperature))


@dataclass(frozen=True)
class WatchedSpeaker:
    inner: Speaker
    doors: Doors

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    def open(self, voice: str) -> AbstractAsyncContextManager[Voice]:
        return self.doors.through(self.inner.open(voice))


def watched(engines: Engines, doors: Doors) -> Engines:
    return Engines(
        WatchedActivity(engines.voice_activity, doors),
        WatchedTranscriber(engines.transcriber, doors),
        WatchedThinker(engines.thinker, doors),
        WatchedSpeaker(engines.speaker, doors),
    )


# -- engines that are down -----------------------------------------------------------------


@dataclass
class DeadTranscriber:
    """Cannot be opened, the first `times` times; then it opens as the script does.

    With `dies_after`, it can be opened once and lives for so many seconds.
    """

    script: Transcriber = field(default_factory=lambda: ScriptedTranscriber([]))
    times: int = 1_000_000
    dies_after: float | None = None
    tried: int = 0
    models: tuple[str, ...] = ("ear",)
    ends_turns: bool = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        self.tried += 1
        if self.tried == 1 and self.dies_after is not None:
            yield DyingEar(self.dies_after)
            return
        if self.tried <= self.times:
            raise EngineError("refused", retryable=True)
        async with self.script.open() as ear:
            yield ear


@dataclass(frozen=True)
class DyingEar:
    seconds: float

    def feed(self, mulaw: bytes) -> None: ...

    def voice(self, speaking: bool) -> None: ...

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        await asyncio.sleep(self.seconds)
        if self.seconds >= 0:
            raise EngineError("died", retryable=True)
        yield Segment("")


@dataclass
class DeadThinker:
    """Fails before it has written anything."""

    models: tuple[str, ...] = ("mind",)
    asked: int = 0

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[Reply]:
        self.asked += 1
        raise EngineError("refused")
        yield  # type: ignore[unreachable]  # makes it a generator


@dataclass
class DeadSpeaker:
    """Cannot be opened, the first `times` times."""

    script: ScriptedSpeaker = field(default_factory=ScriptedSpeaker)
    times: int = 1_000_000
    tried: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        return self.script.models

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        self.tried += 1
        if self.tried <= self.times:
            raise EngineError("refused", retryable=True)
        async with self.script.open(voice) as opened:
            yield opened
