"""What the transcriber gets of a line on which the agent is heard back: the caller, and silence for the echo."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from pipeline.audio import mulaw
from pipeline.engines.base import Ear, Hearing
from pipeline.engines.scripted import ScriptedTranscriber
from tests.pipeline.rig import QUIET, Stage, act, line, speech

GREETED_S = 10.0
ECHO = mulaw.encode((800 * np.sin(2 * np.pi * 300 / mulaw.RATE * np.arange(mulaw.RATE))).astype(np.int16))
"""A second of it, at -20 dB of the scripted voice."""


@dataclass
class Listener:
    """A scripted transcriber that keeps what it was given."""

    script: ScriptedTranscriber
    models: tuple[str, ...] = ("ear",)
    ends_turns: bool = False
    sound: bytearray = field(default_factory=bytearray)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ListenerEar]:
        async with self.script.open() as ear:
            yield ListenerEar(self, ear)


@dataclass
class ListenerEar:
    listener: Listener
    inner: Ear

    def feed(self, mulaw: bytes) -> None:
        self.listener.sound += mulaw

    def voice(self, speaking: bool) -> None:
        self.inner.voice(speaking)

    def heard(self) -> AsyncGenerator[Hearing, None]:
        return self.inner.heard()


def given(caller: bytes) -> bytes:
    listener = Listener(ScriptedTranscriber(["What is new?"], model="ear"))
    act(Stage(transcriber=listener, answers=["Not much."], stays=1.0), caller)
    return bytes(listener.sound)


def test_the_agent_s_echo_is_silence_to_the_transcriber_and_the_caller_is_not() -> None:
    """The greeting comes back from its first word on; then the caller speaks into it."""
    greeting = line(ECHO * 3, speech(0.5), ECHO, GREETED_S)
    sound = given(greeting)
    at = 3 * mulaw.RATE
    assert sound[: mulaw.RATE // 2] == greeting[: mulaw.RATE // 2], "until it is known for one"
    before = sound[at - mulaw.RATE : at - 512]
    assert set(before) == set(QUIET)
    assert speech(0.4) in sound, "the caller whole but for the window it begins in"


def test_on_a_line_without_an_echo_the_transcriber_gets_every_sample_in_time_and_order() -> None:
    faint = bytes([0xFE, 0x7E]) * (mulaw.RATE // 2)
    caller = line(faint * 3, speech(1.0), faint * 4, speech(1.0), faint * 2)
    assert given(caller)[: len(caller)] == caller
