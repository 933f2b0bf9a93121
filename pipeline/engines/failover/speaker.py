"""Several voices as one: when one breaks, the next speaks what of the utterance was not spoken yet.

Decides who speaks and where a successor goes on. Two never speak at once: one's sound is
closed before the next is asked. What was handed out stays said, and the utterance is the
line of `model`, the one that gave its first sound, or has its text until somebody did; what
a vendor counts for the rest is the operator's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from pipeline.audio.mulaw import RATE
from pipeline.clock import Clock
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.breaker import Breaker
from pipeline.engines.failover.openings import Opened, Openings, openings
from pipeline.engines.failover.pace import Pace

AVOIDED_S = 15.0
"""A voice that failed is not tried before the others for so long: each try may cost the whole patience."""


class FailoverSpeaker:
    """Each utterance is the first voice's whose breaker lets it, then the next one's, then `AllDown`.

    The first voice is opened at once, another when it is first needed; it then stays open.
    `patience_s` is for an utterance's first sound, opening included, and after that for silence
    once what was handed out has been played.
    """

    def __init__(self, engines: Sequence[tuple[Speaker, Breaker]], patience_s: float) -> None:
        self._engines = tuple(engines)
        self._patience_s = patience_s

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model for engine, _ in self._engines for model in engine.models))

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[FailoverVoice]:
        async with openings() as opener:
            speakers = [_OneOfThem(engine, breaker) for engine, breaker in self._engines]
            together = FailoverVoice(speakers, voice, self.models[0], opener, self._patience_s)
            await together.begin()
            yield together


@dataclass(slots=True)
class _OneOfThem:
    """An engine within one open voice."""

    engine: Speaker
    breaker: Breaker
    opened: Opened[Voice] | None = None
    avoid_until: float = 0.0
    pace: Pace = field(default_factory=Pace)


class FailoverVoice:
    """A `Voice`."""

    def __init__(
        self, speakers: list[_OneOfThem], voice: str, model: str, opener: Openings, patience_s: float
    ) -> None:
        self.model = model
        self._speakers = speakers
        self._voice = voice
        self._opener = opener
        self._patience_s = patience_s
        self._clock = Clock()
        self._asked: Voice | None = None
        """Who has the utterance, or had it last; nobody while a successor is being opened."""
        self._sounded = False

    @property
    def sent(self) -> bool:
        return self._sounded or (self._asked is not None and self._asked.sent)

    async def begin(self) -> None:
        """Have one voice open. Raises `AllDown`."""
        last: EngineError | None = None
        for speaker in self._speakers:
            if (attempt := speaker.breaker.admit()) is None:
                continue
            with attempt:
                try:
                    await self._opened(speaker)
                    return
                except EngineError as error:
                    last = error
                    attempt.failed(error)
                    self._avoid(speaker)
        raise AllDown(last) from last

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        last: EngineError | None = None
        whole = likely_left = text
        self._asked, self._sounded = None, False
        for speaker in self._in_turn():
            if (attempt := speaker.breaker.admit()) is None:
                continue
            with attempt:
                sent = 0
                try:
                    async with aclosing(self._sound(speaker, text)) as pieces:
                        async for piece in pieces:
                            attempt.succeeded()
                            self._sounded = True
                            sent += len(piece)
                            yield piece
                    speaker.pace.spoke(text, sent * 1000 // RATE)
                    return
                except EngineError as error:
                    last = error
                    self._asked = None
                    attempt.failed(error)
                    self._avoid(speaker)
            if sent:
                ms = sent * 1000 // RATE
                likely_left = speaker.pace.likely_unspoken(text, ms)
                text = speaker.pace.unspoken(text, ms)
                if not text:
                    return
        if likely_left != whole and len(likely_left.split()) <= 1:
            return  # all but perhaps its last word was said: nothing to make a failure of
        raise AllDown(last) from last

    def _in_turn(self) -> list[_OneOfThem]:
        """Those that have not failed lately first; the others are still better than none."""
        now = self._clock.seconds()
        return sorted(self._speakers, key=lambda speaker: now < speaker.avoid_until)

    async def _sound(self, speaker: _OneOfThem, text: str) -> AsyncGenerator[bytes, None]:
        """One engine's sound. Raises `EngineError` also when it does not come in time."""
        patient_until = self._clock.seconds() + self._patience_s
        self._asked = voice = await self._opened(speaker)
        if not self._sounded:
            self.model = voice.model
        plays_until = 0.0
        async with aclosing(voice.speak(text)) as pieces:
            while True:
                try:
                    async with asyncio.timeout(max(0.0, patient_until - self._clock.seconds())):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise EngineError("no sound in time", retryable=True) from None
                plays_until = max(plays_until, self._clock.seconds()) + len(piece) / RATE
                yield piece
                # The listener may have taken its time too.
                patient_until = max(plays_until, self._clock.seconds()) + self._patience_s

    async def _opened(self, speaker: _OneOfThem) -> Voice:
        if speaker.opened is None:
            opening = speaker.engine.open(self._voice)
            speaker.opened = await self._opener.open(opening, self._patience_s)
        return speaker.opened.inside

    def _avoid(self, speaker: _OneOfThem) -> None:
        """It failed: for a while the others are asked first, and then a new voice of it is opened."""
        speaker.avoid_until = self._clock.seconds() + AVOIDED_S
        if speaker.opened is not None:
            speaker.opened.close()
            speaker.opened = None
