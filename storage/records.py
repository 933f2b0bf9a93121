"""What storage hands out: frozen rows. Moments are aware UTC, money is whole nanodollars.

Long because it is one flat list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, Literal, TypeVar

from pipeline.core.errors import CallMeBackError
from pipeline.core.guard import Purpose
from pipeline.core.money import Nanos
from pipeline.core.tariff import Price, Unit
from pipeline.core.terms import EndReason

T = TypeVar("T")

Channel = Literal["phone", "browser"]
Direction = Literal["outbound", "inbound"]
"""Who rang: we did, or they."""
CallStatus = Literal[
    "queued", "initiated", "ringing", "in-progress", "completed", "busy", "no-answer", "failed", "canceled"
]
PriceList = Literal["list", "free"]
Speaking = Literal["caller", "agent"]

STATUS_RANK: dict[CallStatus, int] = {
    "queued": 0,
    "initiated": 1,
    "ringing": 2,
    "in-progress": 3,
    "completed": 4,
    "busy": 4,
    "no-answer": 4,
    "failed": 4,
    "canceled": 4,
}
"""A status only moves to a higher rank."""

OVER = 4
"""The rank of a call that has ended."""


class EmailTaken(CallMeBackError):
    """Another user has this address."""


class IdemTaken(CallMeBackError):
    """The user placed `existing` under the same idempotency key."""

    def __init__(self, existing: CallRow) -> None:
        super().__init__("idempotency key already used")
        self.existing = existing


class Fenced(CallMeBackError):
    """The call belongs to somebody else now: stop, hang up, write nothing more."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"call {call_id} has a newer owner")
        self.call_id = call_id


class Overdrawn(CallMeBackError):
    """A correction would take money that is not there or is set aside for a call."""


class NoSuchUser(CallMeBackError):
    """There is no user with this id."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list; `next_cursor` fetches what follows, None at the end."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class User:
    """`phone` is as typed, `phone_e164` normalised, trusted only from `phone_verified_at` on."""

    id: str
    email: str
    password_hash: str
    name: str
    phone: str | None
    phone_e164: str | None
    phone_verified_at: datetime | None
    timezone: str
    role: str
    token_version: int
    inbound_pin_hash: str | None
    created_at: datetime
    updated_at: datetime
    phone_used_at: datetime | None = None
    phone_notice: str = ""
    """"lost": somebody else proved the number since; "taken_over": it was somebody else's until this one proved it."""
    quiet_hours: str | None = None
    """Their own, as "23:00-06:00"; None leaves them to the operator."""
    missed_call_back: str = ""
    """The problem code for which they were not rung back, though they had been told so; "" where they were."""
    missed_call_back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """A code sent to a number. `guesses` counts those made."""

    id: str
    user_id: str
    e164: str
    code_hash: str
    guesses: int
    expires_at: datetime
    created_at: datetime
    finished_at: datetime | None
    sid: str | None = None
    """The carrier's name of the code, where the carrier made it and checks it."""


@dataclass(frozen=True, slots=True)
class Persona:
    """`greeting` holds `{name}` where the person's name goes; `identity` is the first layer of the prompt.

    `model` is the language model that speaks for it, "" for the first of those that are set. `voicemail` is the
    message it leaves on a machine, "" for a plain one with its name.
    """

    id: str
    name: str
    tagline: str
    identity: str
    greeting: str
    voice: str
    temperature_pct: int
    reply_max_tokens: int
    max_minutes: int
    position: int = 0
    model: str = ""
    voicemail: str = ""


@dataclass(frozen=True, slots=True)
class Relationship:
    """What a persona is to a user, in the user's words. `voice` and `manner` "" leave it as it is for everybody."""

    user_id: str
    persona_id: str
    kind: str = "friend"
    notes: str = ""
    calls: int = 0
    last_call_at: datetime | None = None
    voice: str = ""
    manner: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A call template of one user. `opening`, where not empty, replaces the persona's greeting."""

    id: str
    user_id: str
    title: str
    prompt: str
    opening: str
    max_minutes: int | None
    uses: int
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewCall:
    """What is known when a call is placed. `price_ids` pins its price book."""

    id: str
    user_id: str
    persona_id: str
    channel: Channel
    created_at: datetime
    price_ids: tuple[int, ...]
    owner: str
    epoch: int = 1
    scenario_id: str | None = None
    phone_e164: str | None = None
    context: str = ""
    max_minutes: int = 15
    idem_key: str | None = None
    idem_hash: str | None = None
    scheduled_call_id: str | None = None
    """The id of the scheduled dial it is, not of the schedule: a schedule makes many calls."""
    direction: Direction = "outbound"
    variables: str = "{}"
    """JSON: what fills in the scenario, as it was given."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A number that a call is about to ring, and what for."""

    e164: str
    purpose: Purpose
    call_id: str


