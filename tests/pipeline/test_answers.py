"""How soon the agent answers: what is measured is what the telephone heard; replies begun early."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from pipeline.audio.mulaw import is_loud
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.events import CallStarted, Manners
from pipeline.engines.base import Eager, Resumed, Speaker, Turn, Voice
from pipeline.engines.scripted import Answer, ScriptedSpeaker, ScriptedThinker, Stretch
from tests.core.story import LLM_OUT, started
from tests.pipeline.rig import PHASE_MS, Played, Stage, act, line, speech
from tests.pipeline.test_perform_events import Ears

GREETED_S = 4.0
CLOSE_MS = 20
"""The telephone looks every 20 ms which marks are due."""


def eager(**other: bool) -> CallStarted:
    return started(manners=Manners(eager=True), **other)


@dataclass
class Drawling:
    """Some quiet in front of every utterance, as engines put there."""

    quiet_ms: int
    inner: ScriptedSpeaker = field(default_factory=lambda: ScriptedSpeaker(first_ms=81, model="voice"))
    models: tuple[str, ...] = ("voice",)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        async with self.inner.open(voice) as inner:
            yield DrawlingVoice(inner, self.quiet_ms)


@dataclass
class DrawlingVoice:
    inner: Voice
    quiet_ms: int
    model: str = "voice"

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        first = b"\xff" * 8 * self.quiet_ms
        async for piece in self.inner.speak(text):
            yield first + piece
            first = b""


def first_heard(played: Played, after_ms: int) -> float:
    """When the telephone played the first audible sample of what began to play after `after_ms`."""
    sounds = {chunk: sound for _, chunk, sound in played.phone.arrived}
    for chunk, begins in sorted(played.phone.begins.items(), key=lambda item: item[1]):
        if begins - played.zero < after_ms:
            continue
        sound = sounds[chunk]
        for start in range(0, len(sound), 160):
            if is_loud(sound[start : start + 160]):
                return begins - played.zero + start / 8
    raise AssertionError("nothing was heard")


# -- what is measured --------------------------------------------------------------------


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("quiet_ms", [0, 70, 330, 950])
@pytest.mark.parametrize("speech_ms", [700, 1_013])
def test_an_answer_s_figures_are_what_the_telephone_heard(early: bool, quiet_ms: int, speech_ms: int) -> None:
    speaker: Speaker = Drawling(quiet_ms)
    stage = Stage(
        start=eager() if early else started(), hears=["What is new?"], answers=["Not much."], speaker=speaker
    )
    played = act(stage, line(6.0, speech(speech_ms / 1000), 4.0))
    (timed,) = played.all(fx.TurnTimed)
    ends_ms = 6_000 + speech_ms + PHASE_MS
    heard = first_heard(played, ends_ms)
    assert abs(timed.speech_end - played.answered - ends_ms) <= CLOSE_MS
    assert abs(timed.audible_ms - (heard - ends_ms)) <= CLOSE_MS
    answered = {"end_of_turn_ms": fx.TurnTaken, "first_frame_ms": ev.AudioQueued}
    assert answered  # what each stage is measured by is below
    turn = next(at for at, made in played.effects if isinstance(made, fx.TurnTaken) and made.role == "caller")
    token = next(at for at, one in zip(played.when(ev.ReplyPiece), played.events(ev.ReplyPiece), strict=True))
    say = played.all(fx.Say)[-1]
    sold = next(event.at for event in played.events(ev.SpeechBought) if event.utterance == say.utterance)
    frame = next(event.at for event in played.events(ev.AudioQueued) if event.utterance == say.utterance)
    zero = timed.speech_end
    assert timed.end_of_turn_ms == turn + played.answered - zero
    assert timed.first_token_ms == token + played.answered - zero
    assert timed.first_audio_ms == sold - zero
    assert timed.first_frame_ms == frame - zero
    assert timed.eager is early
    assert timed.index == 1
