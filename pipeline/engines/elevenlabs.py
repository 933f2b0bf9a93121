"""ElevenLabs text to speech: one socket a voice, one context an utterance.

Speaks the multi-context socket, so that a barge-in needs no new connection: the context is left
alone, and what still comes of it is dropped. Decides which voice of theirs stands for which persona,
and whether an error of theirs may pass. Asks once for each utterance; characters are priced by the caller.
"""

from __future__ import annotations

import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import msgspec

from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.voice_line import Address, Utterance, VoiceLine, VoiceLines, speakable

NAME = "ElevenLabs"

CONTEXTS = 4
"""At most so many at a time on one socket: one fewer than they allow, as their count may run behind what
they told. The next one goes to a new socket."""

FORGOTTEN_S = 20.0
"""A context whose end was never told counts for so long after its last message."""

# Premade voices of theirs, by id. Accounts differ: a setting to check before going live.
VOICES: Mapping[str, str] = {
    "sarah": "EXAVITQu4vr4xnSDxMaL",
    "brad": "pNInz6obpgDQGcFmaJgB",
    "alex": "cgSgspJ2msm6clMCkdW9",
}

NO_SUCH_VOICE = 404

# Their names for what a second try does not mend; for what it does, which stands first; and for what is wrong with one
# voice or one text only.
PASSING = ("too_many", "rate_limit", "system_busy", "max_active", "timeout", "internal", "unavailable")
LASTING = (
    *("quota", "credit", "payment", "billing", "invalid", "not_found", "unauthor", "forbidden", "permission"),
    *("api_key", "max_character", "voice", "model", "policy", "blocked", "detected", "missing"),
)
OF_ONE = ("voice", "max_character")


@dataclass(frozen=True, slots=True)
class ElevenLabsSettings:
    """`voices` maps a persona's voice name to a voice id; `voice` is for names it does not have."""

    key: str = field(repr=False)
    url: str = "wss://api.elevenlabs.io"
    model: str = "eleven_flash_v2_5"
    voices: Mapping[str, str] = field(default_factory=lambda: VOICES)
    voice: str = VOICES["sarah"]
    stability: float = 0.5
    similarity: float = 0.75
    patience_s: float = 2.5
    """Longest wait from being asked to the first sound, a new connection included."""
    stall_s: float = 3.0
    """Longest wait for sound after sound."""
    inactivity_s: int = 180
    """They close what was idle for so long; 180 is the most they take."""


class ElevenLabsSpeaker:
    """A `Speaker`. Opening a voice opens its socket, so a key that is refused shows while the phone rings."""

    def __init__(self, settings: ElevenLabsSettings) -> None:
        self.settings = settings

    @property
    def models(self) -> tuple[str, ...]:
        return (self.settings.model,)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[ElevenLabsVoice]:
        lines = VoiceLines()
        spoken = ElevenLabsVoice(self.settings, voice, lines)
        async with lines.tended():
            await spoken.ready()
            yield spoken


class ElevenLabsVoice:
    """A `Voice`."""

    def __init__(self, settings: ElevenLabsSettings, voice: str, lines: VoiceLines) -> None:
        self.model = settings.model
        self.sent = False
        self._settings = settings
        self._address = _address(settings, voice)
        self._lines = lines
        self._clock = Clock()
        self._contexts = _Contexts(self._clock)
        self._line = self._connect()
        self._count = 0

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        self.sent = False
        if not speakable(text):
            return
        until = self._clock.seconds() + self._settings.patience_s
        await self.ready()
        line, contexts = self._line, self._contexts
        self._count += 1
        context = f"u{self._count}"
        utterance = contexts.begin(context)
        try:
            # Said first: a send that is cancelled while it waits has written its text.
            self.sent = True
            await line.send(self._messages(context, text.strip()), until - self._clock.seconds())
            left = max(0.0, until - self._clock.seconds())
            async with aclosing(utterance.pieces(left, self._settings.stall_s)) as pieces:
                async for piece in pieces:
                    yield piece
        except EngineError:
            line.drop()  # Closing it is also what ends a context that hangs.
            raise
        finally:
            contexts.leave()

    async def ready(self) -> None:
        """Have a line with room for one more context. Raises `EngineError` when none can be opened."""
        if not self._line.usable or self._contexts.full:
            self._line.drop()
            self._contexts = _Contexts(self._clock)
            self._line = self._connect()
        await self._line.opened()

    def _connect(self) -> VoiceLine:
        line = VoiceLine(self._address, self._contexts)
        self._lines.start(line)
        return line

    def _messages(self, context: str, text: str) -> list[str]:
        """A whole context at once.

        It is closed with its text: what was flushed is still spoken, only then does its end get told, and a
        cancelled utterance is closed already, so no context is ever left open.
        """
        settings = {
            "stability": self._settings.stability,
            "similarity_boost": self._settings.similarity,
        }
        messages: list[dict[str, object]] = [
            {"text": " ", "context_id": context, "voice_settings": settings},
            {"text": f"{text} ", "context_id": context, "flush": True},
            {"context_id": context, "close_context": True},
        ]
        return [msgspec.json.encode(message).decode() for message in messages]