@dataclass(frozen=True, slots=True)
class CallRow:
    """`last_seq` is the last charge written; `final_at` is set once the ledger is closed.

    `given_up_at`: the carrier was asked to end the call, and did not at once; nobody is connected to it any more.

    `memory` says what became of remembering it: "kept", or why it was not ("money", "failed", "late").
    """

    id: str
    user_id: str
    persona_id: str
    scenario_id: str | None
    channel: Channel
    status: CallStatus
    end_reason: str | None
    phone_e164: str | None
    context: str
    max_minutes: int
    sid: str | None
    epoch: int
    owner: str
    price_ids: tuple[int, ...]
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    carrier_seconds: int | None
    total_nano: Nanos
    settled_nano: Nanos
    last_seq: int
    final_at: datetime | None
    idem_key: str | None
    idem_hash: str | None
    scheduled_call_id: str | None = None
    memory: str | None = None
    direction: Direction = "outbound"
    variables: str = "{}"
    given_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One line of a transcript; times are milliseconds since the call's first event.

    Of an agent's turn that was cut off `unheard` is what was to be said besides, as far as that is known.

    The stages of its answer are milliseconds after its last audible sample, None where it had none.
    """

    index: int
    role: Speaking
    text: str
    started_ms: int
    ended_ms: int
    interrupted: bool
    unheard: str = ""
    end_of_turn_ms: int | None = None
    first_token_ms: int | None = None
    first_audio_ms: int | None = None
    first_frame_ms: int | None = None
    audible_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EagerReply:
    """A reply that was begun before the caller's turn was over, and what its tokens cost."""

    reply: int
    committed: bool
    nano: Nanos


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one price line of a call has come to; `as_of_second` since the answer."""

    line: str
    service: str
    model: str
    unit: Unit
    quantity: int
    amount_nano: Nanos
    as_of_second: int


@dataclass(frozen=True, slots=True)
class CostSecond:
    """What was bought in one second of a call, refunds included, and of which service."""

    second: int
    nano: Nanos
    services: Mapping[str, Nanos]


@dataclass(frozen=True, slots=True)
class Balance:
    """`held` is set aside for calls; `available` is the rest."""

    balance: Nanos
    held: Nanos
    available: Nanos


@dataclass(frozen=True, slots=True)
class Transaction:
    """A posting to a user's balance. Never changed, never deleted while the account exists."""

    id: int
    user_id: str
    call_id: str | None
    kind: str
    amount_nano: Nanos
    balance_after_nano: Nanos
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """A user's own limits, None for none. With `auto_cutoff` off they only warn."""

    per_call_nano: Nanos | None = None
    daily_nano: Nanos | None = None
    monthly_nano: Nanos | None = None
    warn_percent: int = 80
    auto_cutoff: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """Money set aside for one call. `used_nano` is what the closed hold paid; `epoch` is that of the process which
    went on with the call last, and so the number of its latest journal, wherever that lies."""

    call_id: str
    user_id: str
    epoch: int
    amount_nano: Nanos
    used_nano: Nanos
    status: Literal["open", "closed"]
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """A call, day or month of a user's budgets as an account. `limit_nano` is None without a limit.

    `zones` are those whose day or month of this name was taken from, divided by commas.
    """

    key: str
    limit_nano: Nanos | None
    spent_nano: Nanos
    held_nano: Nanos
    zones: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """How the money of a live call stands. `held` is its whole hold, `reach` that and its share of what is free.

    `binds` names the limit at which the reach ends; `warn_used` is what the call has used when one of the user's
    budgets comes to its warning percentage, None without a budget.
    """

    held: Nanos
    reach: Nanos
    binds: EndReason
    warn_used: Nanos | None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a late report of the carrier's changed: `total` of the call, `refunded` to the user, `operator` pays."""

    total: Nanos
    refunded: Nanos
    operator: Nanos


@dataclass(frozen=True, slots=True)
class Final:
    """How a call was settled: `total` = `from_user` + `operator`."""

    total: Nanos
    from_user: Nanos
    operator: Nanos


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A line of the price list with where the figure was found and when.

    `destination`: the country or the first digits of the numbers it is for, empty where it holds for all.
    """

    price: Price
    provider: str
    price_list: PriceList
    source: str
    seen_on: date | None
    effective_from: datetime
    effective_to: datetime | None
    destination: str = ""


@dataclass(frozen=True, slots=True)
class CallMessage:
    """Something another node heard about a call, left for the node that conducts it. `payload` is JSON."""

    id: int
    call_id: str
    kind: str
    payload: str


@dataclass(frozen=True, slots=True)
class StreamToken:
    """The right to open one media socket, bound to one call and its carrier id."""

    token_hash: str
    call_id: str
    call_sid: str
    expires_at: datetime
    spent_at: datetime | None
    session_jti: str | None = None
    session_version: int | None = None


PurchaseStatus = Literal["open", "expired", "failed", "paid", "refunded"]


@dataclass(frozen=True, slots=True)
class Purchase:
    """A credit pack somebody ordered. `reversed_cents` of it were refunded or are disputed.

    Of those, `taken_nano` came off the user's balance and `lost_nano` is the operator's: it was spent already.
    """

    id: str
    user_id: str
    pack: str
    amount_cents: int
    currency: str
    livemode: bool
    status: PurchaseStatus
    session_id: str | None
    checkout_url: str | None
    payment_intent: str | None
    reversed_cents: int
    taken_nano: Nanos
    lost_nano: Nanos
    takebacks: int
    created_at: datetime
    paid_at: datetime | None
