"""Money held in parts: more is asked for in time, and the conversation never hears of it while there is more."""

import itertools

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import Millis, Nanos
from pipeline.core.spending import Spending
from pipeline.core.terms import Allowance, EndReason, Limits
from tests.core.story import ANSWERED, CARRIER, MINUTE, PHRASES, PRICES, Story, minutes_paid, started

QUIET = Limits(idle_prompt_ms=10_000_000)
PART = Nanos(MINUTE + 12_000_000)
"""A minute on the carrier with its listening, and some talk."""
LOW = Nanos(MINUTE + 5_000_000)


def parted(minutes: int, *, held: int = 1, limits: Limits = QUIET, part: Nanos = PART) -> Story:
    """`held` minutes are held, `minutes` can be had in all; the phone is picked up."""
    start = started(
        minutes_paid(held), reach=minutes_paid(minutes), part=part, low=LOW, limits=limits, binds=EndReason.BUDGET
    )  # fmt: skip
    return Story(start).answer()


def test_a_call_in_parts_is_warned_and_cut_as_if_all_of_it_were_held() -> None:
    story, whole = parted(4), Story(started(minutes_paid(4), limits=QUIET, binds=EndReason.BUDGET)).answer()
    assert story.end() == whole.end()
    for effect in (fx.Say, fx.Warned, fx.HangUp, fx.Charge):
        assert story.times(effect) == whole.times(effect)
    assert story.times(fx.Warned) == [180_000]
    assert story.when_said(PHRASES.out_of_time) == 228_000
    assert len(story.all(fx.RenewHold)) >= 3


def test_more_is_asked_for_as_soon_as_somebody_answers_and_not_while_it_rings() -> None:
    start = started(minutes_paid(1), reach=minutes_paid(9), part=PART, low=LOW, limits=QUIET)
    story = Story(start).run(to=2_900)
    assert story.all(fx.RenewHold) == []
    assert story.answer().times(fx.RenewHold)[0] == 0


def test_with_enough_in_hand_it_is_asked_for_35_seconds_ahead_of_the_end_of_it() -> None:
    start = started(minutes_paid(3), reach=minutes_paid(9), part=PART, limits=QUIET)
    story = Story(start).answer().run(170_000)
    assert story.times(fx.RenewHold)[0] == 145_000


def test_a_call_whose_time_is_paid_asks_for_nothing() -> None:
    limits = Limits(max_duration_ms=100_000, idle_prompt_ms=10_000_000)
    start = started(minutes_paid(3), reach=minutes_paid(9), part=PART, limits=limits)
    story = Story(start).answer()
    assert story.end().reason is EndReason.MAX_DURATION
    assert story.all(fx.RenewHold) == []


def test_near_the_longest_duration_only_the_time_to_it_is_asked_for() -> None:
    limits = Limits(max_duration_ms=150_000, idle_prompt_ms=10_000_000)
    start = started(minutes_paid(2), reach=minutes_paid(9), part=PART, limits=limits)
    story = Story(start).answer()
    assert story.end().reason is EndReason.MAX_DURATION
    assert story.times(fx.RenewHold) == [85_000]
    assert story.times(fx.Warned) == []


def test_a_top_up_in_mid_call_lifts_the_end_silently() -> None:
    story = parted(2, part=MINUTE)
    story.run(to=ANSWERED + 50_000)
    story.free = Nanos(story.free + 3 * MINUTE)
    story.run(to=ANSWERED + 110_000)
    assert story.times(fx.Warned) == []
    assert PHRASES.out_of_time not in story.said()
    story.end()
    assert story.charged(CARRIER) > 3 * 14_000_000


def test_a_top_up_after_the_warning_is_found_within_seconds_and_the_call_goes_on() -> None:
    story = parted(2).run(to=ANSWERED + 70_000)
    assert len(story.all(fx.Warned)) == 1
    story.free = Nanos(story.free + 10 * MINUTE)
    story.run(to=ANSWERED + 130_000)
    assert PHRASES.out_of_time not in story.said()
    asked = story.times(fx.RenewHold)
    assert any(70_000 <= at <= 76_000 for at in asked)
    story.end()
    assert len(story.all(fx.Warned)) == 1


