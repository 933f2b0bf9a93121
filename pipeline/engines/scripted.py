"""Engines that follow a script: for tests, benchmarks and the parts of a demo that must not vary.

They keep the contracts of `base.py` to the letter (tests/contracts), take no processor
time to speak of, and fail exactly where they are told to. Waiting is `asyncio.sleep` on
the running loop, so in virtual time it costs nothing. They understand nothing.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import numpy as np

from pipeline.audio.mulaw import RATE, encode, from_float, loudness
from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import WINDOW_SAMPLES, Hearing, Segment, Tokens, Turn
from pipeline.engines.counting import prompt_tokens, text_tokens

REMEMBERED = 1_000

# -- voice activity --------------------------------------------------------------------

LOUD = 200
"""Loudness (of 32,768) that is as likely speech as not, about -44 dB."""


class _LoudnessTrack:
    def __init__(self, on_window: Callable[[float], None]) -> None:
        self._on_window = on_window
        self._rest = b""
        self.closed = False

    def feed(self, mulaw: bytes) -> None:
        sound = self._rest + mulaw
        whole = len(sound) - len(sound) % WINDOW_SAMPLES
        self._rest = sound[whole:]
        for start in range(0, whole, WINDOW_SAMPLES):
            if self.closed:
                return
            level = loudness(sound[start : start + WINDOW_SAMPLES])
            self._on_window(min(1.0, level / (2 * LOUD)))


class LoudnessActivity:
    """Voice activity that takes everything loud for speech. Answers at once, inside `feed`."""

    @contextmanager
    def open(self, on_window: Callable[[float], None]) -> Iterator[_LoudnessTrack]:
        track = _LoudnessTrack(on_window)
        try:
            yield track
        finally:
            track.closed = True


# -- speech to text --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is heard in one stretch of speech: `before` while it goes on, `text` `delay_ms` after its end.

    With `fails`, an `EngineError` comes in the text's place, once; the transcription opened
    next goes on with the text itself.
    """

    text: str
    delay_ms: int = 0
    before: tuple[Hearing, ...] = ()
    fails: bool = False
    retryable: bool = True


class ScriptedEar:
    """One transcription of a `ScriptedTranscriber`."""

    def __init__(self, script: ScriptedTranscriber, position: int, clock: Clock) -> None:
        self._script = script
        self._position = position
        self._clock = clock
        self._due: asyncio.Queue[tuple[float, Hearing | EngineError] | None] = asyncio.Queue()
        self._closing = asyncio.Event()

    def feed(self, mulaw: bytes) -> None:
        """Sound is not listened to."""

    def voice(self, speaking: bool) -> None:
        if self._closing.is_set():
            return
        stretch = self._script.stretch(self._position)
        now = self._clock.seconds()
        if speaking:
            for hearing in stretch.before:
                self._due.put_nowait((now, hearing))
            return
        due = now + stretch.delay_ms / 1000
        if stretch.fails and self._script.fails_first(self._position):
            self._due.put_nowait((due, EngineError("the script says so", retryable=stretch.retryable)))
            return
        self._position += 1
        self._due.put_nowait((due, Turn(stretch.text) if self._script.ends_turns else Segment(stretch.text)))

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        while (coming := await self._due.get()) is not None:
            due, hearing = coming
            await self._pass(due - self._clock.seconds())
            if self._closing.is_set():
                return
            if isinstance(hearing, EngineError):
                raise hearing
            yield hearing

    async def _pass(self, seconds: float) -> None:
        """Wait, but no longer than the ear is open."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closing.wait()

    def close(self) -> None:
        self._closing.set()
        self._due.put_nowait(None)


class ScriptedTranscriber:
    """Hears the n-th line in the n-th stretch of speech of a call, whatever was said.

    After the last line it hears nothing (""), or begins anew with `repeat`. Each `open`
    starts at the first line, except after a failure, where it goes on where it failed.
    """

    def __init__(
        self,
        lines: Sequence[str | Stretch],
        *,
        delay_ms: int = 0,
        repeat: bool = False,
        ends_turns: bool = False,
        model: str = "scripted",
    ) -> None:
        self._stretches = [
            line if isinstance(line, Stretch) else Stretch(line, delay_ms=delay_ms) for line in lines
        ]
        self._after = Stretch("", delay_ms=delay_ms)
        self._repeat = repeat
        self._ends_turns = ends_turns
        self._model = model
        self._failed_at: set[int] = set()
        self._resume_at = 0

    @property
    def models(self) -> tuple[str, ...]:
        return (self._model,)

    @property
    def ends_turns(self) -> bool:
        return self._ends_turns

    def stretch(self, position: int) -> Stretch:
        if self._repeat and self._stretches:
            position %= len(self._stretches)
        return self._stretches[position] if position < len(self._stretches) else self._after

    def fails_first(self, position: int) -> bool:
        """Whether this failure is still to come; noted as having come."""
        if position in self._failed_at:
            return False
        self._failed_at.add(position)
        self._resume_at = position
        return True

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ScriptedEar]:
        position, self._resume_at = self._resume_at, 0
        ear = ScriptedEar(self, position, Clock())
        try:
            yield ear
        finally:
            ear.close()


# -- language model --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the script. With `fails_after`, an `EngineError` comes after so many pieces."""

    text: str
    first_ms: int = 0
    piece_ms: int = 0
    fails_after: int | None = None
    retryable: bool = True


