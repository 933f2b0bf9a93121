"""Deepgram Aura text to speech: one socket a voice, one utterance at a time on it.

Aura has no contexts: a cancelled utterance is cleared, and until the vendor says that it is, whatever comes
is dropped. A socket may flush so often a minute: the utterance after that gets a new one. Decides which voice
of theirs stands for which persona. Asks once for each utterance; characters are priced by the caller, by the
line of the model family.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec
import structlog

from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.voice_line import Address, Utterance, VoiceLine, VoiceLines, speakable

log = structlog.get_logger()

NAME = "Deepgram Aura"

LONGEST_SPEAK = 2_000
"""Characters of one Speak message; a longer text goes in several."""
MINUTE_S = 60.0
"""What the vendor's limit of flushes looks back on."""

NO_SUCH_VOICE = frozenset({400, 404})
"""Of all that is asked for, only the voice differs from call to call."""

CLEAR, CLOSE, FLUSH = '{"type":"Clear"}', '{"type":"Close"}', '{"type":"Flush"}'

VOICES: Mapping[str, str] = {
    "sarah": "aura-2-thalia-en",
    "brad": "aura-2-orion-en",
    "alex": "aura-2-aurora-en",
}
DEFAULT_VOICE = "sarah"

FIRST_LINE = "aura-1"
FIRST_VOICES: Mapping[str, str] = {
    "sarah": "aura-asteria-en",
    "brad": "aura-orion-en",
    "alex": "aura-luna-en",
}
"""Of the first generation, which has a price of its own and no number in its names."""


@dataclass(frozen=True, slots=True)
class AuraSettings:
    """`model` names the price line; `voices` maps a persona's voice name to their model with that voice."""

    key: str = field(repr=False)
    url: str = "wss://api.deepgram.com"
    model: str = "aura-2"
    voices: Mapping[str, str] = field(default_factory=lambda: VOICES)
    voice: str = VOICES[DEFAULT_VOICE]
    """For names that `voices` does not have."""
    patience_s: float = 2.5
    """Longest wait from being asked to the first sound, a new connection included."""
    stall_s: float = 3.0
    """Longest wait for sound after sound."""
    clear_s: float = 0.5
    """Longest wait of an utterance for the one before it to be cleared; then it gets a new socket."""
    flushes_a_minute: int = 20
    """Of one socket; over that the vendor warns and need not speak."""


class AuraSpeaker:
    """A `Speaker`. Opening a voice opens its socket, so a key that is refused shows while the phone rings."""

    def __init__(self, settings: AuraSettings) -> None:
        self.settings = settings

    @property
    def models(self) -> tuple[str, ...]:
        return (self.settings.model,)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[AuraVoice]:
        lines = VoiceLines()
        spoken = AuraVoice(self.settings, voice, lines)
        async with lines.tended():
            await spoken.ready()
            yield spoken


class AuraVoice:
    """A `Voice`."""

    def __init__(self, settings: AuraSettings, voice: str, lines: VoiceLines) -> None:
        self.model = settings.model
        self.sent = False
        self._settings = settings
        self._address = _address(settings, voice)
        self._lines = lines
        self._clock = Clock()
        self._turn = _Turn()
        self._line = self._connect()

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        self.sent = False
        if not speakable(text):
            return
        until = self._clock.seconds() + self._settings.patience_s
        await self.ready()
        line, turn = self._line, self._turn
        utterance = turn.begin()
        try:
            parts = list(split(text.strip()))
            # Said first: a send that is cancelled while it waits has written its text.
            self.sent = True
            turn.flushed(self._clock.seconds())
            await line.send([*map(_speak, parts), FLUSH], until - self._clock.seconds())
            left = max(0.0, until - self._clock.seconds())
            async with aclosing(utterance.pieces(left, self._settings.stall_s)) as pieces:
                async for piece in pieces:
                    yield piece
        except EngineError:
            line.drop()
            raise
        finally:
            if turn.leave() and line.usable:
                with suppress(EngineError):  # The next utterance finds the line of no more use.
                    await line.send([CLEAR], self._settings.clear_s)

    async def ready(self) -> None:
        """Have a line that is quiet and may flush. Raises `EngineError` when none can be opened."""
        settings, now = self._settings, self._clock.seconds()
        spent = self._turn.flushes_since(now - MINUTE_S) >= settings.flushes_a_minute
        if spent or not (self._line.usable and await self._turn.quiet(settings.clear_s)):
            self._line.drop()
            self._turn = _Turn()
            self._line = self._connect()
        await self._line.opened()

    def _connect(self) -> VoiceLine:
        line = VoiceLine(self._address, self._turn)
        self._lines.start(line)
        return line


