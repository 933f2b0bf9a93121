"""Everything a call can ask for. The shell performs them in order; what comes of it returns as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.core.memory import Finding
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message to a chat model."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Effect:
    pass


@dataclass(frozen=True, slots=True)
class Prepare(Effect):
    """Render these texts now, so that a later `Say` of one of them starts at once."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listen(Effect):
    """Open the transcriber, or open it again after it failed."""


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """Speak `text`. A later `Say` queues behind it; `Hush` drops both."""

    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class Hush(Effect):
    """Stop speaking now: drop what is queued here and what the carrier still buffers."""


@dataclass(frozen=True, slots=True)
class Pause(Effect):
    """Stop speaking now, but keep what was not heard: `Resume` or `Hush` follows."""


@dataclass(frozen=True, slots=True)
class Resume(Effect):
    """Speak on from the last mark that came back."""


@dataclass(frozen=True, slots=True)
class ListenForBeep(Effect):
    """Tell when an answering machine's tone has sounded."""


@dataclass(frozen=True, slots=True)
class AskReply(Effect):
    reply: int
    messages: tuple[Message, ...]
    max_tokens: int
    temperature_pct: int


@dataclass(frozen=True, slots=True)
class DropReply(Effect):
    """Stop the model. Its `ReplyFinished` still comes and is still paid."""

    reply: int


@dataclass(frozen=True, slots=True)
class Charge(Effect):
    """A tile of usage `[from_qty, to_qty)` on one price line, bought in `second` since the answer."""

    seq: int
    line: str
    from_qty: int
    to_qty: int
    nano: Nanos
    second: int


@dataclass(frozen=True, slots=True)
class RenewHold(Effect):
    """Set aside up to `wanted` more for this call; `AllowanceChanged` follows, however little that was.

    One is under way at a time. Until it is answered nothing is bought but what is held.
    """

    wanted: Nanos


@dataclass(frozen=True, slots=True)
class TurnTaken(Effect):
    """A line of the transcript. For the agent, `text` is what was heard, not what was sent."""

    index: int
    role: Literal["caller", "agent"]
    text: str
    started: Millis
    ended: Millis
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class TurnTimed(Effect):
    """How fast the caller's turn `index` was answered.

    `speech_end` is when its last audible sample arrived; the rest are milliseconds after that: the turn was
    judged over, the model's first words, the voice's first sound, the first frame sent, and the answer's first
    audible sample, the distance to the carrier (measured by the first mark) included. `eager`: the reply had
    been begun before the turn was over, so its first words may come before its end.
    """

    index: int
    speech_end: Millis
    end_of_turn_ms: int
    first_token_ms: int
    first_audio_ms: int
    first_frame_ms: int
    audible_ms: int
    eager: bool


@dataclass(frozen=True, slots=True)
class EagerSettled(Effect):
    """What a reply begun ahead of the turn's end came to: used, or dropped and paid for in vain."""

    reply: int
    committed: bool
    nano: Nanos


@dataclass(frozen=True, slots=True)
class OptedOut(Effect):
    """The person wants no more calls, and said so by "key" or "voice"."""

    how: Literal["key", "voice"]


@dataclass(frozen=True, slots=True)
class Warned(Effect):
    """The spoken warning is on its way; `cutoff` is the call's last paid millisecond."""

    cutoff: Millis
    rest: Nanos


@dataclass(frozen=True, slots=True)
class HangUp(Effect):
    """Tell the carrier to end the call. Closing the socket is not hanging up."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class Learned(Effect):
    """What the call taught of the person, to be joined with what is known; nothing is a result too."""

    said_on: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Unlearned(Effect):
    """Nothing is remembered of the call: its money did not allow to ask, or the model failed or took too long."""

    why: Literal["money", "failed", "late"]


@dataclass(frozen=True, slots=True)
class Ended(Effect):
    """Nothing more will happen. `reason` is None when nobody ever answered."""

    reason: EndReason | None
    status: str
    seconds: int
    total: Nanos
