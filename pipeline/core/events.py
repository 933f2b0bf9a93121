"""Everything that can happen to a call.

Each event carries `at`: milliseconds since the call's first event, stamped by the
shell on arrival, never going backwards. Sound is never in an event: a chunk is an id,
a length and a digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pipeline.core.money import ZERO, Millis, Nanos
from pipeline.core.tariff import Price, Service


class EndReason(StrEnum):
    """Why an answered call ended; the values of `end_reason` in the REST interface."""

    CALLER_HUNG_UP = "caller_hung_up"
    USER_HUNG_UP = "user_hung_up"
    AGENT_ENDED = "agent_ended"
    BUDGET = "budget"
    CREDIT = "credit"
    MAX_DURATION = "max_duration"
    IDLE = "idle"
    VOICEMAIL = "voicemail"
    FAX = "fax"
    OPTED_OUT = "opted_out"
    ENGINE_FAILURE = "engine_failure"
    BAD_STREAM = "bad_stream"
    DRAINED = "drained"
    SERVER_LOST = "server_lost"


@dataclass(frozen=True, slots=True)
class Limits:
    """The times and sizes of one call, in milliseconds, tokens and characters."""

    max_duration_ms: int = 900_000
    end_of_turn_ms: int = 500
    """Silence after speech that ends the caller's turn, where the transcriber does not decide."""
    unfinished_ms: int = 1_000
    """The same, where what was said so far sounds cut off ("and", "because", "um")."""
    barge_in_ms: int = 200
    """Voiced sound that stops the agent; anything shorter does not."""
    barge_in_words: int = 1
    """Words that make a stop an interruption; with fewer, or only listening noises, the reply goes on."""
    brief_ms: int = 600
    """A voice that stopped the agent and fades before this is taken for a noise: the reply goes on at once."""
    idle_prompt_ms: int = 9_000
    screening_ms: int = 30_000
    """How long nobody is prompted after a call screener was answered."""
    beep_ms: int = 20_000
    """Longest wait for an answering machine's beep before the message is left anyway."""
    machine_quiet_ms: int = 2_500
    """Silence after which a machine's greeting counts as over, where no beep was heard."""
    idle_prompts: int = 2
    """Unanswered "still there?" prompts before the goodbye."""
    thinking_ms: int = 15_000
    """Longest wait for the model or a transcript before the apology."""
    reply_max_tokens: int = 160
    reply_max_chars: int = 200
    """Characters of speech drawn with the request of a reply; more is drawn a sentence at a time."""
    prompt_max_tokens: int = 3_000
    """About so much of a conversation reaches the model; the oldest turns are left out."""
    goodbye_ms: int = 12_000
    """The goodbye starts this long before the cutoff."""
    warning_patience_ms: int = 5_000
    """How long a due warning waits for a turn boundary."""
    drain_ms: int = 8_000
    """Longest wait for the goodbye's mark; what `goodbye_ms` leaves beyond it is for the carrier to hang up."""
    ring_ms: int = 90_000
    """Longest wait for the carrier to say whether anybody answered."""
    connect_ms: int = 10_000
    """Longest wait for the media socket after the answer."""
    lost_mark_ms: int = 10_000
    """How long after sound should have been played its mark is waited for."""
    carrier_ms: int = 10_000
    """Longest wait for the carrier's word that the call is over."""
    engine_failures: int = 3
    """Failures in a row that end the call."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """What the agent says that no model wrote. Rendered beforehand, so they work when all else is down."""

    disclosure: str
    greeting: str
    warning: str
    goodbye: str
    out_of_time: str
    still_there: str
    apology: str
    voicemail: str
    trouble: str
    opted_out: str
    screening: str
    listening: str

    @property
    def all(self) -> tuple[str, ...]:
        """In the order in which they are needed."""
        return (
            self.disclosure,
            self.greeting,
            self.out_of_time,
            self.goodbye,
            self.warning,
            self.apology,
            self.still_there,
            self.voicemail,
            self.trouble,
            self.opted_out,
            self.screening,
            self.listening,
        )


@dataclass(frozen=True, slots=True)
class Manners:
    """How the agent behaves where people differ.

    `eager`: begin a reply when the caller is probably done, at the price of replies begun in vain.
    `backchannels`: "mm-hm" in the pauses of a long story. `voicemail`: what is done with a machine.
    """

    eager: bool = True
    backchannels: bool = False
    voicemail: Literal["message", "hang_up"] = "message"


@dataclass(frozen=True, slots=True)
class Allowance:
    """The money set aside for this call.

    `allowed` is what may be spent (the hold less the reconciliation margin), `binds` names the
    limit that made it so; `budget` is the per-call budget the warning percentage refers to, 0 for none.
    """

    allowed: Nanos
    binds: EndReason
    budget: Nanos = ZERO
    warn_percent: int = 80


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of the system prompt: identity, relationship, scenario, manners."""

    name: str
    text: str


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


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """The callee picked up: carrier minutes begin here."""


@dataclass(frozen=True, slots=True)
class StreamStarted(Event):
    """The media socket proved itself with its token: sound flows."""


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
    """The caller's voice ended `silence_ms` ago."""

    silence_ms: int


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
    """The transcriber itself decided that the caller is done; `text` is the whole turn."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyPiece(Event):
    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEndsCall(Event):
    """The model wants the call to end once this reply was heard."""

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
    """An utterance's first audible sample plays in `ahead_ms`; the caller's last one came `silence_ms` ago.

    Both are measured on the sound itself, quiet margins left out. `silence_ms` is -1 before the caller
    was heard at all.
    """

    utterance: int
    ahead_ms: int
    silence_ms: int


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
    """The hold grew or shrank: a renewal, a top-up, another call of the same account."""

    allowed: Nanos
    binds: EndReason


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
    """Somebody else wants the call over: the user by REST, an operator's drain."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class LineDropped(Event):
    """The media socket is gone. `reason` is the caller unless the stream itself was bad."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class CarrierDone(Event):
    """The carrier's final word: its status and its seconds, 0 when it never connected, -1 when it did not say."""

    status: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """A deadline the core asked for."""
