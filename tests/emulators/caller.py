"""A caller for an ear: sound a frame every 20 ms, and a note of all that is heard meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.audio.mulaw import RATE, silence
from pipeline.core.errors import EngineError
from pipeline.engines.base import Ear, Hearing, Segment, Transcriber, Turn, Used

LOUD = b"\x10"
"""One sample of a loud sound."""


def loud(ms: int) -> bytes:
    return LOUD * (ms * RATE // 1000)


@dataclass
class Call:
    """One opening of an engine, as its user sees it."""

    ear: Ear | None = None
    hearings: list[Hearing] = field(default_factory=list)
    error: EngineError | None = None

    @property
    def opened(self) -> bool:
        return self.ear is not None

    @property
    def detail(self) -> str:
        """Of the error, if there is one."""
        return "" if self.error is None else self.error.detail

    @property
    def finals(self) -> list[str]:
        return [each.text for each in self.hearings if isinstance(each, Turn | Segment)]

    @property
    def used(self) -> list[Used]:
        return [each for each in self.hearings if isinstance(each, Used)]

    @property
    def told(self) -> list[Hearing]:
        """All but the bills."""
        return [each for each in self.hearings if not isinstance(each, Used)]

    async def say(self, sound: bytes, *, step_ms: int = 20) -> None:
        """In real time, without voice activity. Tests that take no heed of frames are faster in larger steps."""
        assert self.ear is not None
        size = step_ms * RATE // 1000
        for start in range(0, len(sound), size):
            self.ear.feed(sound[start : start + size])
            await asyncio.sleep(step_ms / 1000)

    async def speak(
        self, loud_ms: int = 900, quiet_ms: int = 900, *, reported_ms: int = 240, step_ms: int = 20
    ) -> None:
        """A stretch of speech, its end reported by voice activity after so much silence."""
        assert self.ear is not None
        await self.say(loud(120), step_ms=step_ms)
        self.ear.voice(True)
        await self.say(loud(loud_ms - 120) + silence(reported_ms), step_ms=step_ms)
        self.ear.voice(False)
        await self.say(silence(quiet_ms - reported_ms), step_ms=step_ms)


@asynccontextmanager
async def calling(engine: Transcriber) -> AsyncIterator[Call]:
    """An opened engine with a listener. An `EngineError`, of opening or of hearing, ends up in `error`."""
    call = Call()

    async def listen(ear: Ear) -> None:
        try:
            async for hearing in ear.heard():
                call.hearings.append(hearing)
        except EngineError as error:
            call.error = error

    async with asyncio.TaskGroup() as group:
        try:
            async with engine.open() as ear:
                call.ear = ear
                group.create_task(listen(ear))
                yield call
        except EngineError as error:
            call.error = error
            if call.ear is None:
                yield call
