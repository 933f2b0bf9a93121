"""The agent's voice in one call: renders utterances in order and sends them ahead of playback.

Sound goes to the carrier in chunks of at most 400 ms with a mark behind each, never more
than two seconds ahead of what plays, so that an interruption drops little and the marks
say closely what was heard. What an utterance means is none of its business.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.core.events import AudioQueued, EngineFailed, Event, UtteranceQueued
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker, Voice
from pipeline.ports import Line

log = structlog.get_logger()

BYTES_PER_S = 8000
BYTES_PER_MS = 8
CHUNK_BYTES = 3200
AHEAD_S = 2.0
PATIENCE_S = 6.0
"""Longest wait for the next piece of an engine's sound."""

Post = Callable[[Callable[[Millis], Event]], None]


@dataclass(frozen=True, slots=True)
class Unopened:
    """The voice of an engine that cannot be opened."""

    error: EngineError

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        raise self.error
        yield b""  # type: ignore[unreachable]  # makes it a generator


class Mouth:
    """Owned by the call's performer, which runs `run` as a task of the call."""

    def __init__(self, speaker: Speaker, voice: str, clips: Clips, clock: Clock, post: Post) -> None:
        self._speaker = speaker
        self._voice = voice
        self._clips = clips
        self._clock = clock
        self._post = post
        self._line: Line | None = None
        self._orders: deque[tuple[int, str]] = deque()
        self._unrendered: deque[str] = deque()
        self._keep: set[str] = set()
        self._wake = asyncio.Event()
        self._uttering: asyncio.Task[None] | None = None
        self._plays_until = 0.0
        self._chunk = 0

    def attach(self, line: Line) -> None:
        self._line = line
        self._wake.set()

    def prepare(self, texts: Sequence[str]) -> None:
        """Render these when there is nothing to say, and keep them."""
        self._keep.update(texts)
        self._unrendered.extend(text for text in texts if self._clip(text) is None)
        self._wake.set()

    def say(self, utterance: int, text: str) -> None:
        self._orders.append((utterance, text))
        self._wake.set()

    def hush(self) -> None:
        """Drop what is queued here and at the carrier."""
        self._orders.clear()
        if self._uttering is not None:
            self._uttering.cancel()
        self._plays_until = 0.0
        if self._line is not None:
            self._line.clear()

    async def run(self) -> None:
        """Speak until cancelled. While the engine cannot be opened, all but rendered phrases fails."""
        while True:
            try:
                async with self._speaker.open(self._voice) as voice:
                    await self._speak(voice)
            except EngineError as error:
                await self._speak_without(error)
            except Exception as error:  # edge: the engine's opening must not take the call down
                log.exception("voice_not_opened", engine=self._speaker.model)
                await self._speak_without(EngineError(type(error).__name__))

    async def _speak(self, voice: Voice) -> None:
        while True:
            if (line := self._wanted_on) is not None:
                await self._next(voice, line)
            elif self._unrendered:
                await self._render(voice, self._unrendered.popleft())
            else:
                await self._news()

    async def _speak_without(self, error: EngineError) -> None:
        """One utterance; then opening the engine is tried again."""
        while (line := self._wanted_on) is None:
            await self._news()
        await self._next(Unopened(error), line)

    @property
    def _wanted_on(self) -> Line | None:
        """The line, if there is one and an utterance waits for it."""
        return self._line if self._orders else None

    async def _news(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def _next(self, voice: Voice, line: Line) -> None:
        utterance, text = self._orders.popleft()
        async with asyncio.TaskGroup() as tasks:
            self._uttering = tasks.create_task(self._utter(voice, line, utterance, text))
        self._uttering = None

    async def _render(self, voice: Voice, text: str) -> None:
        """Render a phrase for later, unless another call has; an utterance that is wanted now goes first."""
        if self._clip(text) is not None:
            return
        sound = bytearray()
        try:
            async with aclosing(_pieces(voice, text)) as pieces:
                async for piece in pieces:
                    sound += piece
                    if self._wanted_on is not None:
                        self._unrendered.append(text)
                        return
        except EngineError as error:
            log.warning("phrase_not_rendered", engine=self._speaker.model, error=error.detail)
            return
        except Exception:  # edge: one phrase must not take the call down
            log.exception("phrase_not_rendered", engine=self._speaker.model)
            return
        self._clips.put(self._speaker.model, self._voice, text, bytes(sound))

    async def _utter(self, voice: Voice, line: Line, utterance: int, text: str) -> None:
        try:
            clip = self._clip(text)
            sent = await (
                self._send(line, utterance, clip)
                if clip is not None
                else self._stream(voice, line, utterance, text)
            )
        except EngineError as error:
            self._failed(utterance, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # edge: one utterance must not take the call down
            log.exception("utterance_failed", engine=self._speaker.model)
            self._failed(utterance, EngineError(type(error).__name__))
        else:
            self._post(lambda at: UtteranceQueued(at, utterance, sent // BYTES_PER_MS))

    async def _stream(self, voice: Voice, line: Line, utterance: int, text: str) -> int:
        """Send sound as it is rendered; how many bytes that came to."""
        sent, sound = 0, bytearray()
        async with aclosing(_pieces(voice, text)) as pieces:
            async for piece in pieces:
                sound += piece
                sent += await self._send(line, utterance, piece)
        if text in self._keep:
            self._clips.put(self._speaker.model, self._voice, text, bytes(sound))
        return sent

    async def _send(self, line: Line, utterance: int, sound: bytes) -> int:
        for start in range(0, len(sound), CHUNK_BYTES):
            chunk = sound[start : start + CHUNK_BYTES]
            length = len(chunk) / BYTES_PER_S
            ahead = self._plays_until - self._clock.seconds() + length
            if ahead > AHEAD_S:
                await asyncio.sleep(ahead - AHEAD_S)
            self._plays_until = max(self._plays_until, self._clock.seconds()) + length
            self._queue(line, utterance, chunk)
        return len(sound)

    def _queue(self, line: Line, utterance: int, chunk: bytes) -> None:
        self._chunk += 1
        number, ms = self._chunk, len(chunk) // BYTES_PER_MS
        digest = hashlib.blake2b(chunk, digest_size=8).hexdigest()
        line.play(number, chunk)
        self._post(lambda at: AudioQueued(at, utterance, number, ms, digest))

    def _clip(self, text: str) -> bytes | None:
        return self._clips.get(self._speaker.model, self._voice, text)

    def _failed(self, utterance: int, error: EngineError) -> None:
        log.warning("speech_failed", engine=self._speaker.model, error=error.detail)
        kind = "retryable" if error.retryable else "failed"
        self._post(lambda at: EngineFailed(at, "tts", utterance, kind))


async def _pieces(voice: Voice, text: str) -> AsyncGenerator[bytes, None]:
    """The sound of a text. Raises `EngineError` also when its next piece does not come in time."""
    async with aclosing(voice.speak(text)) as pieces:
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise EngineError("no sound in time", retryable=True) from None
            yield piece