def test_what_is_left_is_asked_for_again_every_five_seconds_and_not_oftener() -> None:
    story = parted(2).run(to=ANSWERED + 105_000)
    last = [at for at in story.times(fx.RenewHold) if at > 61_000]
    assert len(last) >= 5
    assert {later - at for at, later in itertools.pairwise(last)} == {5_700}  # the answer takes 0.7 s


def test_without_an_answer_the_call_lives_on_what_it_holds_and_says_goodbye() -> None:
    story = parted(9, held=2)
    story.run(to=ANSWERED + 20_000)
    story.bank_ms = None
    end = story.end()
    assert end.reason is EndReason.ENGINE_FAILURE
    held = story.call.spending.allowance.held
    assert end.total <= held
    (warned,) = story.times(fx.Warned)
    goodbye = story.when_said(PHRASES.trouble)
    assert goodbye - warned >= 20_000
    cutoff = story.call.spending.cutoff
    assert cutoff is not None
    assert goodbye == cutoff - 12_000 - ANSWERED
    assert PHRASES.out_of_time not in story.said()


def test_a_short_absence_of_the_database_is_not_heard() -> None:
    story = parted(9).run(to=ANSWERED + 12_000)
    story.bank_ms = None
    asked = len(story.all(fx.RenewHold))
    while len(story.all(fx.RenewHold)) == asked:
        story.run(100)
    story.run(2_500).bank_returns(0).run(60_000)
    assert story.all(fx.Warned) == []


def test_an_answer_that_comes_late_lets_the_call_go_on() -> None:
    story = parted(9, held=2).run(to=ANSWERED + 20_000)
    story.bank_ms = None
    while not story.all(fx.Warned):
        story.run(500)
    story.bank_returns().run(60_000)
    assert PHRASES.trouble not in story.said()
    assert story.end().reason is EndReason.BUDGET


def test_a_minute_that_is_not_held_yet_is_bought_when_it_is() -> None:
    """The carrier has begun it meanwhile; until it is bought the margin covers it."""
    spending = Spending(
        PRICES, Allowance(minutes_paid(1), minutes_paid(9), EndReason.CREDIT, part=PART), Limits()
    )
    spending.answer(Millis(0))
    spending.run(Millis(59_999))
    assert spending.run(Millis(61_000)) == []
    cutoff = spending.cutoff
    assert cutoff is not None
    assert spending.next_second == cutoff > 61_000
    spending.change(minutes_paid(3), minutes_paid(9), EndReason.CREDIT, None, Millis(62_000))
    assert CARRIER.line in [charge.line for charge in spending.run(Millis(62_000))]
    assert spending.next_second == 63_000


def test_a_purchase_beyond_what_is_held_is_not_made_however_much_could_be_had() -> None:
    story = parted(9)
    spending = story.call.spending
    story.bank_ms = None
    story.run(8_000)
    assert not spending.authorise("x", Nanos(spending.held_rest + 1), story.now, announced=None)
    assert not spending.authorise("x", Nanos(spending.held_rest), story.now, announced=None)
    assert spending.authorise("x", Nanos(100_000), story.now, announced=None)


def test_money_that_falls_away_meanwhile_is_the_end_of_the_call() -> None:
    """Another call of the account was faster: the next answer says so."""
    story = parted(9).run(to=ANSWERED + 10_000)
    story.free = Nanos(0)
    end = story.end()
    assert end.reason is EndReason.BUDGET
    assert len(story.all(fx.Warned)) == 1
    assert story.said()[-1] == PHRASES.out_of_time
    assert end.total <= story.call.spending.allowance.held


def test_an_answer_that_comes_before_anybody_picked_up_or_after_the_end_buys_nothing() -> None:
    story = Story(started(minutes_paid(1), reach=minutes_paid(9), part=PART, low=LOW, limits=QUIET))
    for at in (1_000, ANSWERED + 40_000):
        story.run(to=at)
        if at > ANSWERED:
            story.carrier_speaks = False
            story.post(lambda at: ev.HangUpAsked(at, EndReason.USER_HUNG_UP)).run()
        bought = story.call.spending.meter.nano
        story.post(
            lambda at: ev.AllowanceChanged(at, minutes_paid(5), minutes_paid(9), EndReason.CREDIT, None)
        ).run()
        assert story.call.spending.meter.nano == bought
        if at < ANSWERED:
            story.answer()
