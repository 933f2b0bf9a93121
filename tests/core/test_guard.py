"""Who may be rung: each rule by itself, their order, and the permit that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.guard import (
    DAY_MINUTES,
    PERMIT_LIFE,
    Lately,
    NotAllowed,
    NumberFacts,
    Owner,
    Permit,
    Purpose,
    QuietHours,
    Rules,
    Spent,
    Why,
    may_dial,
    may_dial_again,
    quiet_for,
)
from pipeline.core.money import Nanos

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NUMBER = NumberFacts("+12025550142", "US", "fixed_or_mobile", True, True, (0,), Nanos(14_000_000))
NIGHT = QuietHours(21 * 60, 8 * 60)
RULES = Rules(
    regions=frozenset({"US"}),
    fictional=True,
    ceiling=Nanos(50_000_000),
    quiet=NIGHT,
    gap=timedelta(seconds=60),
    number_hourly=3,
    number_daily=8,
    user_hourly=10,
    number_live=1,
    user_live=2,
    proof_lasts=timedelta(days=180),
)
OWNER = Owner("u1", NUMBER.e164, NOON - timedelta(days=1), 0, False)
NOTHING = Lately()


def decide(
    owner: Owner = OWNER,
    number: NumberFacts = NUMBER,
    lately: Lately = NOTHING,
    rules: Rules = RULES,
    now: datetime = NOON,
) -> Permit:
    return may_dial(owner, number, Purpose.ORDER, lately, rules, now)


def why(**changed: Any) -> tuple[Why, timedelta | None]:
    with pytest.raises(NotAllowed) as refused:
        decide(**changed)
    return refused.value.why, refused.value.wait


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FORBIDDEN: list[tuple[dict[str, Any], Why, timedelta | None]] = [
    ({"owner": replace(OWNER, opted_out=True)}, Why.OPTED_OUT, None),
    ({"owner": replace(OWNER, number=None)}, Why.UNVERIFIED, None),
    ({"owner": replace(OWNER, number="+12025550143")}, Why.UNVERIFIED, None),
    ({"owner": replace(OWNER, used_at=None)}, Why.UNVERIFIED, None),
    ({"owner": replace(OWNER, used_at=NOON - timedelta(days=181))}, Why.STALE, None),
    ({"rules": replace(RULES, fictional=False)}, Why.FICTIONAL, None),
    ({"number": replace(NUMBER, valid=False)}, Why.NO_NUMBER, None),
    ({"number": replace(NUMBER, region="JM")}, Why.COUNTRY, None),
    ({"number": replace(NUMBER, region="")}, Why.COUNTRY, None),
    ({"number": replace(NUMBER, kind="premium")}, Why.KIND, None),
    ({"number": replace(NUMBER, kind="unknown")}, Why.KIND, None),
    ({"number": replace(NUMBER, price=None)}, Why.UNPRICED, None),
    ({"number": replace(NUMBER, price=Nanos(50_000_001))}, Why.TOO_DEAR, None),
    ({"lately": Lately(number_live=1)}, Why.NUMBER_BUSY, None),
    ({"lately": Lately(user_live=2)}, Why.USER_BUSY, None),
    ({"lately": Lately(number_day=8)}, Why.NUMBER_DAILY, DAY),
    ({"lately": Lately(number_hour=3)}, Why.NUMBER_HOURLY, HOUR),
    ({"lately": Lately(user_hour=10)}, Why.USER_HOURLY, HOUR),
    (
        {"lately": Lately(number_dialled_at=NOON - timedelta(seconds=59))},
        Why.TOO_SOON,
        timedelta(seconds=1),
    ),
    # Day there begins when it is night here, so the next hour that is day in both counts.
    ({"owner": replace(OWNER, utc_offset=9 * 60)}, Why.QUIET, timedelta(hours=20)),
    ({"number": replace(NUMBER, utc_offsets=(0, -5 * 60))}, Why.QUIET, timedelta(hours=1)),
]


@pytest.mark.parametrize(
    ("changed", "reason", "wait"), FORBIDDEN, ids=lambda value: getattr(value, "name", "")
)
def test_each_rule_forbids_by_itself(changed: dict[str, Any], reason: Why, wait: timedelta | None) -> None:
    assert why(**changed) == (reason, wait)


def test_at_the_edge_of_every_rule_the_phone_rings() -> None:
    permit = decide(
        owner=replace(OWNER, used_at=NOON - timedelta(days=180), utc_offset=-4 * 60),
        number=replace(NUMBER, price=RULES.ceiling, utc_offsets=(8 * 60 + 59, -4 * 60)),
        lately=Lately(NOON - timedelta(seconds=60), 2, 7, 9, 0, 1),
    )
    assert (permit.e164, permit.user_id, permit.purpose) == (NUMBER.e164, "u1", Purpose.ORDER)


def test_what_lasts_is_told_before_what_passes() -> None:
    """Nobody is told to wait for an hour in which they would be refused again."""
    everything = {
        "owner": replace(OWNER, opted_out=True, number=None),
        "number": replace(NUMBER, valid=False),
        "lately": Lately(number_live=5, number_day=99),
    }
    assert why(**everything)[0] is Why.OPTED_OUT
    assert why(number=replace(NUMBER, kind="pager"), lately=Lately(number_hour=3))[0] is Why.KIND
    assert why(lately=Lately(number_hour=3), now=NOON + timedelta(hours=12))[0] is Why.NUMBER_HOURLY


@pytest.mark.parametrize(
    ("hour", "minute", "rings"), [(7, 59, False), (8, 0, True), (20, 59, True), (21, 0, False), (0, 0, False)]
)
def test_quiet_hours_end_and_begin_on_the_minute(hour: int, minute: int, rings: bool) -> None:
    now = NOON.replace(hour=hour, minute=minute)
    assert (quiet_for(OWNER, NUMBER, RULES, now) is None) is rings


def test_a_person_may_set_their_own_hours_and_none_at_all() -> None:
    early = replace(OWNER, quiet=QuietHours(9 * 60, 11 * 60))
    assert quiet_for(early, NUMBER, RULES, NOON.replace(hour=3)) is None
    assert quiet_for(early, NUMBER, RULES, NOON.replace(hour=10)) == HOUR
    assert quiet_for(replace(OWNER, quiet=QuietHours(0, 0)), NUMBER, RULES, NOON.replace(hour=3)) is None


def test_a_day_that_is_all_night_waits_a_day() -> None:
    never = replace(RULES, quiet=QuietHours(0, DAY_MINUTES))
    assert quiet_for(OWNER, NUMBER, never, NOON) == DAY


@given(
    st.integers(0, DAY_MINUTES - 1), st.integers(0, DAY_MINUTES - 1), st.integers(0, DAY_MINUTES - 1),
    st.lists(st.integers(-12 * 60, 14 * 60), min_size=1, max_size=4),
)  # fmt: skip
def test_when_it_rings_it_is_day_everywhere(begins: int, ends: int, minute: int, offsets: list[int]) -> None:
    now = NOON.replace(hour=minute // 60, minute=minute % 60)
    rules = replace(RULES, quiet=QuietHours(begins, ends))
    number = replace(NUMBER, utc_offsets=tuple(offsets))
    wait = quiet_for(OWNER, number, rules, now)
    rings = now + (wait or timedelta())
    local = [(rings + timedelta(minutes=offset)) for offset in (*offsets, OWNER.utc_offset)]
    night = [rules.quiet.cover(moment.hour * 60 + moment.minute) for moment in local]
    assert wait == DAY or not any(night)


def test_only_the_guard_gives_permits() -> None:
    make: Callable[..., Permit] = Permit
    with pytest.raises(TypeError, match="may_dial"):
        make(object(), user_id="u1", e164=NUMBER.e164, purpose=Purpose.ORDER, given_at=NOON)


@pytest.mark.parametrize(
    ("e164", "after", "message"),
    [
        ("+12025550143", timedelta(), "another number"),
        (NUMBER.e164, PERMIT_LIFE + timedelta(microseconds=1), "too old"),
        (NUMBER.e164, timedelta(microseconds=-1), "too old"),
    ],
)
def test_a_permit_is_for_one_number_and_a_minute(e164: str, after: timedelta, message: str) -> None:
    with pytest.raises(Spent, match=message):
        decide().spend(e164, NOON + after)


def test_a_permit_rings_once() -> None:
    permit = decide()
    permit.spend(NUMBER.e164, NOON + PERMIT_LIFE)
    with pytest.raises(Spent, match="once"):
        permit.spend(NUMBER.e164, NOON)


@pytest.mark.parametrize(
    ("owner", "number"),
    [
        (replace(OWNER, user_id="u2"), NUMBER),
        (replace(OWNER, number="+12025550143"), replace(NUMBER, e164="+12025550143")),
    ],
)
def test_leave_is_given_again_for_the_same_person_and_number_only(owner: Owner, number: NumberFacts) -> None:
    given = decide()
    again = may_dial_again(given, OWNER, NUMBER, RULES, NOON)
    assert (again is given, again.e164, again.purpose) == (False, given.e164, given.purpose)
    with pytest.raises(NotAllowed) as caught:
        may_dial_again(given, owner, number, RULES, NOON)
    assert caught.value.why is Why.UNVERIFIED


def test_what_changed_meanwhile_forbids_it_and_its_own_try_does_not() -> None:
    given = decide()
    with pytest.raises(NotAllowed) as caught:
        may_dial_again(given, replace(OWNER, opted_out=True), NUMBER, RULES, NOON)
    assert caught.value.why is Why.OPTED_OUT
    once = replace(RULES, number_hourly=1, number_daily=1, user_hourly=1)
    assert may_dial_again(given, OWNER, NUMBER, once, NOON).given_at == NOON


def test_the_last_digits_are_all_that_is_shown() -> None:
    assert NUMBER.last2 == "42"
