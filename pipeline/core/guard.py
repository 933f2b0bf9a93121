"""May this number be rung now? The one decision before any phone rings, and the only maker of a `Permit`.

Pure: what is known of the number, of its owner and of the calls made lately comes in as facts, and the hour of
day as offsets from UTC. Every path that wants to dial passes here at the moment it dials: an order of the
user's, a schedule, a retry, a call back. A carrier takes no order without the permit, once, for a minute.

Figures and their reasons: docs/who-may-be-rung.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pipeline.core.errors import CallMeBackError
from pipeline.core.money import Nanos

Kind = Literal[
    "fixed",
    "mobile",
    "fixed_or_mobile",
    "toll_free",
    "premium",
    "shared_cost",
    "voip",
    "personal",
    "pager",
    "company",
    "voicemail",
    "unknown",
]
RINGABLE: frozenset[Kind] = frozenset({"fixed", "mobile", "fixed_or_mobile"})

PERMIT_LIFE = timedelta(seconds=60)
DAY_MINUTES = 1440


class Purpose(StrEnum):
    """Who wants the phone to ring."""

    ORDER = "the user asked for it now"
    SCHEDULE = "a scheduled call is due"
    RETRY = "nobody answered the call before"
    CALL_BACK = "the user rang and asked to be rung back"


class Why(StrEnum):
    """Why not. Each belongs to one of the problem codes."""

    UNVERIFIED = "unverified"
    STALE = "stale"
    OPTED_OUT = "opted_out"
    NO_NUMBER = "no_number"
    FICTIONAL = "fictional"
    COUNTRY = "country"
    KIND = "kind"
    UNPRICED = "unpriced"
    TOO_DEAR = "too_dear"
    QUIET = "quiet"
    TOO_SOON = "too_soon"
    NUMBER_HOURLY = "number_hourly"
    NUMBER_DAILY = "number_daily"
    USER_HOURLY = "user_hourly"
    NUMBER_BUSY = "number_busy"
    USER_BUSY = "user_busy"


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """A telephone number by its numbering plan.

    `region`: two-letter country code, empty for numbers of no country. `valid`: the plan has such numbers.
    `fictional`: set aside for stories. `utc_offsets`: minutes east of UTC in every zone it may be in, now.
    `price`: nanodollars a minute the carrier asks for it, None where no price is known.
    """

    e164: str
    region: str
    kind: Kind
    valid: bool
    fictional: bool
    utc_offsets: tuple[int, ...] = ()
    price: Nanos | None = None

    @property
    def last2(self) -> str:
        return self.e164[-2:]


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Minutes since local midnight, from the first to before the last; over midnight when `begins > ends`.

    Equal ones are no quiet hours at all.
    """

    begins: int
    ends: int

    def cover(self, minute: int) -> bool:
        if self.begins <= self.ends:
            return self.begins <= minute < self.ends
        return minute >= self.begins or minute < self.ends


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's limits. Counts are of dials, answered or not."""

    regions: frozenset[str]
    fictional: bool
    ceiling: Nanos
    quiet: QuietHours
    gap: timedelta
    number_hourly: int
    number_daily: int
    user_hourly: int
    number_live: int
    user_live: int
    proof_lasts: timedelta


@dataclass(frozen=True, slots=True)
class Owner:
    """The person whose phone it would be.

    `number` is what they proved to be theirs at `proved_at`, last dialled or proved at `used_at`; None before.
    `utc_offset`: minutes east of UTC where they say they live. `quiet`: quiet hours they chose for themselves,
    on record; None leaves it to the operator's.
    """

    user_id: str
    number: str | None
    used_at: datetime | None
    utc_offset: int
    opted_out: bool
    quiet: QuietHours | None = None


@dataclass(frozen=True, slots=True)
class Lately:
    """Calls dialled before this one: of the number whoever asked, and of the user whatever the number."""

    number_dialled_at: datetime | None = None
    number_hour: int = 0
    number_day: int = 0
    user_hour: int = 0
    number_live: int = 0
    user_live: int = 0


class NotAllowed(CallMeBackError):
    """The number may not be rung now. `wait` says when it may be tried again, where waiting helps."""

    def __init__(self, why: Why, *, wait: timedelta | None = None) -> None:
        super().__init__(why.value)
        self.why = why
        self.wait = wait


class Spent(CallMeBackError):
    """A permit is used a second time, too late, or for another number."""


_MINT = object()


