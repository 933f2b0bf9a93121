"""Cutoffs, warnings and what may still be bought."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.budget import (
    STEP_S,
    Clock,
    Purse,
    affordable,
    cutoff_at,
    step_price,
    warn_at,
)
from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import Price, cost
from tests.core.story import CARRIER, MINUTE, STREAM, STT


def purse(rest: int = 0, **changes: object) -> Purse:
    """A call in its first minute with `rest` to spend, the goodbye's reserve aside."""
    plain = Purse(
        allowed=Nanos(MINUTE + cost(STT, 12) + cost(STT, 1) + rest),
        used=Nanos(MINUTE + cost(STT, 1)),
        pending=Nanos(0),
        steps=(CARRIER, STREAM),
        clocks=(Clock(STT),),
        bought_s=60,
        clock_s=1,
        reserve_s=12,
        horizon_s=900,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


FIRST_MINUTE = cost(STT, 60) - cost(STT, 1)
"""Listening to the end of the first minute."""


def test_the_rest_leaves_the_goodbye_alone() -> None:
    assert purse(5).rest == 5
    assert purse(5, pending=Nanos(7)).rest == -2
    assert step_price(purse()) == MINUTE


@pytest.mark.parametrize(
    ("rest", "cutoff_s"),
    [
        (-1, 1),  # nothing left: now
        (0, 1),
        (cost(STT, 2) - cost(STT, 1), 2),
        (FIRST_MINUTE - 1, 59),
        (FIRST_MINUTE, 60),
        (FIRST_MINUTE + MINUTE - 1, 60),  # the next minute cannot be bought
        (FIRST_MINUTE + MINUTE, 60),  # it can, but nobody would hear it
        (FIRST_MINUTE + MINUTE + cost(STT, 61) - cost(STT, 60), 61),
        (FIRST_MINUTE + MINUTE + cost(STT, 60), 120),
        (10**12, 900),  # the longest a call may last
    ],
)
def test_the_cutoff_is_the_last_second_that_is_paid_for(rest: int, cutoff_s: int) -> None:
    assert cutoff_at(purse(rest)) == cutoff_s * 1000


def test_a_carrier_by_the_minute_does_not_drag_the_cutoff_nearer_every_second() -> None:
    """A smoothed carrier price would end this call in the middle of a minute."""
    start = purse(FIRST_MINUTE + MINUTE + cost(STT, 60))
    later = [
        replace(start, clock_s=second, used=Nanos(start.used + cost(STT, second) - cost(STT, 1)))
        for second in range(1, 60)
    ]
    assert {cutoff_at(moment) for moment in later} == {Millis(120_000)}


def test_a_clock_counts_from_where_it_was_started() -> None:
    switched = Clock(STT, since_s=40)
    assert switched.cost_until(40) == 0
    assert switched.cost_until(100) == cost(STT, 60)
    both = purse(cost(STT, 60) - cost(STT, 10), clocks=(switched,), clock_s=50)
    assert cutoff_at(both) == 60_000  # the minute's end, ten seconds further on the new line
    assert cutoff_at(replace(both, allowed=Nanos(both.allowed + MINUTE))) == 100_000


def test_free_lines_last_to_the_horizon() -> None:
    assert cutoff_at(purse(0, steps=(), clocks=(), horizon_s=100)) == 100_000
    assert cutoff_at(purse(FIRST_MINUTE, steps=())) == 60_000
    assert cutoff_at(purse(MINUTE, clocks=(), horizon_s=100)) == 100_000


@pytest.mark.parametrize(
    ("cutoff_s", "warn_s"),
    [(900, 840), (180, 120), (120, 60), (100, 50), (80, 40), (60, 20), (40, 0), (10, 0)],
)
def test_the_warning_comes_half_the_paid_time_ahead_within_bounds(cutoff_s: int, warn_s: int) -> None:
    assert warn_at(Millis(cutoff_s * 1000)) == warn_s * 1000


def test_before_the_warning_a_purchase_must_leave_time_for_it() -> None:
    plenty = purse(FIRST_MINUTE + 100)
    assert affordable(plenty, Nanos(100), Millis(20_000), announced=None)
    assert not affordable(plenty, Nanos(100), Millis(20_001), announced=None)
    assert affordable(plenty, Nanos(101), Millis(19_000), announced=None)
    assert not affordable(plenty, Nanos(101), Millis(20_000), announced=None)


def test_after_the_warning_nothing_is_bought_that_brings_the_cutoff_nearer() -> None:
    warned = purse(FIRST_MINUTE + 100)
    told = cutoff_at(warned)
    assert affordable(warned, Nanos(100), Millis(50_000), announced=told)
    assert not affordable(warned, Nanos(101), Millis(50_000), announced=told)


def test_a_topped_up_call_may_buy_again_but_not_before_the_announced_cutoff() -> None:
    """Else the first question after a top-up would end a call with minutes left."""
    topped_up = purse(FIRST_MINUTE + MINUTE + cost(STT, 60) + 100)
    told, now = Millis(60_000), Millis(30_000)
    assert cutoff_at(topped_up) == 120_000
    assert affordable(topped_up, Nanos(101), now, announced=told)
    assert affordable(topped_up, Nanos(100), Millis(100_000), announced=told)
    assert not affordable(topped_up, Nanos(2_000_000), Millis(100_000), announced=told)
    assert not affordable(topped_up, Nanos(topped_up.rest + 1), now, announced=told)


money = st.integers(0, 300_000_000)


@st.composite
def purses(draw: st.DrawFn) -> Purse:
    def price(number: int, increment: int) -> Price:
        return Price(
            number, "stt", f"m{number}", "second", draw(st.integers(1, 30_000_000)), 60, increment, 0
        )

    steps = tuple(price(n, STEP_S) for n in range(draw(st.integers(0, 2))))
    clock_s = draw(st.integers(0, 200))
    clocks = tuple(
        Clock(price(10 + n, 1), draw(st.integers(0, clock_s))) for n in range(draw(st.integers(0, 2)))
    )
    bought_s = (clock_s // STEP_S + 1) * STEP_S
    used = sum(cost(p, bought_s) for p in steps) + sum(clock.cost_until(clock_s) for clock in clocks)
    return Purse(Nanos(used + draw(money)), Nanos(used), Nanos(0), steps, clocks, bought_s, clock_s, 12, 900)


def spent_at(moment: Purse, end_s: int) -> int:
    """What the call has cost when it hangs up at `end_s`, bought as the call buys."""
    minutes = max(moment.bought_s, -(-end_s // STEP_S) * STEP_S)
    steps = sum(cost(price, minutes) - cost(price, moment.bought_s) for price in moment.steps)
    clocks = sum(clock.cost_until(end_s) - clock.cost_until(moment.clock_s) for clock in moment.clocks)
    return moment.used + steps + clocks


@given(purses())
def test_the_cutoff_is_affordable_and_the_next_second_is_not(moment: Purse) -> None:
    end_s = cutoff_at(moment) // 1000
    if moment.rest < 0:
        assert end_s == moment.clock_s
        return
    reserve = sum(cost(clock.price, 12) for clock in moment.clocks)
    assert spent_at(moment, end_s) + reserve <= moment.allowed
    if end_s < moment.horizon_s:
        assert spent_at(moment, end_s + 1) + reserve > moment.allowed


@given(purses(), money, st.integers(0, 900_000), st.none() | st.integers(0, 900_000))
def test_what_may_be_bought_keeps_its_promises(
    moment: Purse, price: int, now: int, announced: int | None
) -> None:
    told = None if announced is None else Millis(announced)
    if affordable(moment, Nanos(price), Millis(now), announced=told):
        after = cutoff_at(replace(moment, pending=Nanos(price)))
        assert after >= now + 40_000 or (told is not None and after == cutoff_at(moment))
        assert told is None or after >= min(told, cutoff_at(moment))
