"""Leave to ring a number, for tests of carriers: given by the guard itself, under rules that allow everything."""

from __future__ import annotations

from datetime import timedelta

from pipeline.clock import Clock
from pipeline.core.guard import Lately, NumberFacts, Owner, Permit, Purpose, QuietHours, Rules, may_dial
from pipeline.core.money import Nanos

ANYTHING = Rules(
    regions=frozenset({"US"}),
    fictional=True,
    ceiling=Nanos(1),
    quiet=QuietHours(0, 0),
    gap=timedelta(),
    number_hourly=1,
    number_daily=1,
    user_hourly=1,
    number_live=1,
    user_live=1,
    proof_lasts=timedelta(days=1),
)


def permit(e164: str, clock: Clock | None = None) -> Permit:
    now = (clock or Clock()).utc()
    number = NumberFacts(e164, "US", "mobile", valid=True, fictional=True, utc_offsets=(0,), price=Nanos(1))
    return may_dial(Owner("u", e164, now, 0, opted_out=False), number, Purpose.ORDER, Lately(), ANYTHING, now)
