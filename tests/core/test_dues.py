"""When is what due."""

from dataclasses import replace

import pytest

from pipeline.core.dues import LATE_MARK_MS, Dues
from pipeline.core.events import SpeechHeld, SpeechStarted, SpeechStopped
from pipeline.core.hearing import Hearing
from pipeline.core.money import START, Millis
from pipeline.core.notice import Notice
from pipeline.core.phases import Phase
from pipeline.core.playout import Playout
from pipeline.core.spending import Spending
from pipeline.core.terms import Limits
from pipeline.core.transcript import Transcript
from tests.core.story import minutes_paid, started

LIMITS = Limits()
SINCE = Millis(5_000)


def dues(minutes: int = 2, *, answered: bool = True, greeted: bool = True) -> Dues:
    start = started(minutes_paid(minutes), limits=LIMITS)
    spending = Spending(start.prices, start.allowance, start.limits)
    if answered:
        spending.answer(START)
        spending.run(SINCE)
    transcript = Transcript()
    if greeted:
        transcript.agent("Hello.", START, SINCE, interrupted=False)
    return Dues(LIMITS, spending, Notice(spending, 5_000), Hearing(start), Playout(), transcript)


def speak(due: Dues, *, until: int | None = None) -> None:
    due.hearing.voice(SpeechStarted(SINCE, 0), SINCE)
    due.hearing.voice(SpeechHeld(SINCE), SINCE)
    if until is not None:
        due.hearing.voice(SpeechStopped(Millis(until), 0), Millis(until))


def test_each_phase_has_a_patience_of_its_own() -> None:
    due = dues(answered=False)
    assert due.next(Phase.RINGING, SINCE) == SINCE + LIMITS.ring_ms
    assert due.next(Phase.CONNECTING, SINCE) == SINCE + LIMITS.connect_ms
    assert due.next(Phase.HUNG_UP, SINCE) == SINCE + LIMITS.carrier_ms
    assert due.patience(Phase.THINKING, SINCE) == SINCE + LIMITS.thinking_ms
    assert due.next(Phase.ENDED, SINCE) is None


def test_a_paid_second_comes_before_all_that_is_later() -> None:
    """And ringing is not paid, so that nothing wakes the call for it."""
    for phase in (Phase.CONNECTING, Phase.LISTENING, Phase.SPEAKING, Phase.MACHINE, Phase.CLOSING):
        assert dues().next(phase, SINCE) == 6_000
    assert dues().next(Phase.HUNG_UP, SINCE) == SINCE + LIMITS.carrier_ms


@pytest.mark.parametrize(
    ("phase", "at"),
    [(Phase.LISTENING, 500), (Phase.INTERRUPTED, 600), (Phase.THINKING, 700), (Phase.SPEAKING, 400)],
)
def test_whoever_has_the_floor_loses_it_in_time(phase: Phase, at: int) -> None:
    limits = Limits(lost_mark_ms=400, idle_prompt_ms=500, end_of_turn_ms=600, thinking_ms=700)
    assert replace(dues(), limits=limits).next(phase, START) == at


def test_a_goodbye_leaves_room_before_the_cutoff_for_whoever_was_greeted() -> None:
    assert dues().spending.cutoff == 120_000
    assert dues().goodbye == 120_000 - LIMITS.goodbye_ms
    assert dues(greeted=False).goodbye == 120_000
    assert dues(answered=False).goodbye is None


def test_a_goodbye_under_way_ends_in_time_and_never_before_it_began() -> None:
    due = dues()
    assert due.closed_by(SINCE) == SINCE + LIMITS.drain_ms
    assert due.closed_by(Millis(118_000)) == 120_000
    assert due.closed_by(Millis(121_000)) == 121_000
    assert dues(answered=False).closed_by(SINCE) == SINCE


def test_a_long_goodbye_is_heard_to_its_end_where_there_is_money() -> None:
    due = dues()
    due.playout.say(1, "A long message.")
    due.playout.queued(1, 2, 13_000, SINCE)
    assert due.closed_by(SINCE) == due.playout.due + LATE_MARK_MS
    assert due.closed_by(Millis(108_000)) == 108_000 + LIMITS.drain_ms
    due.playout.queued(1, 3, 110_000, SINCE)
    assert due.closed_by(SINCE) == 120_000 - (LIMITS.goodbye_ms - LIMITS.drain_ms)


def test_a_silence_ends_the_turn_and_without_one_it_is_idle() -> None:
    due = dues()
    assert (due.turn, due.idle(SINCE)) == (None, SINCE + LIMITS.idle_prompt_ms)
    speak(due)
    assert (due.turn, due.idle(SINCE)) == (None, None)
    due.hearing.voice(SpeechStopped(Millis(7_000), 0), Millis(7_000))
    due.hearing.turn.segment("Hello?", Millis(7_100))
    assert due.turn == 7_000 + LIMITS.end_of_turn_ms
    assert due.idle(SINCE) == 7_000 + LIMITS.idle_prompt_ms


def test_a_transcriber_that_ends_turns_is_not_hurried_but_for_words_of_another() -> None:
    due = dues()
    speak(due, until=7_000)
    due.hearing.ends_turns = True
    assert due.turn is None
    due.hearing.turn.segment("Hello?", Millis(7_100))
    assert due.turn == 7_000 + LIMITS.end_of_turn_ms


def test_nobody_is_prompted_while_a_screener_asks() -> None:
    due = dues()
    due.hearing.screened = Millis(4_000)
    assert due.idle(SINCE) == 4_000 + LIMITS.screening_ms


def test_a_noise_is_one_when_no_words_come_of_it() -> None:
    due = dues()
    assert due.noise(SINCE) == SINCE + LIMITS.end_of_turn_ms
    speak(due)
    assert due.noise(SINCE) is None
    due.hearing.voice(SpeechStopped(Millis(7_000), 0), Millis(7_000))
    assert due.noise(SINCE) == 7_000 + LIMITS.thinking_ms  # its text is on the way


def test_a_message_waits_for_quiet_but_not_for_ever() -> None:
    due = dues()
    assert due.message(SINCE) == SINCE + LIMITS.machine_quiet_ms
    speak(due)
    assert due.message(SINCE) == SINCE + LIMITS.beep_ms
    due.hearing.voice(SpeechStopped(Millis(24_000), 0), Millis(24_000))
    assert due.message(SINCE) == SINCE + LIMITS.beep_ms


def test_marks_are_lost_a_while_after_they_should_have_come() -> None:
    due = dues()
    due.playout.say(1, "Hello.")
    due.playout.moved = SINCE
    due.playout.queued(1, 1, 400, SINCE)
    assert due.marks_lost == SINCE + 400 + LIMITS.lost_mark_ms
