"""Rules against dateutil and zoneinfo as they are, the days on which clocks change, and rules that will not do."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrule, rruleset, rrulestr
from hypothesis import given
from hypothesis import strategies as st

from server.schedules.recurrence import (
    HORIZON,
    Plan,
    _expanded,
    check,
    local_of,
    next_run,
    runs,
    skip_of,
    utc_of,
)
from server.schedules.rule_parts import BadRule, parts

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"
START = datetime.fromisoformat("2026-11-02T07:30")
QUARTER = timedelta(minutes=15)
ZONES = st.sampled_from(
    [NEW_YORK, BERLIN, "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"]
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(text: str) -> datetime:
    """A local time."""
    return datetime.fromisoformat(text)


def texts(moments: list[datetime]) -> list[str]:
    return [moment.strftime("%Y-%m-%dT%H:%M") for moment in moments]


def csv(choices: list[str], most: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(choices), min_size=1, max_size=most, unique=True).map(",".join)


DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
NUMBERED = [f"{number}{day}" for number in ("1", "2", "-1") for day in DAYS]
OPTIONAL = {
    "INTERVAL": st.integers(1, 5).map(str),
    "BYHOUR": csv([str(hour) for hour in range(24)]),
    "BYMINUTE": csv(["0", "15", "30", "45"], 2),
    "BYMONTH": csv([str(month) for month in range(1, 13)], 4),
    "WKST": st.sampled_from(["MO", "SU"]),
}
DAY_PARTS: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "HOURLY": {"BYDAY": csv(DAYS)},
    "DAILY": {"BYDAY": csv(DAYS)},
    "WEEKLY": {"BYDAY": csv(DAYS)},
    "MONTHLY": {"BYDAY": csv(NUMBERED), "BYMONTHDAY": csv(["1", "15", "28", "31", "-1"])},
    "YEARLY": {"BYMONTHDAY": csv(["1", "29", "-1"]), "BYWEEKNO": csv(["1", "20", "53"])},
}


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(list(DAY_PARTS)))
    chosen = {"FREQ": frequency}
    for name, values in OPTIONAL.items():
        if draw(st.booleans()):
            chosen[name] = draw(values)
    if draw(st.booleans()):
        name = draw(st.sampled_from(list(DAY_PARTS[frequency])))
        chosen[name] = draw(DAY_PARTS[frequency][name])
    if draw(st.booleans()):
        chosen["COUNT"] = draw(st.integers(1, 30).map(str))
    return ";".join(f"{name}={value}" for name, value in chosen.items())


def straight(rule: str, start: datetime) -> rrule | rruleset:
    """By the library alone. Of a week's number without a day it would make all seven of that week."""
    day = f";BYDAY={DAYS[start.weekday()]}" if "BYWEEKNO" in rule else ""
    return rrulestr(rule + day, dtstart=start)


def expected(plan: Plan, after: datetime, limit: int) -> list[datetime]:
    """Straight from the two libraries: every local time of the rule, in its zone as of before any change."""
    assert plan.rule is not None
    end = local_of(after, plan.zone) - timedelta(hours=25) + HORIZON
    found: set[datetime] = set()
    for local in islice(straight(plan.rule, plan.start), 5_000):
        if local > end or len(found) > limit + 120:
            break
        moment = local.replace(tzinfo=ZoneInfo(plan.zone)).astimezone(UTC)
        if moment > after:
            found.add(moment)
    return sorted(found)[:limit]


def _comes_due(rule: str) -> bool:
    """Lest dateutil look for a match to the end of time: what the quick search finds, the slow one finds soon."""
    try:
        return bool(runs(Plan(START, "UTC", rule), at("2026-11-01T00:00"), 1))
    except BadRule:
        return False


@given(rule=rules().filter(_comes_due), zone=ZONES, days=st.integers(0, 400), limit=st.integers(1, 12))
def test_runs_are_those_of_the_libraries(rule: str, zone: str, days: int, limit: int) -> None:
    plan, after = Plan(START, zone, rule), at("2026-11-01T00:00") + timedelta(days=days)
    found = runs(plan, after, limit)
    if "COUNT" in rule or len(found) == limit:  # beyond its last run the slow search does not end
        assert found == expected(plan, after, limit)
    assert found == sorted(set(found))
    assert all(moment > after for moment in found)


@given(rule=rules().filter(_comes_due), zone=ZONES)
def test_going_on_from_each_run_misses_none_and_repeats_none(rule: str, zone: str) -> None:
    plan = Plan(START, zone, rule)
    together = runs(plan, at("2026-11-01T00:00"), 8)
    one_by_one: list[datetime] = []
    after = at("2026-11-01T00:00")
    while len(one_by_one) < 8 and (run := next_run(plan, after)) is not None:
        one_by_one.append(run)
        after = run
    assert one_by_one == together


