"""Money inside the call: the warning, the goodbye and the cut, at the demo's prices."""

from dataclasses import replace

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Call, Phase
from pipeline.core.events import CallStarted
from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import cost
from pipeline.core.terms import EndReason, Limits, TimeLeft
from tests.core.story import (
    AMD,
    ANSWERED,
    CARRIER,
    LLM_IN,
    LLM_OUT,
    MINUTE,
    PHRASES,
    PRICES,
    STREAM,
    STT,
    TTS,
    Story,
    minutes_paid,
    started,
)

QUIET = Limits(idle_prompt_ms=10_000_000)
"""Nobody is asked whether they are still there."""

GOODBYE_MS = 60 * len(PHRASES.out_of_time)


def quiet(allowed: Nanos, **changes: Nanos | int | EndReason) -> Story:
    return Story(started(allowed, limits=QUIET, **changes)).answer()  # type: ignore[arg-type]


def change(story: Story, allowed: int, at: int) -> Story:
    story.run(to=ANSWERED + at)
    story.post(lambda now: ev.AllowanceChanged(now, Nanos(allowed), Nanos(allowed), EndReason.CREDIT, None))
    return story.run()


@pytest.mark.parametrize(("minutes", "warned", "goodbye"), [(1, 20, 48), (2, 60, 108), (3, 120, 168)])
def test_warning_goodbye_and_hang_up_by_the_minutes_that_are_paid(
    minutes: int, warned: int, goodbye: int
) -> None:
    story = quiet(minutes_paid(minutes), binds=EndReason.BUDGET)
    end = story.end()
    assert story.times(fx.Warned) == [warned * 1_000]
    assert story.all(fx.Warned)[0].cutoff == ANSWERED + minutes * 60_000
    assert story.when_said(PHRASES.out_of_time) == goodbye * 1_000
    assert story.times(fx.HangUp) == [goodbye * 1_000 + GOODBYE_MS]
    assert end.reason is EndReason.BUDGET
    assert story.charged(CARRIER) == minutes * 14_000_000
    assert story.heard()[-2:] == [f"a: {PHRASES.warning}", f"a: {PHRASES.out_of_time}"]
    assert [turn.interrupted for turn in story.all(fx.TurnTaken)] == [False] * 3


def test_a_goodbye_whose_marks_never_come_is_cut_while_the_carrier_still_has_time() -> None:
    """At the cutoff itself it would be too late: the hang-up takes a moment, and a started minute is billed."""
    story = quiet(minutes_paid(2))
    story.run(to=ANSWERED + 100_000)
    story.marks_come = False
    end = story.end()
    assert story.times(fx.HangUp) == [116_000]
    assert end.total <= minutes_paid(2)
    assert story.charged(CARRIER) == 28_000_000


def test_a_conversation_is_warned_and_cut_on_time_too() -> None:
    story = Story(started(minutes_paid(2, slack=17_000_000))).answer().hear_out()
    for second in range(6, 106, 7):
        story.reply("Well, that is nice to hear. ", "Tell me more!")
        story.say("Something or other happened.", at=second * 1_000)
    end = story.end()
    assert 60_000 <= story.times(fx.Warned)[0] <= 65_000
    assert story.when_said(PHRASES.out_of_time) == 108_000
    assert story.times(fx.HangUp)[0] < 120_000
    assert len(story.all(fx.AskReply)) > 10
    assert end.total <= minutes_paid(2, slack=17_000_000)
    assert story.charged(CARRIER) == 28_000_000


def test_the_third_minute_is_bought_when_money_is_there() -> None:
    story = quiet(minutes_paid(3)).run(to=ANSWERED + 120_000)
    lumps = [(c.from_qty, c.to_qty, c.second) for c in story.all(fx.Charge) if c.line == CARRIER.line]
    assert lumps == [(0, 60, 0), (60, 120, 60), (120, 180, 120)]


def test_the_cutoff_stands_still_between_two_minutes() -> None:
    """A linear carrier price would pull it nearer every second."""
    story = quiet(minutes_paid(2)).hear_out()
    cutoffs = set()
    for second in range(5, 119):
        story.run(to=ANSWERED + second * 1_000)
        cutoffs.add(story.call.spending.cutoff)
        if second == 107:
            break
    assert cutoffs == {ANSWERED + 120_000}


def test_after_the_warning_nothing_is_bought_that_brings_the_cutoff_nearer() -> None:
    story = quiet(minutes_paid(2, slack=1_000_000)).hear_out()
    story.say("One more long question, if I may?", at=62_000).run(6_000)
    assert story.all(fx.AskReply) == []
    assert story.said()[-1] == PHRASES.out_of_time
    assert story.end().total <= minutes_paid(2)


