"""What an engine must do to be used in a call. Nothing to inherit: match the shape.

Four seams: voice activity, speech to text, the language model, text to speech. Sound is
always 8 kHz mu-law, as the carrier sends it. Everything an engine raises is an
`EngineError`; everything that costs money is counted by the engine in the vendor's own
units and can be read at any time, also after a cancellation.

An engine may be several in a row (`failover/`): `models` are the price lines it may bill,
the preferred one first, and whatever it hands out says which of them it came from.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from pipeline.core.effects import Message

WINDOW_SAMPLES = 256
"""One voice-activity window: 32 ms at 8 kHz."""


# -- voice activity --------------------------------------------------------------------


class VoiceTrack(Protocol):
    """Voice activity of one call."""

    def feed(self, mulaw: bytes) -> None:
        """Take sound of any length; never waits."""


class VoiceActivity(Protocol):
    """Speech probability, a window of 32 ms at a time."""

    def open(self, on_window: Callable[[float], None]) -> AbstractContextManager[VoiceTrack]:
        """Start a track. `on_window` is called on the event loop, in order, once a window, with 0..1."""


# -- speech to text --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Partial:
    """What the speech now going on seems to say; each replaces the one before."""

    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Final text of one stretch of speech between two silences; "" when it held no words."""

    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The engine's own end of turn, with the whole turn's text. Only from engines that end turns."""

    text: str


@dataclass(frozen=True, slots=True)
class Eager:
    """The caller is probably done; a `Turn` with this very text follows, or `Resumed`."""

    text: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The caller went on speaking after `Eager`."""


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of audio that the vendor of `model` counts so far, as a running total of this opening."""

    model: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Switched:
    """From here on another engine listens. What the one before it had not finished is heard again."""

    model: str
    ends_turns: bool


Hearing = Partial | Segment | Eager | Resumed | Turn | Used | Switched


class Ear(Protocol):
    """One open transcription of one call."""

    def feed(self, mulaw: bytes) -> None:
        """Take caller audio in order; never waits. Beyond its buffer the oldest is dropped."""

    def voice(self, speaking: bool) -> None:
        """Voice activity found speech to begin or to end, at the audio fed so far.

        An engine that does not end turns answers each `False` with exactly one `Segment`. One that does
        may ignore both.
        """

    def heard(self) -> AsyncGenerator[Hearing, None]:
        """What was understood, until closed. Raises `EngineError` when the engine fails."""


class Transcriber(Protocol):
    """Speech in, text out. Opened while the phone rings, perhaps a minute before there is any sound."""

    @property
    def models(self) -> tuple[str, ...]: ...

    @property
    def ends_turns(self) -> bool:
        """Whether `Turn` comes from the engine; of several, whether it does from the first."""

    def open(self) -> AbstractAsyncContextManager[Ear]: ...


# -- language model --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the vendor counts for one reply: prompt not cached, prompt cached, output.

    `estimated` where it was counted here, because the vendor's own count never came.
    """

    uncached: int
    cached: int
    out: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class EndCall:
    """The model used its one tool: it wants the call to end once what it wrote was heard."""


@dataclass(frozen=True, slots=True)
class CutShort:
    """The last piece of a reply that the ceiling of tokens ended, in mid-sentence as a rule; where that is known."""


Piece = str | EndCall | CutShort


class Reply(Protocol):
    """One reply being written."""

    def pieces(self) -> AsyncGenerator[Piece, None]:
        """Text as it is written, white space included, never reasoning. Raises `EngineError`.

        The first may be empty: the model has begun, and its words are kept back for a moment.
        """

    @property
    def model(self) -> str:
        """Which of the thinker's models writes it."""

    @property
    def tokens(self) -> Tokens:
        """Counted so far; final once the context is left, also after cancellation."""


class Thinker(Protocol):
    """A chat model. Leaving the context early must stop the billing."""

    @property
    def models(self) -> tuple[str, ...]: ...

    def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AbstractAsyncContextManager[Reply]: ...


# -- text to speech --------------------------------------------------------------------


class Voice(Protocol):
    """One persona's voice in one call. Utterances are spoken one at a time, in order."""

    def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """mu-law of one utterance in pieces of any length. Closing the iterator cancels it.

        Characters are counted by the caller (every vendor bills the characters sent).
        """

    @property
    def model(self) -> str:
        """Which of the speaker's models speaks now, or spoke last."""

    @property
    def sent(self) -> bool:
        """Whether the text of the utterance spoken now, or last, is out: at the vendor, or being rendered here.

        False from the beginning of each utterance until then; from its first sound on, True. Of several
        engines in a row it is the one that has the utterance now.
        """


class Speaker(Protocol):
    """Text to speech. `voice` is a persona's voice name; an engine maps it to one of its own."""

    @property
    def models(self) -> tuple[str, ...]: ...

    def open(self, voice: str) -> AbstractAsyncContextManager[Voice]: ...
