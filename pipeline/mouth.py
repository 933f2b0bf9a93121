"""The agent's voice in one call: renders utterances in order and sends them ahead of playback.

Sound goes to the carrier in chunks of at most 400 ms with a mark behind each, never more
than two seconds ahead of what plays, so that an interruption drops little and the marks
say closely what was heard. Paused, it keeps what was not heard (`outgoing.py`) and can go
on from the last mark. What an utterance means is none of its business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog

from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.core.events import EngineFailed, Event, SpeechBought, SpeechSkipped
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker, Voice
from pipeline.outgoing import Outgoing
from pipeline.pacer import Pace, Pacer
from pipeline.ports import Line
from pipeline.surprises import SURPRISES

log = structlog.get_logger()

PATIENCE_S = 10.0
"""Longest wait for the next piece of sound: more than an engine that is alone waits itself, so that it fails first."""

Post = Callable[[Callable[[Millis], Event]], None]


async def at_once() -> None:
    """Nobody has to be told that something is begun."""


@dataclass(frozen=True, slots=True)
class Unopened:
    """The voice of an engine that cannot be opened."""

    error: EngineError
    model: str = ""
    sent: bool = False

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        raise self.error
        yield b""  # type: ignore[unreachable]  # makes it a generator


@dataclass(slots=True)
class Order:
    """One utterance. `voice` is who was asked to speak it; `told`: who is paid for it was told, if anybody is."""

    utterance: int
    text: str
    voice: Voice | None = None
    told: bool = False


class Mouth:
    """Owned by the call's performer, which runs `run` as a task of the call."""

    def __init__(
        self,
        speaker: Speaker,
        voice: str,
        clips: Clips,
        clock: Clock,
        post: Post,
        pace: Pace | None = None,
        begins: Callable[[], Awaitable[object]] = at_once,
    ) -> None:
        """`begins` is awaited before each utterance and phrase: a record notes the moment, a replay waits for it."""
        self._speaker = speaker
        self._voice = voice
        self._clips = clips
        self._clock = clock
        self._post = post
        self._begins = begins
        self._orders: deque[Order] = deque()
        self._unrendered: deque[str] = deque()
        self._keep: set[str] = set()
        self._wake = asyncio.Event()
        self._current: Order | None = None
        self._uttering: asyncio.Task[None] | None = None
        self._rendering: asyncio.Timeout | None = None
        self._out = Outgoing(clock, pace or Pacer(clock), post)

    def attach(self, line: Line) -> None:
        self._out.line = line
        self._now()

    def detach(self) -> None:
        """The line is gone; what is to be said waits for another."""
        self._out.line = None

    def prepare(self, texts: Sequence[str]) -> None:
        """Render these when there is nothing to say, and keep them."""
        self._keep.update(texts)
        self._unrendered.extend(text for text in texts if self._clip(text) is None)
        self._wake.set()

    def say(self, utterance: int, text: str) -> None:
        self._orders.append(Order(utterance, text))
        self._now()

    def has(self, text: str) -> bool:
        """Whether this is rendered, and so costs nothing more."""
        return self._clip(text) is not None

    def played(self, chunk: int) -> None:
        """A mark came back."""
        self._out.played(chunk)

    def loudness(self) -> int:
        """How loud the agent is about now."""
        return self._out.loudness()

    def pause(self) -> None:
        """Stop what plays, and keep it."""
        self._out.pause()

    def resume(self) -> None:
        self._out.resume()

    def hush(self) -> None:
        """Drop what is queued here and at the carrier. What of it was paid for is told at once."""
        for order in self._orders:
            self._post(lambda at, order=order: SpeechSkipped(at, order.utterance))  # type: ignore[misc]
        self._orders.clear()
        if self._uttering is not None and self._current is not None:
            self._tell_price(self._current)
            self._uttering.cancel()
            self._current = None  # it is cancelled once, and what it runs into meanwhile is no news
        self._out.drop()

    async def run(self) -> None:
        """Speak until cancelled. While the engine cannot be opened, all but rendered phrases fails."""
        while True:
            try:
                async with self._speaker.open(self._voice) as voice:
                    await self._speak(voice)
            except EngineError as error:
                await self._speak_without(error)
            except Exception as error:  # edge: the engine's opening must not take the call down
                SURPRISES.labels("voice").inc()
                log.exception("voice_not_opened", engine=self._speaker.models)
                await self._speak_without(EngineError(type(error).__name__))

    async def _speak(self, voice: Voice) -> None:
        while True:
            if self._wanted:
                await self._next(voice)
            elif self._unrendered:
                await self._render(voice)
            else:
                await self._news()

    async def _speak_without(self, error: EngineError) -> None:
        """One utterance; then opening the engine is tried again."""
        while not self._wanted:
            await self._news()
        await self._next(Unopened(error))

    @property
    def _wanted(self) -> bool:
        """There is a line, and an utterance waits for it."""
        return self._out.line is not None and bool(self._orders)

    def _now(self) -> None:
        """Something may have to be said: what is only rendered for later gives way."""
        self._wake.set()
        if self._wanted and (rendering := self._rendering) is not None:
            self._rendering = None  # it is stopped once, and may take its time
            rendering.reschedule(self._clock.seconds())

    async def _news(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def _next(self, voice: Voice) -> None:
        self._current = order = self._orders.popleft()
        async with asyncio.TaskGroup() as tasks:
            self._uttering = tasks.create_task(self._utter(voice, order))
        self._uttering = self._current = None

    async def _render(self, voice: Voice) -> None:
        """Render the next phrase for later, unless another call has; an utterance that is wanted now goes first."""
        text, sound = None, None
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as self._rendering:
                await self._begins()
                text = self._unrendered.popleft()
                if self._clip(text) is None:
                    sound = await _rendered(voice, text)
        # Once it has given way it has, even if it was done before it could be stopped: chance decides nothing.
        given_way, self._rendering = self._rendering is None, None
        if text is not None and given_way:
            self._unrendered.append(text)
        elif text is not None and sound is not None:
            self._clips.put(voice.model, self._voice, text, sound)

    async def _utter(self, voice: Voice, order: Order) -> None:
        try:
            await self._begins()
            if (found := self._clip(order.text)) is not None:
                model, clip = found
                self._bought(order, model)
                await self._out.send(order.utterance, clip)
            else:
                await self._stream(voice, order)
        except EngineError as error:
            self._failed(order, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # edge: one utterance must not take the call down
            SURPRISES.labels("utterance").inc()
            log.exception("utterance_failed", engine=self._speaker.models)
            self._failed(order, EngineError(type(error).__name__))
        else:
            self._tell_price(order)
            await self._out.end(order.utterance)

    async def _stream(self, voice: Voice, order: Order) -> None:
        """Send sound as it is rendered."""
        sound = bytearray()
        order.voice = voice
        async with aclosing(_pieces(voice, order.text)) as pieces:
            async for piece in pieces:
                self._bought(order, voice.model)
                sound += piece
                await self._out.send(order.utterance, piece)
        if order.text in self._keep:
            self._clips.put(voice.model, self._voice, order.text, bytes(sound))

    # -- who is paid for an utterance ------------------------------------------------------

    def _tell_price(self, order: Order) -> None:
        """Where it ends, perhaps without a sound: the engine that has its text is paid, or nobody."""
        if order.voice is not None and order.voice.sent:
            self._bought(order, order.voice.model)
        elif not order.told:
            order.told = True
            self._post(lambda at: SpeechSkipped(at, order.utterance))

    def _bought(self, order: Order, model: str) -> None:
        if not order.told:
            order.told = True
            self._post(lambda at: SpeechBought(at, order.utterance, model))

    def _clip(self, text: str) -> tuple[str, bytes] | None:
        """A rendered phrase, and whose voice it is in."""
        for model in self._speaker.models:
            if (clip := self._clips.get(model, self._voice, text)) is not None:
                return model, clip
        return None

    def _failed(self, order: Order, error: EngineError) -> None:
        if self._current is not order:
            return
        log.warning("speech_failed", engine=self._speaker.models, error=error.detail)
        order.told = True  # what a failing engine did not deliver is not paid for
        self._post(lambda at: EngineFailed(at, "tts", order.utterance, error.kind))


async def _rendered(voice: Voice, text: str) -> bytes | None:
    """The whole sound of a phrase; None where that fails, which nobody waits for."""
    sound = bytearray()
    try:
        async with aclosing(_pieces(voice, text)) as pieces:
            async for piece in pieces:
                sound += piece
    except EngineError as error:
        log.warning("phrase_not_rendered", engine=voice.model, error=error.detail)
        return None
    except Exception:  # edge: one phrase must not take the call down
        SURPRISES.labels("phrase").inc()
        log.exception("phrase_not_rendered", engine=voice.model)
        return None
    return bytes(sound)


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
