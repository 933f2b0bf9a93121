"""No local day and no local month ever has more taken in it than its limit, however often the zone is changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.money import Nanos
from storage.free import CallMoney, Money, Wishes, free_for
from storage.periods import calendar, near
from storage.records import Budget, BudgetPeriod

DAILY, MONTHLY = 100, 250
ZONES = (
    "America/New_York", "Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata", "Australia/Lord_Howe",
    "Asia/Beirut", "America/Havana", "UTC",
)  # fmt: skip
"""The farthest there are, halves of an hour, and two whose clocks change at midnight."""
BEGINNINGS = (
    datetime(2026, 10, 30, 12, tzinfo=UTC),  # the clocks of New York go back on 1 November
    datetime(2026, 3, 6, 12, tzinfo=UTC),  # and forward on the 8th
    datetime(2026, 3, 27, 12, tzinfo=UTC),  # Berlin's and Beirut's on the 29th
    datetime(2026, 12, 30, tzinfo=UTC),
)
moments = st.lists(
    st.tuples(st.integers(0, 30 * 60), st.sampled_from(ZONES), st.booleans(), st.integers(1, 150)),
    max_size=12,
)
"""Minutes later, the user's zone by then, whether the latest call goes on, and how much is asked for."""


class Account:
    """Balance without end: budgets alone bound it. `taken` is what, when, and by which zone's calendar."""

    def __init__(self, zone: str, now: datetime) -> None:
        self.wishes = Wishes(zone, Budget(daily_nano=Nanos(DAILY), monthly_nano=Nanos(MONTHLY)), now)
        self.calls: dict[str, CallMoney] = {}
        self.periods: dict[str, BudgetPeriod] = {}
        self.taken: list[tuple[datetime, int]] = []

    def take(self, call_id: str, now: datetime, wanted: int) -> tuple[int, str]:
        """How much a call got, by whose calendar. As the ledger does it, with nothing known but what that reads."""
        self.wishes = replace(self.wishes, now=now)
        known = {key: period for key, period in self.periods.items() if key in near(now)}
        money = Money(Nanos(10_000), calls=self.calls, periods=known)
        zone = money.zone(call_id, self.wishes)
        self.calls.setdefault(call_id, CallMoney(timezone=zone))
        free = free_for(money, self.wishes, call_id, None)
        got = min(wanted, free.all)
        if got:
            money.take(free.limits, Nanos(got))
            self.periods |= money.periods
            self.taken.append((now, got))
        return got, zone

    def taken_in(self, zone: str, now: datetime, which: int) -> int:
        """In the local day (0) or month (1) of this moment, by the moments at which it was taken."""
        key = calendar(zone, now)[which]
        return sum(amount for at, amount in self.taken if calendar(zone, at)[which] == key)


@given(st.sampled_from(BEGINNINGS), st.sampled_from(ZONES), moments)
@example(
    BEGINNINGS[0],
    "America/New_York",
    [(0, "America/New_York", False, 100), (60, "Pacific/Kiritimati", False, 100)],
)
@example(BEGINNINGS[0], "Etc/GMT+12", [(0, "Pacific/Kiritimati", False, 100), (10, "Etc/GMT+12", False, 100)])
@example(
    BEGINNINGS[3], "UTC", [(2_880, "Pacific/Kiritimati", False, 100), (10, "Etc/GMT+12", False, 100)] * 2
)
def test_no_day_and_no_month_has_more_than_its_limit(
    begin: datetime, zone: str, steps: list[tuple[int, str, bool, int]]
) -> None:
    account, now, latest = Account(zone, begin), begin, 0
    for minutes, moved, goes_on, wanted in steps:
        now += timedelta(minutes=minutes)
        account.wishes = replace(account.wishes, timezone=moved)
        latest += not goes_on
        got, by = account.take(f"c{latest}", now, wanted)
        if got:
            assert account.taken_in(by, now, 0) <= DAILY
            assert account.taken_in(by, now, 1) <= MONTHLY


@given(st.sampled_from(BEGINNINGS), st.sampled_from(ZONES), st.lists(st.integers(0, 30 * 60), max_size=12))
def test_who_stays_has_the_whole_of_every_day(begin: datetime, zone: str, waits: list[int]) -> None:
    """Days of 23 and 25 hours too: none counts for the one after it."""
    account, now = Account(zone, begin), begin
    for n, minutes in enumerate(waits):
        now += timedelta(minutes=minutes)
        left = min(DAILY - account.taken_in(zone, now, 0), MONTHLY - account.taken_in(zone, now, 1))
        got, _ = account.take(f"c{n}", now, 60)
        assert got == min(60, left)


def test_days_far_enough_from_each_other_share_nothing() -> None:
    account, begin = Account("America/New_York", BEGINNINGS[0]), BEGINNINGS[0]
    assert account.take("one", begin, DAILY)[0] == DAILY
    account.wishes = replace(account.wishes, timezone="Pacific/Kiritimati")
    assert account.take("two", begin + timedelta(hours=1), 1)[0] == 0
    assert account.take("two", begin + timedelta(hours=22), 1)[0] == 1, "two midnights later"