def test_what_can_be_afforded_after_the_warning_is_still_answered() -> None:
    story = quiet(minutes_paid(2)).hear_out()
    story.reply("Of course. ").say("One more long question, if I may?", at=66_000).run(6_000)
    assert "Of course." in story.said()
    assert story.call.spending.cutoff == ANSWERED + 120_000
    assert story.end().reason is EndReason.CREDIT


def test_the_first_reply_that_cannot_be_afforded_becomes_the_warning_and_the_next_one_the_goodbye() -> None:
    """The goodbye used to follow at once, and nothing was heard of the warning."""
    poor = minutes_paid(1, slack=200_000)
    story = quiet(poor).hear_out()
    story.say("Tell me something.", at=15_000).run(6_000)
    assert story.heard()[-1] == f"a: {PHRASES.short}"
    story.say("What do you mean?", at=25_000).run(3_000)
    assert story.said()[-2:] == [PHRASES.short, PHRASES.out_of_time]
    assert story.all(fx.AskReply) == []
    assert story.end().reason is EndReason.CREDIT


@pytest.mark.parametrize(
    ("ends_turns", "at", "ms"), [(False, 56_000, 9_500), (True, 56_000, 9_500), (True, 59_500, 5_500)]
)
def test_to_what_was_begun_before_the_warning_was_heard_the_warning_is_the_answer(
    ends_turns: bool, at: int, ms: int
) -> None:
    """The goodbye used to cut it in mid-sentence, or to follow at once, with a minute left that was paid for."""
    start = started(minutes_paid(2, slack=1_000_000), limits=QUIET, transcriber_ends_turns=ends_turns)
    story = Story(start).answer().hear_out()
    story.say("One more long question, if I may?", at=at, ms=ms).run(to=ANSWERED + 70_000)
    assert 64_000 < story.times(fx.Warned)[0] <= 65_000
    assert story.said()[-1] == PHRASES.warning
    assert f"a: {PHRASES.warning}" in story.heard()
    assert "c: One more long question, if I may?" in story.heard()
    assert not any(turn.interrupted for turn in story.all(fx.TurnTaken))
    story.say("And now?", at=72_000).run(3_000)
    assert story.said()[-2:] == [PHRASES.warning, PHRASES.out_of_time]


def test_the_warning_itself_may_make_room_for_the_reply() -> None:
    """Too late for a purchase that must leave time for a warning; soon enough for one after it."""
    story = quiet(minutes_paid(1)).hear_out()
    story.reply("Of course. ").say("One more question?", at=18_700).run(4_000)
    assert story.said()[-2:] == [PHRASES.warning, "Of course."]
    assert 19_700 < story.times(fx.Warned)[0] <= 20_000 + QUIET.warning_patience_ms


def test_a_top_up_after_the_warning_moves_the_cutoff() -> None:
    story = quiet(minutes_paid(2)).hear_out()
    change(story, minutes_paid(4), 100_000)
    assert story.call.spending.cutoff == ANSWERED + 240_000
    end = story.end()
    assert len(story.times(fx.Warned)) == 1
    assert story.when_said(PHRASES.out_of_time) == 228_000
    assert end.reason is EndReason.CREDIT


def test_a_question_after_a_top_up_is_answered() -> None:
    """It used to end the call, for any purchase that moved even the new cutoff was refused."""
    story = quiet(minutes_paid(2)).hear_out()
    change(story, minutes_paid(4, slack=1_000_000), 80_000)
    story.reply("Of course. ").say("Will you tell me one more story?", at=90_000).run(8_000)
    assert "Of course." in story.said()
    assert PHRASES.out_of_time not in story.said()


def test_a_top_up_before_the_warning_puts_it_off() -> None:
    story = quiet(minutes_paid(2)).hear_out()
    change(story, minutes_paid(4), 50_000)
    story.run(to=ANSWERED + 179_999)
    assert story.times(fx.Warned) == []
    assert story.run(1).times(fx.Warned) == [180_000]


def test_an_allowance_that_shrinks_ends_the_call_sooner() -> None:
    story = quiet(minutes_paid(3)).hear_out()
    change(story, minutes_paid(2), 30_000)
    assert story.end().reason is EndReason.CREDIT
    assert story.when_said(PHRASES.out_of_time) == 108_000


def test_the_percentage_of_the_budget_warns_early() -> None:
    story = quiet(minutes_paid(5), warn_used=Nanos(MINUTE * 2))
    story.end()
    assert story.times(fx.Warned)[0] == 60_000
    assert story.when_said(PHRASES.out_of_time) == 288_000