def split(text: str) -> Iterator[str]:
    """The text in parts short enough for one message, parted after a blank where there is one."""
    while len(text) > LONGEST_SPEAK:
        at = text.rfind(" ", 0, LONGEST_SPEAK) + 1 or LONGEST_SPEAK
        yield text[:at]
        text = text[at:]
    yield text


def _speak(text: str) -> str:
    return msgspec.json.encode({"type": "Speak", "text": text}).decode()


def _address(settings: AuraSettings, voice: str) -> Address:
    voices = {name.casefold(): model for name, model in settings.voices.items()}
    query = {
        "model": voices.get(voice.casefold(), settings.voice),
        "encoding": "mulaw",
        "sample_rate": 8000,
    }
    return Address(
        NAME,
        f"{settings.url.rstrip('/')}/v1/speak?{urlencode(query)}",
        {"Authorization": f"Token {settings.key}"},
        settings.patience_s,
        goodbye=CLOSE,
        of_one_voice=NO_SUCH_VOICE,
    )


class _Told(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    code: str | None = None


_told = msgspec.json.Decoder(_Told).decode


class _Turn:
    """Whose turn it is on one socket: an utterance's, the vendor's to clear one, or nobody's."""

    def __init__(self) -> None:
        self._speaking: Utterance | None = None
        self._cleared = asyncio.Event()
        self._cleared.set()
        self._flushes: deque[float] = deque()

    def flushed(self, at: float) -> None:
        self._flushes.append(at)

    def flushes_since(self, since: float) -> int:
        while self._flushes and self._flushes[0] < since:
            self._flushes.popleft()
        return len(self._flushes)

    async def quiet(self, within_s: float) -> bool:
        """Whether what was cancelled has been cleared, waiting for it so long."""
        try:
            async with asyncio.timeout(within_s):
                await self._cleared.wait()
        except TimeoutError:
            return False
        return True

    def begin(self) -> Utterance:
        self._speaking = Utterance(NAME)
        return self._speaking

    def leave(self) -> bool:
        """Nobody listens any more. Whether something is left to be cleared."""
        if self._speaking is None:
            return False
        self._speaking = None
        self._cleared.clear()
        return True

    def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if self._speaking is not None:
                self._speaking.sound(message)
            return
        try:
            told = _told(message)
        except (msgspec.MsgspecError, UnicodeError):
            raise EngineError(f"{NAME} sent what is no message of theirs", retryable=True) from None
        if told.type == "Flushed" and self._speaking is not None:
            self._speaking.done()
            self._speaking = None
        elif told.type == "Cleared":
            self._cleared.set()
        elif told.type == "Warning":
            log.warning("voice_warning", engine=NAME, code=_plain(told.code))
        elif told.type == "Error":
            raise EngineError(f"{NAME}: error {_plain(told.code)}", retryable=True)

    def lost(self, error: EngineError) -> None:
        if self._speaking is not None:
            self._speaking.fail(error)
        self._cleared.set()


def _plain(code: str | None) -> str:
    """A code of theirs as far as it is one: what else stands there may quote what was said."""
    code = code or "none"
    return code[:60] if code.replace("_", "").replace("-", "").isalnum() else "none"
