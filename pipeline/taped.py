"""The engines of a call whose traffic is recorded: the same ones, with what they hand out noted on its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

from pipeline.clips import Clips
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import (
    CutShort,
    Ear,
    EndCall,
    Hearing,
    Piece,
    Reply,
    Speaker,
    Thinker,
    Tokens,
    Transcriber,
    Voice,
    VoiceActivity,
    VoiceTrack,
)
from pipeline.ports import Engines
from pipeline.traffic import ENDED, Ceiling, Heard, Opened, Spoke, Spoken, Tape, Written, Wrote


def taped(engines: Engines, tape: Tape) -> Engines:
    """The same engines, noted."""
    return Engines(
        TapedActivity(engines.voice_activity, tape),
        TapedTranscriber(engines.transcriber, tape),
        TapedThinker(engines.thinker, tape),
        TapedSpeaker(engines.speaker, tape),
        engines.warm,
    )


@dataclass(frozen=True, slots=True)
class TapedActivity:
    inner: VoiceActivity
    tape: Tape

    @contextmanager
    def open(self, on_window: Callable[[float], None]) -> Iterator[VoiceTrack]:
        def window(probability: float) -> None:
            self.tape.window(probability)
            on_window(probability)

        with self.inner.open(window) as track:
            yield track


@dataclass(frozen=True, slots=True)
class TapedTranscriber:
    inner: Transcriber
    tape: Tape

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @property
    def ends_turns(self) -> bool:
        return self.inner.ends_turns

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        of = self.tape.next_of("ear")
        try:
            async with self.inner.open() as ear:
                self.tape.note(Opened(of, [*self.models], self.ends_turns))
                yield TapedEar(ear, self.tape, of)
        except EngineError as error:
            self.tape.failed("ear", of, error)
            raise


@dataclass(frozen=True, slots=True)
class TapedEar:
    inner: Ear
    tape: Tape
    of: int

    def feed(self, mulaw: bytes) -> None:
        self.inner.feed(mulaw)

    def voice(self, speaking: bool) -> None:
        self.inner.voice(speaking)

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        async with aclosing(self.inner.heard()) as hearings:
            async for hearing in hearings:
                fields = [getattr(hearing, name) for name in hearing.__dataclass_fields__]
                self.tape.note(Heard(self.of, type(hearing).__name__, fields))
                yield hearing
        self.tape.note(Heard(self.of, ENDED, []))


@dataclass(frozen=True, slots=True)
class TapedThinker:
    inner: Thinker
    tape: Tape

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[Reply]:
        of = self.tape.next_of("mind")
        reply: TapedReply | None = None
        try:
            async with self.inner.reply(messages, max_tokens=max_tokens, temperature=temperature) as inner:
                reply = TapedReply(inner, self.tape, of)
                yield reply
        except EngineError as error:
            self.tape.failed("mind", of, error)
            raise
        finally:
            if reply is not None:
                used = reply.tokens
                counted = (used.uncached, used.cached, used.out, used.estimated)
                self.tape.note(Written(of, reply.model, counted, cut=not reply.complete))


class TapedReply:
    def __init__(self, inner: Reply, tape: Tape, of: int) -> None:
        self._inner = inner
        self._tape = tape
        self._of = of
        self.complete = False

    @property
    def model(self) -> str:
        return self._inner.model

    @property
    def tokens(self) -> Tokens:
        return self._inner.tokens

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        async with aclosing(self._inner.pieces()) as pieces:
            async for piece in pieces:
                self._tape.note(self._fact(piece))
                yield piece
        self.complete = True

    def _fact(self, piece: Piece) -> Wrote | Ceiling:
        if isinstance(piece, CutShort):
            return Ceiling(self._of)
        return Wrote(self._of, None if isinstance(piece, EndCall) else piece)


@dataclass(frozen=True, slots=True)
class TapedSpeaker:
    inner: Speaker
    tape: Tape

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        of, open_once = self.tape.next_of("voice-open"), False
        try:
            async with self.inner.open(voice) as opened:
                open_once = True
                self.tape.voice_opened(of)
                yield TapedVoice(opened, self.tape)
        except EngineError as error:
            if not open_once:
                self.tape.failed("voice-open", of, error)
            raise


@dataclass(frozen=True, slots=True)
class TapedVoice:
    inner: Voice
    tape: Tape

    @property
    def model(self) -> str:
        return self.inner.model

    @property
    def sent(self) -> bool:
        return self.inner.sent

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        of, complete = self.tape.next_of("voice"), False
        try:
            async with aclosing(self.inner.speak(text)) as pieces:
                async for piece in pieces:
                    self.tape.note(Spoke(of, piece))
                    yield piece
            complete = True
        except EngineError as error:
            self.tape.failed("voice", of, error)
            raise
        finally:
            now, inner = self.tape.now(), self.inner
            self.tape.note(
                Spoken(
                    of,
                    now,
                    text,
                    inner.model,
                    cut=not complete,
                    sent=inner.sent,
                    after=self.tape.moments.after,
                )
            )


class TapedClips(Clips):
    """Phrases of the process; those that this call finds are noted, and not those that it renders."""

    def __init__(self, inner: Clips, tape: Tape) -> None:
        super().__init__()
        self._inner = inner
        self._tape = tape
        self._own: set[tuple[str, str]] = set()
        self._misses: Counter[tuple[str, str]] = Counter()

    def get(self, engine: str, voice: str, text: str) -> bytes | None:
        clip = self._inner.get(engine, voice, text)
        if clip is None:
            self._misses[engine, text] += 1
        elif (engine, text) not in self._own:
            self._tape.clip(engine, voice, text, clip, self._misses[engine, text])
        return clip

    def put(self, engine: str, voice: str, text: str, mulaw: bytes) -> None:
        self._inner.put(engine, voice, text, mulaw)
        self._own.add((engine, text))