def test_the_warning_tells_the_time_that_is_left() -> None:
    """One minute that is paid, two of them, and a budget of which a half is used early."""
    timed = (TimeLeft(150_000, "Half is used."), TimeLeft(50_000, "A minute."), TimeLeft(0, "Not much."))

    def warned(start: CallStarted) -> tuple[str, int]:
        story = Story(replace(start, phrases=replace(PHRASES, warnings=timed))).answer()
        story.end()
        [said] = {each.text for each in timed} & {*story.said()}
        return said, story.when_said(said)

    assert warned(started(minutes_paid(1), limits=QUIET)) == ("Not much.", 20_000)
    assert warned(started(minutes_paid(2), limits=QUIET)) == ("A minute.", 60_000)
    half = started(minutes_paid(5), limits=QUIET, warn_used=Nanos(MINUTE * 2))
    assert warned(half) == ("Half is used.", 60_000)


def test_a_budget_used_up_by_the_answer_waits_for_the_greeting_to_warn() -> None:
    story = quiet(minutes_paid(2), warn_used=Nanos(MINUTE * 8 // 10)).hear_out().run().hear_out()
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting, PHRASES.warning]
    assert story.heard() == [f"a: {PHRASES.disclosure} {PHRASES.greeting}", f"a: {PHRASES.warning}"]


def test_the_longest_duration_ends_the_call_without_a_warning_about_money() -> None:
    limits = Limits(max_duration_ms=100_000, idle_prompt_ms=10_000_000)
    story = Story(started(limits=limits)).answer()
    end = story.end()
    assert end.reason is EndReason.MAX_DURATION
    assert story.times(fx.Warned) == []
    assert story.when_said(PHRASES.goodbye) == 88_000


def test_the_warning_waits_a_little_for_the_caller_to_finish() -> None:
    story = quiet(minutes_paid(2)).hear_out()
    story.say("I was only about to say one more thing.", at=59_000, ms=2_500).run(8_000)
    (warned,) = story.times(fx.Warned)
    assert 61_500 < warned < 64_000


def test_the_warning_does_not_wait_for_ever() -> None:
    story = quiet(minutes_paid(2)).hear_out()
    story.say("I could go on and on.", at=59_000, ms=30_000).run(8_000)
    assert story.times(fx.Warned) == [65_000]


def test_cached_phrases_cost_nothing_the_greeting_does_once_somebody_answers() -> None:
    silent = Story(started())
    silent.run(to=60_000)
    assert silent.all(fx.Charge) == []
    story = Story(started()).answer()
    assert story.charged(TTS) == 15_000 * len(PHRASES.greeting)
    end = story.end()
    assert story.said()[2:] == [PHRASES.still_there, PHRASES.still_there, PHRASES.goodbye]
    assert story.charged(TTS) == 15_000 * len(PHRASES.greeting)
    assert end.total == sum(story.charged(price) for price in PRICES)
    assert story.charged(AMD) == 7_500_000


def test_a_reply_is_paid_by_what_was_spoken_and_counted() -> None:
    story = quiet(minutes_paid(3)).hear_out()
    story.reply("Hello you. ", "How are you?", tokens=(100, 0, 9)).say("Hello there.").run(9_000)
    assert story.charged(LLM_IN) == cost(LLM_IN, 100)
    assert story.charged(LLM_OUT) == cost(LLM_OUT, 9)
    assert story.charged(TTS) == cost(TTS, len(PHRASES.greeting) + len("Hello you.How are you?"))
    assert story.call.spending.purse.pending == 0


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (59, 1), (60, 1), (61, 2), (121, 3)])
def test_the_carriers_seconds_above_or_below_our_own(seconds: int, minutes: int) -> None:
    story = quiet(minutes_paid(3))
    story.carrier_seconds = seconds
    story.run(to=ANSWERED + 70_000)
    before = story.call.spending.meter.nano
    end = story.carrier_done().end()
    assert story.charged(CARRIER) == minutes * 14_000_000
    assert story.charged(STREAM) == minutes * 4_000_000
    assert end.total == before + (minutes - 2) * MINUTE
    assert end.seconds == seconds


def test_a_vendors_own_count_is_followed_after_the_answer_only() -> None:
    story = Story(started())
    story.run(to=1_000).post(lambda at: ev.EngineUsed(at, STT.line, 40)).run()
    assert story.all(fx.Charge) == []
    story.answer().run(to=ANSWERED + 5_500)
    story.post(lambda at: ev.EngineUsed(at, STT.line, 8)).run()
    assert story.charged(STT) == cost(STT, 8)
    story.run(to=ANSWERED + 8_500)
    assert story.charged(STT) == cost(STT, 9)