def _address(settings: ElevenLabsSettings, voice: str) -> Address:
    voices = {name.casefold(): voice_id for name, voice_id in settings.voices.items()}
    voice_id = voices.get(voice.casefold(), settings.voice)
    query = {
        "model_id": settings.model,
        "output_format": "ulaw_8000",
        "auto_mode": "true",
        "inactivity_timeout": settings.inactivity_s,
    }
    place = f"/v1/text-to-speech/{quote(voice_id, safe='')}/multi-stream-input?{urlencode(query)}"
    return Address(
        NAME,
        settings.url.rstrip("/") + place,
        {"xi-api-key": settings.key},
        settings.patience_s,
        goodbye='{"close_socket":true}',
        lasting=_lasting,
        of_one=_of_one,
        of_one_voice=frozenset({NO_SUCH_VOICE}),
    )


class _Told(msgspec.Struct, frozen=True, gc=False):
    """Any message of theirs. Both spellings occur, every field may be absent or null."""

    audio: str | None = None
    context_id: str | None = None
    context_id_too: str | None = msgspec.field(default=None, name="contextId")
    is_final: bool | None = None
    is_final_too: bool | None = msgspec.field(default=None, name="isFinal")
    error: str | None = None
    code: int | str | None = None


_told = msgspec.json.Decoder(_Told).decode


class _Contexts:
    """The contexts of one socket: the one that speaks, and those left whose end was not told yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._speaking: tuple[str, Utterance] | None = None
        self._left: dict[str, float] = {}
        """When the latest word of each came."""

    @property
    def full(self) -> bool:
        forgotten = self._clock.seconds() - FORGOTTEN_S
        self._left = {context: at for context, at in self._left.items() if at > forgotten}
        return len(self._left) >= CONTEXTS

    def begin(self, context: str) -> Utterance:
        utterance = Utterance(NAME)
        self._speaking = (context, utterance)
        return utterance

    def leave(self) -> None:
        """Nobody listens any more to the one that speaks."""
        if self._speaking is not None:
            self._left[self._speaking[0]] = self._clock.seconds()
            self._speaking = None

    def take(self, message: str | bytes) -> None:
        try:
            told = _told(message)
        except (msgspec.MsgspecError, UnicodeError):
            raise EngineError(f"{NAME} sent what is no message of theirs", retryable=True) from None
        context = told.context_id or told.context_id_too or self._only()
        if context in self._left:
            # Late sound of a context left behind, or its end, good or bad.
            self._left[context] = self._clock.seconds()
            if told.is_final or told.is_final_too or told.error:
                del self._left[context]
            return
        if told.error:
            raise _error(told)
        if self._speaking is None or self._speaking[0] != context:
            return
        utterance = self._speaking[1]
        if told.audio:
            utterance.sound(_sound(told.audio))
        if told.is_final or told.is_final_too:
            self._speaking = None
            utterance.done()

    def lost(self, error: EngineError) -> None:
        if self._speaking is not None:
            self._speaking[1].fail(error)

    def _only(self) -> str | None:
        """Whose a message without a context is: the speaking one's, if there is no other."""
        return self._speaking[0] if self._speaking is not None and not self._left else None


def _sound(audio: str) -> bytes:
    try:
        return binascii.a2b_base64(audio, strict_mode=True)
    except (binascii.Error, ValueError):
        raise EngineError(f"{NAME} sent sound that cannot be read", retryable=True) from None


def _error(told: _Told) -> EngineError:
    """Only its name is passed on: the sentence that comes with it may quote what was said."""
    name = (told.error or "").casefold()
    name = name if name.replace("_", "").isalnum() else "an error without a name"
    return EngineError(f"{NAME}: {name[:60]}", retryable=not _lasting(name), of_one=_of_one(name))


def _lasting(words: str) -> bool:
    words = words.casefold()
    return any(word in words for word in LASTING) and not any(word in words for word in PASSING)


def _of_one(words: str) -> bool:
    words = words.casefold()
    return any(word in words for word in OF_ONE)
