"""Several transcribers behind one, and what comes out of it. Nothing may be left open at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.base import Ear, Hearing, Transcriber
from pipeline.engines.breaker import Breaker
from pipeline.engines.failover import FailoverTranscriber
from tests.engines.echoing import Echo
from tests.pipeline.doubles import Doors, WatchedTranscriber

RATE_S = 8_000
REFUSED = EngineError("refused", retryable=True)


@dataclass
class Rig:
    transcribers: Sequence[Transcriber]
    doors: Doors = field(default_factory=Doors)

    def __post_init__(self) -> None:
        self.breakers = [Breaker(each.models[0], Clock()) for each in self.transcribers]
        self.transcriber = FailoverTranscriber(
            [
                (WatchedTranscriber(each, self.doors), breaker)
                for each, breaker in zip(self.transcribers, self.breakers, strict=True)
            ],
            1.0,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Ear]:
        async with self.transcriber.open() as ear:
            yield ear
        assert self.doors.open == 0
        assert len(asyncio.all_tasks()) == 1


class Buggy(Echo):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        yield BuggyEar()


class BuggyEar:
    def feed(self, mulaw: bytes) -> None: ...

    def voice(self, speaking: bool) -> None: ...

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        raise ZeroDivisionError
        yield  # type: ignore[unreachable]  # makes it a generator


async def follow(ear: Ear, found: list[Hearing]) -> None:
    async for hearing in ear.heard():
        found.append(hearing)  # noqa: PERF401  # it is read when this was cancelled


async def heard(ear: Ear, count: int) -> list[Hearing]:
    found: list[Hearing] = []
    async with asyncio.timeout(60):
        async for hearing in ear.heard():
            found.append(hearing)
            if len(found) == count:
                break
    return found