class ScriptedReply:
    def __init__(self, model: str, answer: Answer, uncached: int, max_tokens: int) -> None:
        self.model = model
        self._answer = answer
        self._max_tokens = max_tokens
        self._uncached = uncached
        self._written = ""

    @property
    def tokens(self) -> Tokens:
        return Tokens(self._uncached, 0, text_tokens(self._written))

    async def pieces(self) -> AsyncGenerator[str, None]:
        answer = self._answer
        for index, piece in enumerate(words(answer.text)):
            await asyncio.sleep((answer.piece_ms if index else answer.first_ms) / 1000)
            if answer.fails_after is not None and index >= answer.fails_after:
                raise EngineError("the script says so", retryable=answer.retryable)
            if text_tokens(self._written + piece) > self._max_tokens:
                return
            self._written += piece
            yield piece
        if answer.fails_after is not None:
            raise EngineError("the script says so", retryable=answer.retryable)


class ScriptedThinker:
    """Gives the n-th request the n-th answer, or asks a function of the messages.

    After the last answer it says `"I see."`, or begins anew with `repeat`. Delays given
    here are those of answers that are plain text.
    """

    def __init__(
        self,
        answers: Sequence[str | Answer] | Callable[[Sequence[Message]], str | Answer],
        *,
        first_ms: int = 0,
        piece_ms: int = 0,
        repeat: bool = False,
        model: str = "scripted",
    ) -> None:
        self._answers = answers
        self._first_ms = first_ms
        self._piece_ms = piece_ms
        self._repeat = repeat
        self._model = model
        self._asked = 0
        self.requests: deque[tuple[Message, ...]] = deque(maxlen=REMEMBERED)
        """The latest requests."""

    @property
    def models(self) -> tuple[str, ...]:
        return (self._model,)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[ScriptedReply]:
        self.requests.append(tuple(messages))
        yield ScriptedReply(self._model, self._next(messages), prompt_tokens(messages), max_tokens)

    def _next(self, messages: Sequence[Message]) -> Answer:
        if callable(self._answers):
            found = self._answers(messages)
        else:
            position, self._asked = self._asked, self._asked + 1
            if self._repeat and self._answers:
                position %= len(self._answers)
            found = self._answers[position] if position < len(self._answers) else "I see."
        return found if isinstance(found, Answer) else Answer(found, self._first_ms, self._piece_ms)


def words(text: str) -> Iterator[str]:
    """The text a word at a time, each with the white space before it, as models write."""
    start = 0
    for index in range(1, len(text)):
        if text[index].isspace() and not text[index - 1].isspace():
            yield text[start:index]
            start = index
    if text:
        yield text[start:]


# -- text to speech --------------------------------------------------------------------

MS_A_CHARACTER = 60
PIECE_MS = 200


class ScriptedVoice:
    def __init__(self, script: ScriptedSpeaker, voice: str) -> None:
        self._script = script
        self._second = _tone(voice)
        (self.model,) = script.models
        self.sent = False

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        self.sent = bool(text)
        script = self._script
        script.spoken.append(text)
        await asyncio.sleep(script.first_ms / 1000)
        rest = 0 if script.silent else len(text) * script.ms_a_character * RATE // 1000
        sent = 0
        while rest > 0:
            if script.fails(text) and sent >= script.fails_after:
                raise EngineError("the script says so", retryable=True)
            if sent:
                await asyncio.sleep(script.piece_ms / 1000)
            size = min(rest, PIECE_MS * RATE // 1000)
            yield self._second[:size]
            rest -= size
            sent += 1
        if script.fails(text):
            raise EngineError("the script says so", retryable=True)


class ScriptedSpeaker:
    """Speaks every text as a steady tone, its pitch by the voice, its length by the characters.

    Pieces of 200 ms come as fast as `piece_ms` says (0: at once, as hosted engines nearly do).
    `fails_on` names the texts whose speech breaks after `fails_after` pieces; `silent` speaks
    no sound at all.
    """

    def __init__(
        self,
        *,
        first_ms: int = 0,
        piece_ms: int = 0,
        ms_a_character: int = MS_A_CHARACTER,
        fails_on: Callable[[str], bool] = lambda text: False,
        fails_after: int = 0,
        silent: bool = False,
        model: str = "scripted",
    ) -> None:
        self.first_ms = first_ms
        self.piece_ms = piece_ms
        self.ms_a_character = ms_a_character
        self.fails = fails_on
        self.fails_after = fails_after
        self.silent = silent
        self._model = model
        self.spoken: deque[str] = deque(maxlen=REMEMBERED)
        """The latest texts asked for."""

    @property
    def models(self) -> tuple[str, ...]:
        return (self._model,)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[ScriptedVoice]:
        yield ScriptedVoice(self, voice)


def _tone(voice: str) -> bytes:
    # A multiple of 5 Hz, so that pieces of 200 ms join without a click.
    hertz = 200 + 5 * (zlib.crc32(voice.encode()) % 60)
    time = np.arange(RATE, dtype=np.float32) / RATE
    wave: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.sin(2 * np.pi * hertz * time)
    return encode(from_float(0.25 * wave.astype(np.float32)))
