"""What a call is told at its start and never changes: times and sizes, words, manners, money, prompt.

Parts of `events.CallStarted`; nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pipeline.core.money import ZERO, Nanos


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
    """What the persona may say in one reply, as any model is asked for it."""
    reasoning_tokens: int = 0
    """The most that any model of the call thinks besides; it is set aside, and only a model that thinks may use it."""
    reply_max_chars: int = 200
    """Characters of speech drawn with the request of a reply; more is drawn a sentence at a time."""
    prompt_max_tokens: int = 3_000
    """About so much of a conversation reaches the model; the oldest turns are left out."""
    goodbye_ms: int = 12_000
    """The goodbye starts this long before the cutoff."""
    warning_patience_ms: int = 5_000
    """How long a due warning waits for a turn boundary."""
    drain_ms: int = 8_000
    """Longest wait for the goodbye's sound; what `goodbye_ms` leaves beyond it is for the carrier to hang up."""
    ring_ms: int = 90_000
    """Longest wait for the carrier to say whether anybody answered."""
    connect_ms: int = 10_000
    """Longest wait for the media socket after the answer."""
    rejoin_ms: int = 5_000
    """Longest wait for a media socket that broke to come back."""
    lost_mark_ms: int = 10_000
    """How long after sound should have been played its mark is waited for."""
    carrier_ms: int = 10_000
    """Longest wait for the carrier's word that the call is over."""
    engine_failures: int = 3
    """Failures in a row that end the call."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Words of the warning that are true while there is at least so much time, in milliseconds."""

    at_least_ms: int
    text: str


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
    warnings: tuple[TimeLeft, ...] = ()
    """The warning by the time that is left, the most first; `warning` where none fits, and in older journals."""
    short: str = ""
    """The warning in the place of an answer that cannot be afforded; in older journals as any other."""
    dropped: str = "Sorry, the line dropped for a moment."

    @property
    def all(self) -> tuple[str, ...]:
        """In the order in which they are needed, each once."""
        needed = (
            self.disclosure,
            self.greeting,
            self.out_of_time,
            self.goodbye,
            self.warning,
            *(each.text for each in self.warnings),
            self.short,
            self.apology,
            self.still_there,
            self.voicemail,
            self.trouble,
            self.opted_out,
            self.screening,
            self.listening,
            self.dropped,
        )
        return tuple(text for text in dict.fromkeys(needed) if text)


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
    """The money of this call.

    `held` is set aside and may be spent now (the hold less the reconciliation margin); `reach` is that and what
    could still be had on top of it, and `binds` names the limit it ends at. `warn_used` is what the call has used
    when the user's percentage of one of their budgets is reached, None without a budget. With less than `low` of
    the hold left, `part` more is asked for; where `part` is 0, all there ever will be is held from the start.
    """

    held: Nanos
    reach: Nanos
    binds: EndReason
    warn_used: Nanos | None = None
    part: Nanos = ZERO
    low: Nanos = ZERO


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of the system prompt: identity, relationship, scenario, manners."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """A memory as the model is told of it that writes new ones."""

    kind: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Remember:
    """That the call is to be remembered: what is known already, and what asking for more may take.

    `said_on` is the person's own day, as ISO 8601. `patience_ms` is the longest wait for the model after the call.
    """

    said_on: str
    known: tuple[Known, ...] = ()
    max_tokens: int = 400
    patience_ms: int = 8_000
