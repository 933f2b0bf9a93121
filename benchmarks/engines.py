"""Scripted engines without delay that leave a trace: which turn a sound answers, and when that turn ended.

The n-th turn of the process is heard as "turn n", n in syllables, since figures are spoken as words;
the sound of its answer begins with `TURN` and n in eight digits, which nobody needs to listen to. So
the other end of the wire knows exactly what it waited for. Times are of the monotonic clock that all
processes share.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from pipeline.clock import real_seconds
from pipeline.core.effects import Message
from pipeline.engines.base import Ear, Hearing, Turn, Voice, VoiceActivity, VoiceTrack
from pipeline.engines.counting import prompt_tokens
from pipeline.engines.scripted import Answer, ScriptedReply, ScriptedSpeaker

MODEL = "scripted"
TAG = b"TURN"
TAG_BYTES = 12
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu")
"""A digit each."""
_SERIAL = re.compile(rf"turn ((?:{'|'.join(SYLLABLES)})+)")


def in_syllables(number: int) -> str:
    return "".join(SYLLABLES[int(digit)] for digit in str(number))


def named(text: str) -> int:
    """The number of the turn that a text names, 0 for none."""
    found = _SERIAL.search(text)
    if found is None:
        return 0
    pairs = (found[1][at : at + 2] for at in range(0, len(found[1]), 2))
    return int("".join(str(SYLLABLES.index(pair)) for pair in pairs))


class Trace:
    """When each turn ended (`TurnEnded` handed over), and after how many windows of its call's sound."""

    def __init__(self) -> None:
        self.ended: dict[int, tuple[float, int]] = {}
        self.windows = 0
        """Windows so far of the call whose window is being judged right now."""
        self._turns = 0

    def turn(self) -> str:
        self._turns += 1
        self.ended[self._turns] = (real_seconds(), self.windows)
        return f"This is turn {in_syllables(self._turns)} of mine."

    def take(self) -> dict[int, tuple[float, int]]:
        taken, self.ended = self.ended, {}
        return taken


class TracedActivity:
    """Voice activity that says which window it is at."""

    def __init__(self, inner: VoiceActivity, trace: Trace) -> None:
        self._inner = inner
        self._trace = trace

    @contextmanager
    def open(self, on_window: Callable[[float], None]) -> Iterator[VoiceTrack]:
        windows = 0

        def window(probability: float) -> None:
            nonlocal windows
            windows += 1
            self._trace.windows = windows
            on_window(probability)

        with self._inner.open(window) as track:
            yield track


class _Ear:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._turns: asyncio.Queue[str | None] = asyncio.Queue()

    def feed(self, mulaw: bytes) -> None:
        """Sound is not listened to."""

    def voice(self, speaking: bool) -> None:
        if not speaking:
            self._turns.put_nowait(self._trace.turn())

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        while (text := await self._turns.get()) is not None:
            yield Turn(text)

    def close(self) -> None:
        self._turns.put_nowait(None)


class TracedTranscriber:
    """Ends the turn the moment the voice stops, as a turn-taking transcriber does."""

    models = (MODEL,)
    ends_turns = True

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        ear = _Ear(self._trace)
        try:
            yield ear
        finally:
            ear.close()


class TracedThinker:
    """Answers turn n with a sentence of about three and a half seconds that names n."""

    models = (MODEL,)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[ScriptedReply]:
        serial = in_syllables(named(messages[-1].content))
        text = f"To turn {serial} I say that it is as long as it is."
        yield ScriptedReply(MODEL, Answer(text), prompt_tokens(messages), max_tokens)


class TracedSpeaker:
    """A tone whose first bytes name the turn it answers."""

    models = (MODEL,)

    def __init__(self) -> None:
        self._inner = ScriptedSpeaker()

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        async with self._inner.open(voice) as inner:
            yield _Voice(inner)


class _Voice:
    model = MODEL
    sent = True

    def __init__(self, inner: Voice) -> None:
        self._inner = inner

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        number = named(text)
        tag = TAG + b"%08d" % number if number else b""
        async for piece in self._inner.speak(text):
            yield tag + piece[len(tag) :]
            tag = b""
