"""When a call is warned about money and when it is cut off. Decided here only.

Both are answered as a time, not polled for. The carrier is a step: whole minutes are
bought at 0, 60, 120 s, so the cutoff is the earlier of the next minute that cannot be
bought and the moment the rest, less the goodbye's reserve, is used up by what runs by
the second. All times here are seconds or milliseconds since the answer.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import Price, cost
from pipeline.core.terms import EndReason

STEP_S = 60
"""A carrier's increment."""

SHORTEST_NOTICE = Millis(40_000)
LONGEST_NOTICE = Millis(60_000)


@dataclass(frozen=True, slots=True)
class Clock:
    """A line billed by the second from `since_s` on; at second t it has come to t - since_s units."""

    price: Price
    since_s: int = 0

    def cost_until(self, second: int) -> Nanos:
        return cost(self.price, second - self.since_s)


@dataclass(frozen=True, slots=True)
class Purse:
    """The money of a call at one instant.

    `used` is all that was bought, `pending` the worst case of what was asked for and not yet
    counted. `steps` are paid up to `bought_s`, the per-second `clocks` up to `clock_s`.
    """

    allowed: Nanos
    used: Nanos
    pending: Nanos
    steps: tuple[Price, ...]
    clocks: tuple[Clock, ...]
    bought_s: int
    clock_s: int
    reserve_s: int
    horizon_s: int

    @property
    def rest(self) -> Nanos:
        """What may still be spent on anything but the goodbye."""
        reserve = sum(cost(clock.price, self.reserve_s) for clock in self.clocks)
        return Nanos(self.allowed - self.used - self.pending - reserve)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What follows from the money of a call as it stands. Times are milliseconds since the answer.

    `paid_until` is the cutoff, `held_until` how far the held money alone reaches, `next_second` when there is
    something to buy again, `wanted_from` when more money is to be asked for; `reason` is what ends the call.
    """

    paid_until: Millis
    held_until: Millis
    reason: EndReason
    warning: Millis | None
    next_second: Millis | None
    wanted_from: Millis | None


def step_price(purse: Purse) -> Nanos:
    """One more increment of every stepped line."""
    return Nanos(sum(cost(price, STEP_S) for price in purse.steps))


def _run_up(purse: Purse, second: int) -> int:
    """What the per-second lines come to by then."""
    return sum(clock.cost_until(second) for clock in purse.clocks)


def cutoff_at(purse: Purse) -> Millis:
    """The last paid instant of the call, at most the horizon."""
    rest = purse.rest
    if rest < 0:
        return Millis(min(purse.clock_s, purse.horizon_s) * 1000)
    room, end = rest + _run_up(purse, purse.clock_s), purse.horizon_s
    if purse.steps:
        bought, step = purse.bought_s, step_price(purse)
        ahead = range(max(0, -(-(purse.horizon_s - bought) // STEP_S)))
        # The first increment that cannot be bought: all before it, and the seconds until it begins, come first.
        more = bisect_left(
            ahead, True, key=lambda n: _run_up(purse, bought + n * STEP_S) + (n + 1) * step > room
        )
        room -= more * step
        end = min(bought + more * STEP_S, end)
    if _run_up(purse, end) > room:
        # The last second that the per-second lines can still be paid for.
        seconds = range(purse.clock_s + 1, end + 1)
        end = purse.clock_s + bisect_left(seconds, True, key=lambda second: _run_up(purse, second) > room)
    return Millis(end * 1000)


def warn_at(cutoff: Millis) -> Millis:
    """When the one warning is due: half the paid time ahead, at least 40 s and at most 60 s."""
    notice = min(max(cutoff // 2, SHORTEST_NOTICE), LONGEST_NOTICE)
    return Millis(max(0, cutoff - notice))


def lasts(purse: Purse, price: Nanos, until: Millis) -> bool:
    """Whether the money lasts until then after a purchase, or the purchase takes no time off the call."""
    after = cutoff_at(replace(purse, pending=Nanos(purse.pending + price)))
    return after >= min(until, cutoff_at(purse))


def affordable(purse: Purse, price: Nanos, now: Millis, *, announced: Millis | None) -> bool:
    """Whether something may be bought now.

    Before the warning, only what leaves time for it and the goodbye. After it, also what leaves the cutoff
    where it is; what moves it must leave the announced cutoff alone, which a top-up has put behind it.
    """
    after = cutoff_at(replace(purse, pending=Nanos(purse.pending + price)))
    soonest = Millis(now + SHORTEST_NOTICE)
    if announced is None:
        return after >= soonest
    return after >= min(cutoff_at(purse), max(announced, soonest))