def test_too_little_for_the_first_minute_hangs_up_for_the_money() -> None:
    story = Story(started(Nanos(MINUTE), binds=EndReason.BUDGET))
    story.audit.bounded = False  # admission is the desk's business; the first minute is bought in any case
    story.run(to=ANSWERED).post(ev.Answered)
    assert story.end().reason is EndReason.BUDGET
    assert story.said() == []


def test_a_call_cut_before_its_greeting_was_heard_ends_at_the_cutoff() -> None:
    story = Story(started(minutes_paid(1), limits=QUIET))
    story.marks_come = False
    story.carrier_seconds = 60
    end = story.answer().end()
    assert story.times(fx.Warned) == []
    assert story.times(fx.HangUp) == [60_000]
    assert end.reason is EndReason.CREDIT


def test_a_first_turn_that_comes_when_the_money_is_gone_is_the_goodbye() -> None:
    """No mark came, so nothing was heard of the greeting; with the caller's turn the goodbye is due already."""
    call = Call(start := started(minutes_paid(1)))
    for event in (
        start,
        ev.StreamStarted(Millis(0)),
        ev.SegmentHeard(Millis(0), "What is that thing?"),
        ev.EngineUsed(Millis(0), STT.line, 11),
        ev.AllowanceChanged(Millis(0), Nanos(0), Nanos(0), EndReason.BUDGET, None),
    ):
        call.step(event)
    effects = call.step(ev.Tick(Millis(start.limits.lost_mark_ms)))
    assert [effect.text for effect in effects if isinstance(effect, fx.Say)] == [PHRASES.out_of_time]
    assert not [effect for effect in effects if isinstance(effect, fx.AskReply | fx.Warned)]
    assert call.phase is Phase.CLOSING


def test_sentences_beyond_what_can_be_afforded_are_left_out() -> None:
    limits = Limits(reply_max_chars=30, idle_prompt_ms=10_000_000)
    story = Story(started(minutes_paid(2, slack=1_000_000), limits=limits)).answer().hear_out()
    story.reply("This much is drawn. ", "And this is much too long to say. " * 5)
    story.say("Go on then, please.", at=64_000).run(5_000)
    assert story.said()[-1] == "This much is drawn."
    assert len(story.all(fx.DropReply)) == 1
    assert PHRASES.apology not in story.said()


def test_a_last_sentence_that_cannot_be_afforded_is_no_failure() -> None:
    limits = Limits(reply_max_chars=30, idle_prompt_ms=10_000_000, engine_failures=1)
    story = Story(started(minutes_paid(2, slack=1_000_000), limits=limits)).answer().hear_out()
    story.reply("This much is drawn. ", "And this, being long, " + "is too much " * 9)
    story.say("Go on then, please.", at=64_000).run(5_000)
    assert story.said()[-1] == "This much is drawn."
    assert PHRASES.apology not in story.said()


@pytest.mark.parametrize("end", ["", ". "])
def test_a_reply_of_which_nothing_can_be_afforded_is_the_goodbye(end: str) -> None:
    limits = Limits(reply_max_chars=5, idle_prompt_ms=10_000_000)
    story = Story(started(minutes_paid(2, slack=600_000), limits=limits)).answer().hear_out()
    story.reply("much too long to say " * 9 + end).say("Go on then, please.", at=64_000).run(4_000)
    assert story.said()[-1] == PHRASES.out_of_time
    assert story.end().reason is EndReason.CREDIT


def test_a_warning_by_percentage_announces_a_minute_and_not_the_whole_rest() -> None:
    allowed = minutes_paid(5, slack=500_000)
    story = Story(started(allowed, binds=EndReason.BUDGET, warn_used=Nanos(allowed * 15 // 100)))
    story.answer().run(20_000)
    assert len(story.all(fx.Warned)) == 1
    cutoff = story.call.spending.cutoff
    assert cutoff is not None
    assert cutoff > story.now + 120_000
    story.reply("Of course we can still talk about it.").say("Can we still talk?").run(10_000)
    assert "Of course we can still talk about it." in story.said()
    assert story.call.phase.value == "listening"


def test_a_warning_in_the_place_of_an_answer_is_heard_and_nothing_is_answered_after_it() -> None:
    """So little is left that not even what the warning makes room for can be bought."""
    story = Story(started(minutes_paid(1, slack=0), limits=QUIET, binds=EndReason.BUDGET)).answer().hear_out()
    story.say("Something or other happened.", at=10_000)
    assert story.end().reason is EndReason.BUDGET
    assert story.heard()[-2:] == [f"a: {PHRASES.short}", f"a: {PHRASES.out_of_time}"]
    assert len(story.all(fx.Warned)) == 1
    assert story.when_said(PHRASES.out_of_time) == 48_000