@given(
    rule=rules().filter(lambda rule: "COUNT" not in rule).filter(_comes_due),
    start=st.sampled_from(["2026-11-02T07:30", "2024-02-29T00:00", "2023-12-31T23:45", "2025-01-01T12:15"]),
    days=st.integers(0, 1_500),
)
def test_a_rule_of_years_ago_goes_on_as_if_all_its_runs_had_been_counted(
    rule: str, start: str, days: int
) -> None:
    plan, after = Plan(shown(start), "UTC", rule), at("2026-11-01T00:00") + timedelta(days=days)
    try:
        found = runs(plan, after, 5)
    except BadRule:  # only where its hours are never those of this beginning
        with pytest.raises(ValueError, match="Invalid"):
            rrulestr(rule, dtstart=plan.start)
        return
    if len(found) == 5:  # beyond its last run the slow search does not end
        slow = straight(rule, plan.start).xafter(after.replace(tzinfo=None))
        assert found == [local.replace(tzinfo=UTC) for local in islice(slow, 5)]


def test_what_was_long_ago_is_not_looked_through() -> None:
    """A dense rule of ten years ago would hold up every call of the process for seconds."""
    begun = shown("2016-01-01T07:00")
    for rule in ("FREQ=HOURLY;BYMINUTE=0,15,30,45", "FREQ=WEEKLY;INTERVAL=2", "FREQ=YEARLY;BYHOUR=7,8"):
        first = next(_expanded(begun, BERLIN, rule, START, START + HORIZON))
        assert START - timedelta(days=2 * 366) < first < START + timedelta(days=366)


@given(
    local=st.integers(0, 9 * 366 * 1440).map(lambda minutes: START + timedelta(minutes=minutes)),
    zone=ZONES,
)
def test_a_local_time_is_the_first_moment_clocks_show_it_or_the_gap_later(local: datetime, zone: str) -> None:
    moment = utc_of(local, zone)
    face = local_of(moment, zone)
    if face == local:
        assert local_of(moment - timedelta(hours=1), zone) != local, "the second of the two"
        assert local_of(moment - timedelta(minutes=30), zone) != local
    else:
        assert face > local
        assert face - local <= timedelta(hours=24)
        every = (moment + timedelta(minutes=minutes) for minutes in range(-180, 181))
        assert all(local_of(other, zone) != local for other in every), "it is skipped that day"


@pytest.mark.parametrize(
    ("local", "zone", "moment"),
    [
        ("2027-03-14T02:30", NEW_YORK, "2027-03-14T07:30"),  # the gap: 03:30 local
        ("2027-03-14T01:59", NEW_YORK, "2027-03-14T06:59"),
        ("2027-03-14T03:00", NEW_YORK, "2027-03-14T07:00"),
        ("2027-11-07T01:30", NEW_YORK, "2027-11-07T05:30"),  # twice: the first
        ("2027-11-07T02:00", NEW_YORK, "2027-11-07T07:00"),
        ("2027-03-28T02:30", BERLIN, "2027-03-28T01:30"),
        ("2027-10-31T02:30", BERLIN, "2027-10-31T00:30"),
        ("2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-03T15:45"),  # a gap of half an hour
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T22:00"),  # a day that never was
    ],
)
def test_days_on_which_clocks_change(local: str, zone: str, moment: str) -> None:
    assert utc_of(datetime.fromisoformat(local), zone) == at(moment)


def test_a_daily_call_keeps_its_time_of_day_over_both_changes() -> None:
    plan = Plan(shown("2026-11-01T02:30"), NEW_YORK, "FREQ=DAILY")
    spring = runs(plan, at("2027-03-13T00:00"), 3)
    assert texts(spring) == ["2027-03-13T07:30", "2027-03-14T07:30", "2027-03-15T06:30"]
    early = Plan(shown("2026-11-01T01:30"), NEW_YORK, "FREQ=DAILY")
    assert texts(runs(early, at("2027-11-06T12:00"), 2)) == ["2027-11-07T05:30", "2027-11-08T06:30"]


def test_an_hourly_rule_neither_rings_twice_in_a_gap_nor_backwards() -> None:
    plan = Plan(shown("2026-11-01T00:00"), NEW_YORK, "FREQ=HOURLY")
    assert texts(runs(plan, at("2027-03-14T05:30"), 4)) == [
        "2027-03-14T06:00", "2027-03-14T07:00", "2027-03-14T08:00", "2027-03-14T09:00",
    ]  # fmt: skip
    quarters = Plan(shown("2026-11-01T00:00"), NEW_YORK, "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,45")
    found = runs(quarters, at("2027-03-14T00:00"), 8)
    assert texts(found)[:3] == ["2027-03-14T07:00", "2027-03-14T07:45", "2027-03-15T06:00"]


