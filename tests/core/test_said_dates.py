"""Which day is meant."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.said_dates import distance, in_words, meant

THURSDAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("I have an interview on Tuesday", date(2026, 12, 1)),
        ("My exam is this Friday", date(2026, 11, 27)),
        ("Thursday it is", date(2026, 12, 3)),
        ("I went to the doctor on Monday", date(2026, 11, 23)),
        ("I saw her on Thursday", date(2026, 11, 19)),
        ("It was last Tuesday", date(2026, 11, 24)),
        ("The exam is next Friday", date(2026, 12, 4)),
        ("I fly tomorrow", date(2026, 11, 27)),
        ("I moved yesterday", date(2026, 11, 25)),
        ("The party is tonight", THURSDAY),
        ("It is in three days", date(2026, 11, 29)),
        ("We leave in 2 weeks", date(2026, 12, 10)),
        ("She called a week ago", date(2026, 11, 19)),
        ("I live in Lisbon", None),
        ("See you next month", None),
    ],
)
def test_words_are_read_with_the_day_they_were_said_on(text: str, day: date | None) -> None:
    assert meant(text, THURSDAY) == day


def test_without_that_day_no_day_is_meant() -> None:
    assert meant("on Tuesday", None) is None


def test_a_day_beyond_the_calendar_is_none() -> None:
    assert meant("in 999 weeks", date(9999, 12, 31)) is None


@given(st.text(), st.dates())
def test_no_text_breaks_it(text: str, said_on: date) -> None:
    meant(text, said_on)


def test_days_in_words() -> None:
    assert in_words(date(2026, 12, 1)) == "Tuesday 1 December 2026"
    distances = [distance(date(2026, 11, day), THURSDAY) for day in (24, 25, 26, 27, 30)]
    assert distances == ["2 days ago", "yesterday", "today", "tomorrow", "in 4 days"]
