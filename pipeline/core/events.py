"""Everything that can happen to a call.

Each event carries `at`: milliseconds since the call's first event, stamped by the
shell on arrival, never going backwards. Sound is never in an event: a chunk is an id,
a length and a digest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.effects import Message
from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import Price, Service
from pipeline.core.terms import Allowance, EndReason, Layer, Limits, Manners, Phrases, Remember


@dataclass(frozen=True, slots=True)
class Event:
    at: Millis


@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    """Always first: all that the call will ever need to know of the world."""

    call_id: str
    persona: str
    layers: tuple[Layer, ...]
    phrases: Phrases
    prices: tuple[Price, ...]
    allowance: Allowance
    limits: Limits
    manners: Manners
    temperature_pct: int
    transcriber_ends_turns: bool
    seed: int
    started_utc: str
    remember: Remember | None = None
    """None for a call of which nothing is to be remembered."""


@dataclass(frozen=True, slots=True)
class Bought:
    """How far one price line was bought."""

    line: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """What is known of a call whose process died; moments are on the call's own time, which goes on.

    `seq` is the last charge written, `reply` the last number given to a reply that was told of; `said` is the
    transcript, all of its turns. `announced` is the cutoff the caller was warned of, None where no warning is known.
    """

    answered: Millis
    seq: int
    bought: tuple[Bought, ...]
    said: tuple[Message, ...]
    reply: int = 0
    announced: Millis | None = None


@dataclass(frozen=True, slots=True)
class CallResumed(CallStarted):
    """First in the place of `CallStarted` where a call goes on in another process; `at` is where it goes on."""

    resumed: Resumed = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """The callee picked up: carrier minutes begin here."""


@dataclass(frozen=True, slots=True)
class StreamStarted(Event):
    """The media socket proved itself with its token: sound flows, for the first time or again."""


@dataclass(frozen=True, slots=True)
class SpeechStarted(Event):
    """The caller's voice began `onset_ms` ago, in the opinion of voice activity detection."""

    onset_ms: int


@dataclass(frozen=True, slots=True)
class SpeechHeld(Event):
    """The caller has now been voiced for `Limits.barge_in_ms`: it is speech and no click."""


@dataclass(frozen=True, slots=True)
class SpeechFaded(Event):
    """A held voice has been quiet for `quiet_ms`: over, or a gap between two words."""

    quiet_ms: int


@dataclass(frozen=True, slots=True)
class SpeechReturned(Event):
    """A faded voice goes on."""


@dataclass(frozen=True, slots=True)
class SpeechStopped(Event):
    """The caller's voice ended `silence_ms` ago; its last audible sample, margins left out, came `quiet_ms` ago."""

    silence_ms: int
    quiet_ms: int = 0


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """A transcriber is open, or another one took over: which, and whether it ends turns itself."""

    model: str
    ends_turns: bool


@dataclass(frozen=True, slots=True)
class Heard(Event):
    """What the caller seems to be saying in the speech now going on; replaced, never appended."""

    text: str


@dataclass(frozen=True, slots=True)
class SegmentHeard(Event):
    """The final text of one stretch of speech; empty when there were no words in it."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnLikelyEnded(Event):
    """The transcriber thinks that the caller is done with `text`; `TurnEnded` or `TurnResumed` follows."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnResumed(Event):
    """The caller went on after all."""


@dataclass(frozen=True, slots=True)
class TurnEnded(Event):
    """The transcriber itself decided that the caller is done; `text` is the whole turn.

    The caller's last audible sample came `quiet_ms` ago.
    """

    text: str
    quiet_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReplyPiece(Event):
    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEndsCall(Event):
    """The model wants the call to end once this reply was heard."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyCutShort(Event):
    """The model has written as much as it may, and was not done; `ReplyFinished` follows."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyFinished(Event):
    """The model is done or was stopped; the tokens are what the vendor counts, in either case.

    `model` is the one that wrote it, "" where none did; `estimated` where the vendor's count never came.
    """

    reply: int
    model: str
    estimated: bool
    tokens_in: int
    tokens_cached: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class SpeechBought(Event):
    """An utterance gives its first sound, or was cut off after its text was sent: `model` bills its characters."""

    utterance: int
    model: str


@dataclass(frozen=True, slots=True)
class SpeechSkipped(Event):
    """An utterance was dropped before its text was sent anywhere: it costs nothing."""

    utterance: int


@dataclass(frozen=True, slots=True)
class Audible(Event):
    """An utterance's first audible sample plays in `ahead_ms`, measured on the sound, quiet margins left out."""

    utterance: int
    ahead_ms: int


@dataclass(frozen=True, slots=True)
class AudioQueued(Event):
    """A chunk of an utterance was handed to the carrier, with a mark of the chunk's id behind it."""

    utterance: int
    chunk: int
    ms: int
    digest: str


@dataclass(frozen=True, slots=True)
class UtteranceQueued(Event):
    """All sound of an utterance is with the carrier; `ms` in all, 0 when there was none."""

    utterance: int
    ms: int


@dataclass(frozen=True, slots=True)
class MarkReached(Event):
    """The carrier played everything up to and including this chunk, or flushed it."""

    chunk: int


@dataclass(frozen=True, slots=True)
class DigitPressed(Event):
    digit: str


@dataclass(frozen=True, slots=True)
class MachineDetected(Event):
    """The carrier's verdict: human, machine_start, machine_end_beep, ..., fax, unknown."""

    kind: str


@dataclass(frozen=True, slots=True)
class BeepHeard(Event):
    """A tone such as answering machines give before they record has ended."""


@dataclass(frozen=True, slots=True)
class EngineUsed(Event):
    """A vendor's own count, as a running total of the call."""

    line: str
    total: int


@dataclass(frozen=True, slots=True)
class AllowanceChanged(Event):
    """The answer to `RenewHold`: what is held now, what could still be had, and which limit that ends at.

    With `reach` no more than `held` this is the last of it, unless somebody pays in or another call ends.
    """

    held: Nanos
    reach: Nanos
    binds: EndReason
    warn_used: Nanos | None


@dataclass(frozen=True, slots=True)
class EngineFailed(Event):
    """`ref` is the reply or the utterance that was under way, 0 when none was.

    `kind` is retryable, failed, or all_down: no engine of that service is left to try.
    """

    service: Service
    ref: int
    kind: str


@dataclass(frozen=True, slots=True)
class HangUpAsked(Event):
    """Somebody else wants the call over: the user by REST, an operator's drain, a disk that is full.

    With `politely` a goodbye is said first, where somebody hears it; a drain is always polite.
    """

    reason: EndReason
    politely: bool = False


@dataclass(frozen=True, slots=True)
class LineDropped(Event):
    """The media socket is gone. `reason` is the caller unless the stream itself was bad."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class LineBroken(Event):
    """The media socket broke without a word: the callee may still be there, and the socket may come back."""


@dataclass(frozen=True, slots=True)
class CarrierDone(Event):
    """The carrier's final word: its status and its seconds, 0 when it never connected, -1 when it did not say."""

    status: str
    seconds: int


@dataclass(frozen=True, slots=True)
class CarrierSilent(Event):
    """The carrier was asked to end the call and has not said that it did: the leg may go on. It is asked again."""


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """A deadline the core asked for."""
