"""When a call is warned about money and when it is cut off. Decided here only.

Both are answered as a time, not polled for. The carrier is a step: whole minutes are
bought at 0, 60, 120 s, so the cutoff is the earlier of the next minute that cannot be
bought and the moment the rest, less the goodbye's reserve, is used up by what runs by
the second. All times here are seconds or milliseconds since the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import Price, cost

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


def step_price(purse: Purse) -> Nanos:
    """One more increment of every stepped line."""
    return Nanos(sum(cost(price, STEP_S) for price in purse.steps))


def _running(purse: Purse, until_s: int) -> int:
    """What the per-second lines cost from now to `until_s`."""
    return sum(clock.cost_until(until_s) - clock.cost_until(purse.clock_s) for clock in purse.clocks)


def cutoff_at(purse: Purse) -> Millis:
    """The last paid instant of the call, at most the horizon."""
    rest = purse.rest
    if rest < 0:
        return Millis(min(purse.clock_s, purse.horizon_s) * 1000)
    end, step = purse.bought_s if purse.steps else purse.horizon_s, step_price(purse)
    while end < purse.horizon_s and _running(purse, end) + step <= rest:
        rest = Nanos(rest - step)
        end += STEP_S
    end = min(end, purse.horizon_s)
    if _running(purse, end) > rest:
        end = _last_running_second(purse, rest, end)
    return Millis(end * 1000)


def _last_running_second(purse: Purse, rest: int, end_s: int) -> int:
    """The last second before `end_s` that the per-second lines can still be paid for."""
    low, high = purse.clock_s, end_s
    while low < high:
        middle = (low + high + 1) // 2
        if _running(purse, middle) <= rest:
            low = middle
        else:
            high = middle - 1
    return low


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