@pytest.mark.parametrize(
    ("rule", "until"),
    [
        ("FREQ=DAILY;UNTIL=20261105", 4),  # all of that day
        ("FREQ=DAILY;UNTIL=20261105T073000", 4),  # local
        ("FREQ=DAILY;UNTIL=20261105T072900", 3),
        ("FREQ=DAILY;UNTIL=20261105T123000Z", 4),  # 07:30 in New York
        ("FREQ=DAILY;UNTIL=20261105T122900Z", 3),
        ("FREQ=DAILY;COUNT=3", 3),
        ("rrule:freq=daily;count=3;", 3),
    ],
)
def test_how_a_rule_ends(rule: str, until: int) -> None:
    assert len(runs(Plan(START, NEW_YORK, rule), at("2026-11-01T00:00"), 10)) == until


def test_skips_leave_out_a_day_or_a_time_and_do_not_lengthen_a_count() -> None:
    rule = "FREQ=DAILY;BYHOUR=7,19;BYMINUTE=0;COUNT=6"
    found = runs(
        Plan(START.replace(minute=0), "UTC", rule, ("2026-11-03", "2026-11-04T07:00")),
        at("2026-11-01T00:00"),
        9,
    )
    assert texts(found) == ["2026-11-02T07:00", "2026-11-02T19:00", "2026-11-04T19:00"]
    assert skip_of("2026-12-25T07:00:00") == "2026-12-25T07:00"
    for wrong in ("2026-13-01", "2026-12-25T07:00+01:00", "tomorrow?!"):
        with pytest.raises(ValueError, match=r".+"):
            skip_of(wrong)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", "no RFC 5545 rule"),
        ("every day", "no RFC 5545 rule"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ twice"),
        ("INTERVAL=2", "needs FREQ"),
        ("FREQ=SECONDLY", "needs FREQ"),
        ("FREQ=MINUTELY;INTERVAL=30", "BYMINUTE"),
        ("FREQ=DAILY;BYSECOND=1", "BYSECOND"),
        ("FREQ=DAILY;BYEASTER=0", "BYEASTER"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=DAILY;COUNT=99999", "COUNT"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "not by both"),
        ("FREQ=DAILY;UNTIL=tomorrow", "no RFC 5545 rule|UNTIL"),
        ("FREQ=DAILY;UNTIL=20271341", "UNTIL"),
        ("FREQ=HOURLY;INTERVAL=24;BYHOUR=3", "does not make sense"),
        ("DTSTART:20261101T070000\nRRULE:FREQ=DAILY", "rule alone"),
        ("FREQ=DAILY;BYMONTHDAY=" + ",".join(["1"] * 300), "longer"),
        ("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30", "never comes due"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "never comes due"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=9", "never comes due"),
        ("FREQ=HOURLY;INTERVAL=168;BYDAY=WE", "never comes due"),
        ("FREQ=DAILY;UNTIL=20261101", "no run left"),
        ("FREQ=HOURLY;BYMINUTE=0,10", "every 15 minutes"),
        ("FREQ=DAILY;BYHOUR=0,23;BYMINUTE=0,50", "every 15 minutes"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,-1;BYHOUR=0,23;BYMINUTE=5,55", "every 15 minutes"),
    ],
)
def test_rules_that_will_not_do_say_why(rule: str, why: str) -> None:
    with pytest.raises(BadRule, match=why):
        check(Plan(START, NEW_YORK, rule), at("2026-11-01T20:00"), QUARTER)


@given(st.text(alphabet="FREQ=DAILYBWKO;,0123456789-:+MU THSN", max_size=60))
def test_no_text_gives_anything_but_runs_or_a_reason(text: str) -> None:
    with suppress(BadRule):
        check(Plan(START, BERLIN, f"FREQ=DAILY;{text}"), at("2026-11-01T20:00"), QUARTER)


def test_a_rule_just_dense_enough_and_a_single_moment_will_do() -> None:
    check(Plan(START, NEW_YORK, "FREQ=HOURLY;BYMINUTE=0,15,30,45"), at("2026-11-01T20:00"), QUARTER)
    single = Plan(datetime.combine(START.date(), time(9)), BERLIN)
    check(single, at("2026-11-01T20:00"), QUARTER)
    assert texts(runs(single, at("2026-11-01T20:00"), 3)) == ["2026-11-02T08:00"]
    with pytest.raises(BadRule, match="no run left"):
        check(single, at("2026-11-02T08:00"), QUARTER)
    assert list(parts("freq=daily")) == ["FREQ"]
