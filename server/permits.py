"""Where the guard is asked: settings, rows and the numbering plan become its facts, its refusals become problems.

What may be rung is `pipeline/core/guard.py`'s to say. It is asked in the transaction that places the call, about the
user's row as it stands there, so that neither an edited row nor a number that was lost meanwhile gets past it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.clock import Clock
from pipeline.core import guard
from pipeline.core.errors import Refused
from pipeline.core.guard import Lately, NotAllowed, NumberFacts, Permit, Purpose, QuietHours, Rules, Why
from pipeline.core.money import parse_usd
from server import numbers
from server.money.destinations import for_number, price_of
from server.settings import Settings
from storage import dials, opt_outs, pricing, users
from storage.db import Database, Tx
from storage.records import PriceRow, User

STALE = timedelta(seconds=1)
"""A leave that was kept waiting for longer is asked for anew: within that time an opt-out has to hold everywhere."""
UNREADABLE_WAITS = timedelta(days=1)
"""Where a person lives that no zone fits, any hour may be night."""

_FORBIDDEN = "not_allowed_number", 403
_WAIT = "rate_limited", 429
_BUSY = "call_in_progress", 409
_REFUSALS: dict[Why, tuple[tuple[str, int], str]] = {
    Why.UNVERIFIED: (("phone_not_verified", 403), "Verify your phone first."),
    Why.STALE: (
        ("phone_not_verified", 403),
        "Your phone was verified too long ago; verify it again.",
    ),
    Why.OPTED_OUT: (
        ("opted_out", 403),
        "Somebody at this number asked for no more calls. Verifying the number again lifts that.",
    ),
    Why.NO_NUMBER: (_FORBIDDEN, "There is no such number."),
    Why.FICTIONAL: (_FORBIDDEN, "This number belongs to nobody."),
    Why.COUNTRY: (_FORBIDDEN, "Numbers of this country are not rung."),
    Why.KIND: (_FORBIDDEN, "Numbers of this kind are not rung."),
    Why.UNPRICED: (_FORBIDDEN, "There is no price for numbers of this destination."),
    Why.TOO_DEAR: (_FORBIDDEN, "Calls to this number cost more than the operator allows."),
    Why.QUIET: (
        ("quiet_hours", 403),
        "These are quiet hours where your phone is, or where you say you live: yours, or else the server's.",
    ),
    Why.TOO_SOON: (_WAIT, "Your phone was rung a moment ago; wait a little."),
    Why.NUMBER_HOURLY: (_WAIT, "Your phone was rung too often in the last hour."),
    Why.NUMBER_DAILY: (_WAIT, "Your phone was rung too often in the last 24 hours."),
    Why.USER_HOURLY: (_WAIT, "You asked for too many calls in the last hour."),
    Why.NUMBER_BUSY: (_BUSY, "Your phone is already on a call with us."),
    Why.USER_BUSY: (_BUSY, "You have as many calls going on as you may; end one of them first."),
}


def rules(settings: Settings) -> Rules:
    return Rules(
        regions=frozenset(settings.operator_country),
        fictional=not settings.rings_real_phones,
        ceiling=parse_usd(settings.dial_price_ceiling),
        quiet=hours(settings.quiet),
        gap=timedelta(seconds=settings.figure("dial_gap_seconds")),
        number_hourly=settings.figure("dials_per_number_hourly"),
        number_daily=settings.figure("dials_per_number_daily"),
        user_hourly=settings.figure("dials_per_user_hourly"),
        number_live=settings.max_calls_per_number,
        user_live=settings.max_calls_per_user,
        proof_lasts=timedelta(days=settings.phone_proof_days),
    )


def hours(span: str) -> QuietHours:
    """Of `21:00-08:00`, or `off`. `ValueError` for what is neither, as only an edited row can be."""
    if span == "off":
        return QuietHours(0, 0)
    begins, ends = (_minute(time) for time in span.split("-"))
    return QuietHours(begins, ends)


def _minute(time: str) -> int:
    hour, minute = (int(part) for part in time.split(":"))
    if not (0 <= hour < 24 and 0 <= minute < 60):
        raise ValueError("no time of day")
    return hour * 60 + minute


@dataclass(slots=True)
class Phone:
    """A user's phone as it stands in one transaction, and what was dialled lately: for one order or several.

    Each leave it gives counts against the next one, before any of them is written.
    """

    owner: guard.Owner
    number: NumberFacts
    lately: Lately

    def permit(self, purpose: Purpose, settings: Settings, now: datetime, *, beside: int) -> Permit:
        """Leave to ring it now. Raises `Refused`, with the rule that forbids it as `reason`.

        `beside`: calls of the user that were let in since, of any channel.
        """
        lately = replace(self.lately, user_live=self.lately.user_live + beside)
        try:
            return guard.may_dial(self.owner, self.number, purpose, lately, rules(settings), now)
        except NotAllowed as refused:
            raise refusal(refused) from None

    def rung(self, now: datetime) -> None:
        """One of the calls it was given leave for is let in."""
        had = self.lately
        self.lately = replace(
            had,
            number_dialled_at=now,
            number_hour=had.number_hour + 1,
            number_day=had.number_day + 1,
            user_hour=had.user_hour + 1,
            number_live=had.number_live + 1,
        )


async def phone_of(
    tx: Tx, user_id: str, rows: Collection[PriceRow], now: datetime, *, lock: bool = True
) -> Phone:
    """Raises `Refused` for a user without a verified phone.

    `rows`: the current price list, of which the number has what holds for its destination. `lock`: until the
    transaction ends, whoever else asks for this number, proves it or opts it out waits. It is taken before anything
    is read, so what was done a moment earlier counts.
    """
    user = await (users.locked(tx, user_id) if lock else users.by_id(tx, user_id))
    if user is None or user.phone_e164 is None or user.phone_verified_at is None:
        raise refusal(NotAllowed(Why.UNVERIFIED))
    if lock:
        await dials.alone(tx, user.phone_e164)
    number = _facts(user.phone_e164, rows, now)
    owner = _owner(user, await opt_outs.has(tx, number.e164), now)
    return Phone(owner, number, await dials.lately(tx, user.id, number.e164, now))


async def again(database: Database, permit: Permit, settings: Settings, clock: Clock) -> Permit:
    """Leave in the place of one that was spent on a try the carrier did not act on.

    Raises `Refused` where the number must not be rung any more, and `DatabaseDown` where nobody can tell.
    """
    async with database.read() as tx:
        now = clock.utc()
        rows = await pricing.current(tx, now, settings.price_list)
        phone = await phone_of(tx, permit.user_id, rows, now, lock=False)
        try:
            return guard.may_dial_again(permit, phone.owner, phone.number, rules(settings), now)
        except NotAllowed as refused:
            raise refusal(refused) from None


async def fresh(database: Database, permit: Permit, settings: Settings, clock: Clock) -> Permit:
    """The permit itself, or one in its place where it was kept waiting; one that is too old stays so.

    Raises what `again` does.
    """
    waited = clock.utc() - permit.given_at
    return await again(database, permit, settings, clock) if STALE < waited <= guard.PERMIT_LIFE else permit


def check_number(settings: Settings, number: NumberFacts) -> None:
    """Raises `Refused` for a number of a country or kind that is not rung, and so not texted either."""
    try:
        guard.check_number(number, rules(settings))
    except NotAllowed as refused:
        raise refusal(refused) from None


def refusal(refused: NotAllowed) -> Refused:
    (code, status), detail = _REFUSALS[refused.why]
    wait = None if refused.wait is None else math.ceil(refused.wait.total_seconds())
    return Refused(code, detail, status=status, retry_after=wait, members={"reason": refused.why.value})


def _facts(e164: str, rows: Collection[PriceRow], now: datetime) -> NumberFacts:
    try:
        found = numbers.facts(e164)
    except ValueError:  # a row written by hand
        raise refusal(NotAllowed(Why.NO_NUMBER)) from None
    return NumberFacts(
        e164=found.e164,
        region=found.region,
        kind=found.kind,
        valid=found.valid,
        fictional=found.fictional,
        utc_offsets=numbers.offsets(found.e164, now),
        price=price_of(row.price for row in for_number(rows, found.e164, found.region)),
    )


def _owner(user: User, opted_out: bool, now: datetime) -> guard.Owner:
    seen = [moment for moment in (user.phone_verified_at, user.phone_used_at) if moment is not None]
    try:
        offset = numbers.offset(user.timezone, now)
        quiet = None if user.quiet_hours is None else hours(user.quiet_hours)
    except (ValueError, KeyError, OSError):  # a row written by hand, as no route writes it
        raise refusal(NotAllowed(Why.QUIET, wait=UNREADABLE_WAITS)) from None
    return guard.Owner(
        user_id=user.id,
        number=user.phone_e164,
        used_at=max(seen, default=None),
        utc_offset=offset,
        opted_out=opted_out,
        quiet=quiet,
    )