class Permit:
    """Leave to ring one number once, within `PERMIT_LIFE`. Only `may_dial` and `may_dial_again` make one."""

    __slots__ = ("_spent", "e164", "given_at", "purpose", "user_id")

    def __init__(
        self, mint: object, *, user_id: str, e164: str, purpose: Purpose, given_at: datetime
    ) -> None:
        if mint is not _MINT:
            raise TypeError("a permit is given by may_dial and by nothing else")
        self.user_id = user_id
        self.e164 = e164
        self.purpose = purpose
        self.given_at = given_at
        self._spent = False

    def spend(self, e164: str, now: datetime) -> None:
        """Use it up. Raises `Spent`; a permit for this number that is fresh and unused passes."""
        if self._spent:
            raise Spent("a permit rings one phone, once")
        if e164 != self.e164:
            raise Spent("the permit is for another number")
        if not self.given_at <= now <= self.given_at + PERMIT_LIFE:
            raise Spent("the permit is too old")
        self._spent = True


def may_dial(
    owner: Owner, number: NumberFacts, purpose: Purpose, lately: Lately, rules: Rules, now: datetime
) -> Permit:
    """Leave to ring `number` now (UTC). Raises `NotAllowed` with the first rule that forbids it.

    What lasts is looked at before what passes with time, so that nobody is told to wait in vain.
    """
    if owner.opted_out:
        raise NotAllowed(Why.OPTED_OUT)
    _check_proof(owner, number, rules, now)
    check_number(number, rules)
    _check_price(number, rules)
    _check_rates(lately, rules, now)
    if wait := quiet_for(owner, number, rules, now):
        raise NotAllowed(Why.QUIET, wait=wait)
    return Permit(_MINT, user_id=owner.user_id, e164=number.e164, purpose=purpose, given_at=now)


def may_dial_again(permit: Permit, owner: Owner, number: NumberFacts, rules: Rules, now: datetime) -> Permit:
    """Leave in the place of `permit`, spent on a try the carrier did not act on. Raises `NotAllowed`.

    All is asked anew that may have changed while it waited; not the rates, which count that try already.
    """
    if owner.user_id != permit.user_id or number.e164 != permit.e164:
        raise NotAllowed(Why.UNVERIFIED)
    return may_dial(owner, number, permit.purpose, Lately(), rules, now)


def check_number(number: NumberFacts, rules: Rules) -> None:
    """Whether such a number may be rung or texted at all, whoever's it is. Raises `NotAllowed`."""
    if number.fictional and not rules.fictional:
        raise NotAllowed(Why.FICTIONAL)
    if not number.valid:
        raise NotAllowed(Why.NO_NUMBER)
    if number.region not in rules.regions:
        raise NotAllowed(Why.COUNTRY)
    if number.kind not in RINGABLE:
        raise NotAllowed(Why.KIND)


def quiet_for(owner: Owner, number: NumberFacts, rules: Rules, now: datetime) -> timedelta | None:
    """How long it is still night somewhere the number may be; None where the phone may ring.

    The owner's own hours, of a number they proved, stand in the place of the operator's.
    """
    quiet = rules.quiet if owner.quiet is None else owner.quiet
    offsets = {*number.utc_offsets, owner.utc_offset}
    for waited in range(DAY_MINUTES):
        minutes = [_minute_of_day(now, offset + waited) for offset in offsets]
        if not any(quiet.cover(minute) for minute in minutes):
            return timedelta(minutes=waited) if waited else None
    return timedelta(minutes=DAY_MINUTES)


def _check_proof(owner: Owner, number: NumberFacts, rules: Rules, now: datetime) -> None:
    if owner.number is None or owner.number != number.e164 or owner.used_at is None:
        raise NotAllowed(Why.UNVERIFIED)
    if now - owner.used_at > rules.proof_lasts:
        raise NotAllowed(Why.STALE)


def _check_price(number: NumberFacts, rules: Rules) -> None:
    if number.price is None:
        raise NotAllowed(Why.UNPRICED)
    if number.price > rules.ceiling:
        raise NotAllowed(Why.TOO_DEAR)


def _check_rates(lately: Lately, rules: Rules, now: datetime) -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    limits: Sequence[tuple[int, int, Why, timedelta | None]] = (
        (lately.number_live, rules.number_live, Why.NUMBER_BUSY, None),
        (lately.user_live, rules.user_live, Why.USER_BUSY, None),
        (lately.number_day, rules.number_daily, Why.NUMBER_DAILY, day),
        (lately.number_hour, rules.number_hourly, Why.NUMBER_HOURLY, hour),
        (lately.user_hour, rules.user_hourly, Why.USER_HOURLY, hour),
    )
    for count, limit, why, wait in limits:
        if count >= limit:
            raise NotAllowed(why, wait=wait)
    if (
        lately.number_dialled_at is not None
        and (left := lately.number_dialled_at + rules.gap - now) > timedelta()
    ):
        raise NotAllowed(Why.TOO_SOON, wait=left)


def _minute_of_day(now: datetime, offset: int) -> int:
    return (now.hour * 60 + now.minute + offset) % DAY_MINUTES
