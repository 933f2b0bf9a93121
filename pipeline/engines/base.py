"""What an engine must do to be used in a call. Nothing to inherit: match the shape.

Four seams: voice activity, speech to text, the language model, text to speech. Sound is
always 8 kHz mu-law, as the carrier sends it. Everything an engine raises is an
`EngineError`; everything that costs money is counted by the engine in the vendor's own
units and can be read at any time, also after a cancellation.
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
class Used:
    """Seconds of audio the vendor counts so far, as a running total."""

    seconds: int


Hearing = Partial | Segment | Turn | Used


class Ear(Protocol):
    """One open transcription of one call."""

    def feed(self, mulaw: bytes) -> None:
        """Take caller audio in order; never waits. Beyond its buffer the oldest is dropped."""

    def voice(self, speaking: bool) -> None:
        """Voice activity found speech to begin or to end, at the audio fed so far.

        An engine that does not end turns answers each `False` with exactly one `Segment`.
        """

    def heard(self) -> AsyncGenerator[Hearing, None]:
        """What was understood, until closed. Raises `EngineError` when the engine fails."""


class Transcriber(Protocol):
    """Speech in, text out. `model` names the price line."""

    @property
    def model(self) -> str: ...

    @property
    def ends_turns(self) -> bool: ...

    def open(self) -> AbstractAsyncContextManager[Ear]: ...


# -- language model --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the vendor counts for one reply: prompt not cached, prompt cached, output."""

    uncached: int
    cached: int
    out: int


class Reply(Protocol):
    """One reply being written."""

    def pieces(self) -> AsyncGenerator[str, None]:
        """Text as it is written, white space included. Raises `EngineError`."""

    @property
    def tokens(self) -> Tokens:
        """Counted so far; final once the context is left, also after cancellation."""


class Thinker(Protocol):
    """A chat model. Leaving the context early must stop the billing."""

    @property
    def model(self) -> str: ...

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


class Speaker(Protocol):
    """Text to speech. `voice` is a persona's voice name; an engine maps it to one of its own."""

    @property
    def model(self) -> str: ...

    def open(self, voice: str) -> AbstractAsyncContextManager[Voice]: ...
