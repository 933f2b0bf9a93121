"""What is skipped is one run: not the one before it, none after it, on whatever day."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.schedules.planned import skips_of_run
from server.schedules.recurrence import Plan, runs, utc_of

CHANGES = (
    ("America/New_York", "2027-03-14"),
    ("America/New_York", "2026-11-01"),
    ("Europe/Berlin", "2027-03-28"),
    ("Australia/Lord_Howe", "2026-10-04"),  # by half an hour
    ("Asia/Beirut", "2027-03-28"),  # at midnight
    ("Pacific/Apia", "2011-12-30"),  # a whole day that never was
    ("UTC", "2027-03-14"),
)
RULES = (
    "FREQ=HOURLY;BYMINUTE=0,30",
    "FREQ=HOURLY;BYMINUTE=7",
    "FREQ=DAILY",
    "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=15,45",
)


@given(st.sampled_from(CHANGES), st.sampled_from(RULES), st.integers(0, 47), st.integers(0, 60))
def test_skipping_a_run_leaves_out_that_one_alone(
    change: tuple[str, str], rule: str, half_hours: int, which: int
) -> None:
    zone, day = change
    start = datetime.fromisoformat(day) - timedelta(days=2) + half_hours * timedelta(minutes=30)
    plan = Plan(start, zone, rule)
    begin = utc_of(start, zone) - timedelta(days=1)
    found = runs(plan, begin, 100)
    run = found[which]
    skips = skips_of_run(plan, run)
    assert runs(Plan(start, zone, rule, skips), begin, 99) == [each for each in found if each != run]


@pytest.mark.parametrize(
    ("zone", "start", "rule", "run", "skips"),
    [
        ("UTC", "2027-03-14T02:30", "FREQ=DAILY", "2027-03-14T02:30+00:00", ("2027-03-14T02:30",)),
        # Clocks show 03:30 when the run of 02:30 comes due, and that of 03:30 with it.
        ("America/New_York", "2027-03-13T02:30", "FREQ=DAILY", "2027-03-14T07:30+00:00", ("2027-03-14T02:30",)),
        (
            "America/New_York", "2027-03-13T02:30", "FREQ=HOURLY", "2027-03-14T07:30+00:00",
            ("2027-03-14T02:30", "2027-03-14T03:30"),
        ),
        (
            "Pacific/Apia", "2011-12-28T07:00", "FREQ=DAILY", "2011-12-30T17:00+00:00",
            ("2011-12-30T07:00", "2011-12-31T07:00"),
        ),
    ],
)  # fmt: skip
def test_it_is_named_by_the_rules_own_times(
    zone: str, start: str, rule: str, run: str, skips: tuple[str, ...]
) -> None:
    assert skips_of_run(Plan(datetime.fromisoformat(start), zone, rule), datetime.fromisoformat(run)) == skips
