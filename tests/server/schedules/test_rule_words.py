"""Schedules in words."""

from __future__ import annotations

from datetime import datetime

import pytest

from server.schedules.recurrence import Plan
from server.schedules.rule_parts import BadRule
from server.schedules.rule_words import describe, listed

SUNDAY = datetime.fromisoformat("2026-11-01T07:00")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (None, "once, on Sunday 1 November 2026 at 07:00 Europe/Berlin"),
        ("FREQ=DAILY", "every day at 07:00 Europe/Berlin"),
        ("FREQ=DAILY;INTERVAL=3", "every 3 days at 07:00 Europe/Berlin"),
        ("FREQ=WEEKLY;BYDAY=TU,MO,WE,FR,TH", "every weekday at 07:00 Europe/Berlin"),
        ("FREQ=DAILY;BYDAY=SU,SA;BYHOUR=18,9", "every Saturday and Sunday at 09:00 and 18:00 Europe/Berlin"),
        ("FREQ=WEEKLY", "every Sunday at 07:00 Europe/Berlin"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;UNTIL=20271231",
            "every 2 weeks on Monday at 07:00 Europe/Berlin, until 31 December 2027",
        ),
        ("FREQ=MONTHLY;BYDAY=1MO;COUNT=3", "every month on the first Monday at 07:00 Europe/Berlin, 3 times"),
        ("FREQ=MONTHLY;BYDAY=FR;COUNT=1", "every month on each Friday at 07:00 Europe/Berlin, once"),
        ("FREQ=MONTHLY;BYMONTHDAY=15,-1", "every month on day 15 and the last day at 07:00 Europe/Berlin"),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "every month on the last weekday at 07:00 Europe/Berlin",
        ),
        ("FREQ=MONTHLY", "every month on day 1 at 07:00 Europe/Berlin"),
        ("FREQ=YEARLY", "every year on 1 November at 07:00 Europe/Berlin"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "every year on 29 February at 07:00 Europe/Berlin"),
        ("FREQ=HOURLY;INTERVAL=2", "every 2 hours at :00 Europe/Berlin"),
        ("FREQ=DAILY;BYMONTH=7,8", "every day in July and August at 07:00 Europe/Berlin"),
        ("FREQ=YEARLY;BYWEEKNO=20", "by the rule FREQ=YEARLY;BYWEEKNO=20, Europe/Berlin time"),
        ("FREQ=MONTHLY;BYMONTHDAY=-3", "by the rule FREQ=MONTHLY;BYMONTHDAY=-3, Europe/Berlin time"),
        (
            "FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=13",
            "by the rule FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=13, Europe/Berlin time",
        ),
        (
            "FREQ=HOURLY;BYHOUR=9,10,11,12;BYMINUTE=0,30",
            "every hour at 8 times between 09:00 and 12:30 Europe/Berlin",
        ),
    ],
)
def test_in_words(rule: str | None, words: str) -> None:
    assert describe(Plan(SUNDAY, "Europe/Berlin", rule)) == words


def test_what_is_skipped_is_named_and_no_rule_is_no_words() -> None:
    plan = Plan(SUNDAY, "UTC", "FREQ=DAILY", ("2026-12-25", "2026-12-26T07:00"))
    assert describe(plan).endswith(", except Friday 25 December 2026 and Saturday 26 December 2026 at 07:00")
    assert listed(["a", "b", "c"]) == "a, b and c"
    with pytest.raises(BadRule):
        describe(Plan(SUNDAY, "UTC", "often"))


def test_many_skips_are_only_counted() -> None:
    skips = tuple(f"2026-12-{day:02d}" for day in range(1, 6))
    plan = Plan(SUNDAY, "UTC", "FREQ=DAILY", skips)
    assert describe(plan).endswith(", except 5 runs that are left out")
