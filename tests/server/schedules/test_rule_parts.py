"""Rules that RFC 5545 knows no meaning for are refused with what to write instead, not rung by some other meaning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.schedules.recurrence import Plan, check, runs
from server.schedules.rule_parts import DAYS, FREQUENCIES, BadRule, parts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MONDAY = datetime.fromisoformat("2026-11-23T09:30")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY out of its range: 1 to 31, or -1 to -31"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY out of its range"),
        ("FREQ=YEARLY;BYMONTHDAY=0,5", "BYMONTHDAY out of its range"),
        ("FREQ=YEARLY;BYWEEKNO=0", "BYWEEKNO out of its range"),
        ("FREQ=YEARLY;BYWEEKNO=54", "BYWEEKNO out of its range"),
        ("FREQ=YEARLY;BYYEARDAY=367", "BYYEARDAY out of its range"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", "BYSETPOS out of its range"),
        ("FREQ=DAILY;BYMONTH=0", "BYMONTH out of its range: 1 to 12"),
        ("FREQ=DAILY;BYMONTH=13", "BYMONTH out of its range"),
        ("FREQ=DAILY;BYMONTH=-1", "BYMONTH out of its range"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR out of its range: 0 to 23"),
        ("FREQ=DAILY;BYHOUR=+7", "BYHOUR out of its range"),
        ("FREQ=HOURLY;BYMINUTE=60", "BYMINUTE out of its range: 0 to 59"),
        ("FREQ=DAILY;BYDAY=MO,", "BYDAY that is no day"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY that is no day"),
        ("FREQ=WEEKLY;WKST=XX", "WKST that is no day"),
        ("FREQ=MONTHLY;BYDAY=0MO", "number out of its range: 1 to 5, or -1 to -5, of a month"),
        ("FREQ=MONTHLY;BYDAY=6MO", "number out of its range"),
        ("FREQ=YEARLY;BYMONTH=3;BYDAY=6MO", "number out of its range: 1 to 5"),
        ("FREQ=YEARLY;BYDAY=54MO", "number out of its range: 1 to 53, or -1 to -53, of a year"),
        ("FREQ=WEEKLY;BYDAY=1MO", "FREQ=WEEKLY: use FREQ=MONTHLY, or leave out the number"),
        ("FREQ=DAILY;BYDAY=2TU", "FREQ=DAILY: use FREQ=MONTHLY"),
        ("FREQ=HOURLY;BYDAY=-1FR", "FREQ=HOURLY: use FREQ=MONTHLY"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO", "beside BYWEEKNO: leave out the number"),
        ("FREQ=MONTHLY;BYWEEKNO=2", "BYWEEKNO, which means nothing with FREQ=MONTHLY: use FREQ=YEARLY"),
        ("FREQ=DAILY;BYWEEKNO=2", "BYWEEKNO, which means nothing with FREQ=DAILY"),
        ("FREQ=MONTHLY;BYYEARDAY=100", "BYYEARDAY, which means nothing with FREQ=MONTHLY: use FREQ=YEARLY"),
        ("FREQ=WEEKLY;BYMONTHDAY=13", "BYMONTHDAY, which means nothing with FREQ=WEEKLY: use FREQ=MONTHLY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS but nothing to choose from"),
    ],
)
def test_what_has_no_meaning_is_refused_with_what_to_do(rule: str, why: str) -> None:
    with pytest.raises(BadRule) as refused:
        parts(rule)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=-31,31;BYHOUR=9", ["12-01", "12-31", "01-01", "01-31"]),
        ("FREQ=YEARLY;BYDAY=53FR,1MO", ["01-04", "12-31", "01-03", "01-01"]),
        ("FREQ=HOURLY;BYYEARDAY=-1;BYHOUR=9", ["12-31"] * 4),
        ("FREQ=DAILY;BYMONTHDAY=13;BYDAY=FR", ["08-13", "10-13", "04-13", "07-13"]),
        # On the weekday of its beginning, not on all seven of the week.
        ("FREQ=YEARLY;BYWEEKNO=20", ["05-17", "05-15", "05-14", "05-13"]),
        ("FREQ=YEARLY;BYWEEKNO=-1;BYDAY=SU", ["01-03", "01-02", "12-31", "12-30"]),
    ],
)
def test_what_has_one_rings_by_it(rule: str, days: list[str]) -> None:
    plan = Plan(MONDAY, "UTC", rule)
    check(plan, NOW, timedelta(minutes=15))
    assert [run.strftime("%m-%d") for run in runs(plan, NOW, 4)] == days


def _days(number: int) -> st.SearchStrategy[str]:
    return st.builds(lambda n, day: f"{n or ''}{day}", st.integers(-number, number), st.sampled_from(DAYS))


@given(
    st.sampled_from(FREQUENCIES),
    st.dictionaries(
        st.sampled_from(("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS", "BYMONTH", "BYHOUR")),
        st.integers(-400, 400).map(str),
        max_size=3,
    ),
    st.none() | _days(60),
)
def test_all_that_is_let_through_holds_at_each_run(
    frequency: str, by: dict[str, str], day: str | None
) -> None:
    """What the rule names is what the run's own date says, so a part is never dropped."""
    chosen = {"FREQ": frequency, **by, **({} if day is None else {"BYDAY": day})}
    rule = ";".join(f"{name}={value}" for name, value in chosen.items())
    try:
        found = runs(Plan(MONDAY, "UTC", rule), NOW, 3)
    except BadRule:
        return
    for run in found:
        last = (run.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        shown = {
            "BYMONTHDAY": {run.day, run.day - last.day - 1},
            "BYYEARDAY": {run.timetuple().tm_yday, (run - run.replace(run.year + 1, 1, 1)).days},
            "BYMONTH": {run.month},
            "BYHOUR": {run.hour},
        }
        assert all(int(by[name]) in values for name, values in shown.items() if name in by)
        assert day is None or DAYS[run.weekday()] == day[-2:]
