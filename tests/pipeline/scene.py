"""A mouth on its own, with a wire to listen at: for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core.events import Event
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker
from pipeline.engines.scripted import ScriptedSpeaker
from pipeline.mouth import Mouth


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
class Scene:
    mouth: Mouth
    wire: Wire
    posted: list[Event]

    def posts(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.posted if isinstance(event, kind)]


def scene(
    script: Callable[[Scene], Awaitable[None]],
    speaker: Speaker | None = None,
    *,
    clips: Clips | None = None,
    attached: bool = True,
) -> Scene:
    """Run a mouth and a script beside it, in virtual time, until the script is over."""

    async def main() -> Scene:
        clock = Clock()
        posted: list[Event] = []

        def post(event: Callable[[Millis], Event]) -> None:
            posted.append(event(clock.millis()))

        mouth = Mouth(speaker or ScriptedSpeaker(), "nora", Clips() if clips is None else clips, clock, post)
        played = Scene(mouth, Wire(clock), posted)
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


def rendered(text: str) -> bytes:
    """What the scripted engine makes of a text, by itself."""

    async def main() -> bytes:
        async with ScriptedSpeaker().open("nora") as voice:
            return b"".join([piece async for piece in voice.speak(text)])

    return run_virtual(main())
