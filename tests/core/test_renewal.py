"""When more money is asked for, and for how long the answer is waited for."""

from pipeline.core.money import Millis
from pipeline.core.renewal import AGAIN, PATIENCE, Renewal


def test_it_is_asked_for_when_it_is_wanted_once() -> None:
    renewal = Renewal()
    assert renewal.deadline(None) is None
    assert not renewal.due(Millis(99), None)
    assert renewal.deadline(Millis(50)) == 50
    assert not renewal.due(Millis(49), Millis(50))
    assert renewal.due(Millis(50), Millis(50))
    renewal.ask(Millis(50))
    assert not renewal.due(Millis(60), Millis(50))
    assert renewal.deadline(Millis(50)) == 50 + PATIENCE


def test_patience_ends_once() -> None:
    renewal = Renewal()
    assert not renewal.wait(Millis(99_999))
    renewal.ask(Millis(1_000))
    assert not renewal.wait(Millis(1_000 + PATIENCE - 1))
    assert renewal.wait(Millis(1_000 + PATIENCE))
    assert renewal.overdue
    assert not renewal.wait(Millis(1_001 + PATIENCE))
    assert renewal.deadline(Millis(0)) is None


def test_after_an_answer_it_is_asked_again_at_once_or_after_a_while() -> None:
    renewal = Renewal()
    renewal.ask(Millis(0))
    renewal.wait(PATIENCE)
    renewal.answer(Millis(4_000), last=False)
    assert not renewal.overdue
    assert renewal.due(Millis(4_000), Millis(0))
    renewal.answer(Millis(5_000), last=True)
    assert renewal.deadline(Millis(0)) == 5_000 + AGAIN
    assert not renewal.due(Millis(4_999 + AGAIN), Millis(0))
    assert renewal.due(Millis(5_000 + AGAIN), Millis(0))
