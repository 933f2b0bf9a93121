"""When the one warning is spoken, and in which words."""

from dataclasses import replace

import pytest

from pipeline.core.money import START, Millis
from pipeline.core.notice import Notice, words
from pipeline.core.spending import Spending
from pipeline.core.terms import Allowance, EndReason, Limits, TimeLeft
from tests.core.story import PHRASES, PRICES, minutes_paid

DUE = Millis(60_000)


def notice() -> tuple[Notice, Spending]:
    spending = Spending(PRICES, Allowance(minutes_paid(2), minutes_paid(2), EndReason.CREDIT), Limits())
    spending.answer(START)
    assert spending.warning == DUE
    return Notice(spending, 5_000), spending


def test_it_is_due_at_the_warning_when_nobody_has_the_floor() -> None:
    warning, _ = notice()
    assert warning.deadline(greeted=True) == DUE
    assert not warning.due(Millis(DUE - 1), greeted=True, busy=False)
    assert warning.due(DUE, greeted=True, busy=False)


def test_it_waits_for_the_greeting() -> None:
    warning, _ = notice()
    assert warning.deadline(greeted=False) is None
    assert not warning.due(DUE, greeted=False, busy=False)


def test_it_waits_for_who_has_the_floor_but_not_for_long() -> None:
    warning, _ = notice()
    assert not warning.due(DUE, greeted=True, busy=True)
    assert warning.deadline(greeted=True) == DUE + 5_000
    assert not warning.due(Millis(DUE + 4_999), greeted=True, busy=True)
    assert warning.due(Millis(DUE + 5_000), greeted=True, busy=True)


def test_a_floor_that_falls_free_is_taken_at_once() -> None:
    warning, _ = notice()
    assert not warning.due(DUE, greeted=True, busy=True)
    assert warning.due(Millis(DUE + 700), greeted=True, busy=False)


def test_a_top_up_while_it_waits_puts_it_off() -> None:
    warning, spending = notice()
    assert not warning.due(DUE, greeted=True, busy=True)
    spending.change(minutes_paid(3), minutes_paid(3), EndReason.CREDIT, None, Millis(0))
    assert not warning.due(Millis(DUE + 5_000), greeted=True, busy=True)
    assert warning.deadline(greeted=True) == DUE + 60_000


def test_it_is_given_once() -> None:
    warning, _ = notice()
    warning.announced = Millis(120_000)
    assert warning.given
    assert warning.deadline(greeted=True) is None
    assert not warning.due(Millis(119_000), greeted=True, busy=False)


TIMED = replace(
    PHRASES, warnings=(TimeLeft(75_000, "More."), TimeLeft(50_000, "A minute."), TimeLeft(5, "Less."))
)


@pytest.mark.parametrize(
    ("left_ms", "text"),
    [(900_000, "More."), (75_000, "More."), (74_999, "A minute."), (49_999, "Less."), (4, PHRASES.warning)],
)
def test_its_words_fit_the_time_that_is_left(left_ms: int, text: str) -> None:
    assert words(TIMED, left_ms) == text


def test_without_words_for_times_there_is_one_warning() -> None:
    assert words(PHRASES, 900_000) == PHRASES.warning


def test_all_its_words_are_rendered_beforehand_and_once() -> None:
    phrases = replace(TIMED, warnings=(*TIMED.warnings, TimeLeft(0, PHRASES.warning)))
    assert {"More.", "A minute.", "Less.", PHRASES.warning} <= set(phrases.all)
    assert len(set(phrases.all)) == len(phrases.all)
