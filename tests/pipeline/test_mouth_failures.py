"""Engines that misbehave under the mouth: one utterance suffers, the call goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.clips import Clips
from pipeline.core import events as ev
from pipeline.core.errors import EngineError
from pipeline.engines.base import Voice
from pipeline.mouth import PATIENCE_S
from tests.pipeline.scene import Scene, Wire, saying, scene


@dataclass
class OddSpeaker:
    """Hangs on, or breaks at, the texts it is told to; cannot be opened while `shut` lasts."""

    hangs_on: str = ""
    breaks_at: str = ""
    shut: int = 0
    closes_s: float = 0.0
    """What it hangs on takes so long to be closed."""
    models: tuple[str, ...] = ("odd",)
    opened: int = 0
    closed: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        self.opened += 1
        if self.opened <= self.shut:
            raise RuntimeError("a bug")
        yield OddVoice(self)


@dataclass
class OddVoice:
    odd: OddSpeaker
    model: str = "odd"
    sent: bool = True

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        try:
            if text == self.odd.breaks_at:
                raise RuntimeError("a bug")
            yield b"\x10" * 800
            if text == self.odd.hangs_on:
                await asyncio.Event().wait()
        finally:
            if text == self.odd.hangs_on:
                await asyncio.sleep(self.odd.closes_s)
            self.odd.closed.append(text)


def failed(played: Scene) -> list[tuple[int, str]]:
    return [(event.ref, event.kind) for event in played.posted if isinstance(event, ev.EngineFailed)]


def test_an_engine_that_hangs_in_mid_sentence_is_given_up_on() -> None:
    odd = OddSpeaker(hangs_on="One.")
    played = scene(saying("One.", "Two."), odd)
    assert failed(played) == [(1, "retryable")]
    assert [event.at for event in played.posts(ev.EngineFailed)] == [PATIENCE_S * 1000]
    assert odd.closed == ["One.", "Two."]


def test_an_engine_that_hangs_while_preparing_does_not_make_the_call_mute() -> None:
    async def script(played: Scene) -> None:
        played.mouth.prepare(["Goodbye."])
        await asyncio.sleep(1)
        played.mouth.say(1, "Hello.")
        await asyncio.sleep(PATIENCE_S)

    odd = OddSpeaker(hangs_on="Goodbye.")
    played = scene(script, odd)
    assert played.posts(ev.UtteranceQueued)
    assert odd.closed[:2] == ["Goodbye.", "Hello."]  # what is wanted now does not wait for it
    assert played.posts(ev.UtteranceQueued)[0].at < 1_200


def test_what_is_wanted_while_a_rendering_still_closes_waits_for_that_and_no_more() -> None:
    async def script(played: Scene) -> None:
        played.mouth.prepare(["Goodbye."])
        await asyncio.sleep(0.1)
        for number in (1, 2):
            played.mouth.say(number, "Hello.")
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    odd = OddSpeaker(hangs_on="Goodbye.", closes_s=0.5)
    played = scene(script, odd)
    assert odd.closed[:3] == ["Goodbye.", "Hello.", "Hello."]
    assert [event.utterance for event in played.posts(ev.UtteranceQueued)] == [1, 2]
    assert played.posts(ev.AudioQueued)[0].at == 600


def test_a_bug_in_the_engine_fails_the_utterance_and_no_more() -> None:
    played = scene(saying("One.", "Two."), OddSpeaker(breaks_at="One."))
    assert failed(played) == [(1, "failed")]
    assert len(played.posts(ev.UtteranceQueued)) == 1


def test_a_bug_while_preparing_is_no_failure_of_the_call() -> None:
    async def script(played: Scene) -> None:
        played.mouth.prepare(["Bad."])
        await asyncio.sleep(1)
        played.mouth.say(1, "Good.")
        await asyncio.sleep(1)

    assert [type(event) for event in scene(script, OddSpeaker(breaks_at="Bad.")).posted] == [
        ev.SpeechBought,
        ev.Audible,
        ev.AudioQueued,
        ev.UtteranceQueued,
    ]


def test_while_the_engine_cannot_be_opened_each_utterance_fails_and_it_is_tried_again() -> None:
    odd = OddSpeaker(shut=2)
    played = scene(saying("One.", "Two.", "Three."), odd)
    assert failed(played) == [(1, "failed"), (2, "failed")]
    assert odd.opened == 3
    assert len(played.posts(ev.UtteranceQueued)) == 1


def test_an_engine_that_cannot_be_opened_is_not_asked_again_until_something_is_to_be_said() -> None:
    odd = OddSpeaker(shut=100)

    async def script(played: Scene) -> None:
        played.mouth.prepare(["Hello."])
        await asyncio.sleep(3_600)

    scene(script, odd)
    assert odd.opened == 1


def test_a_rendered_phrase_is_spoken_also_by_an_engine_that_cannot_be_opened() -> None:
    clips = Clips()
    clips.put("odd", "nora", "Goodbye.", b"\x10" * 4_000)
    played = scene(saying("Hello.", "Goodbye."), OddSpeaker(shut=100), clips=clips)
    assert failed(played) == [(1, "failed")]
    assert played.wire.sound == b"\x10" * 4_000


def test_a_line_that_breaks_fails_the_utterance() -> None:
    class Broken(Wire):
        def play(self, chunk: int, mulaw: bytes) -> None:
            raise EngineError("no") if chunk > 1 else ConnectionError("gone")

    async def script(played: Scene) -> None:
        played.mouth.attach(Broken(played.wire.clock))
        played.mouth.say(1, "Hello.")
        await asyncio.sleep(1)

    assert failed(scene(script)) == [(1, "failed")]
