"""Machines that answer: voicemail with its beep, full mailboxes, fax, and assistants that screen calls."""

from dataclasses import replace

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason, Limits, Manners
from tests.core.story import (
    ANSWERED,
    CARRIER,
    ENDED_BY_SILENCE,
    PHRASES,
    PLENTY,
    Story,
    minutes_paid,
    started,
)

pytestmark = pytest.mark.usefixtures("ends_turns")

GREETING = "Hi, you've reached Ann. Please leave a message after the tone."
FULL = "The mailbox is full and cannot accept any messages at this time."
SCREENER = "Please say your name and why you are calling."


def story_of(
    *,
    hang_up: bool = False,
    ends_turns: bool | None = None,
    eager: bool = False,
    allowed: Nanos = PLENTY,
    limits: Limits | None = None,
) -> Story:
    """Picked up, and the disclosure has begun."""
    manners = Manners(eager=eager, voicemail="hang_up" if hang_up else "message")
    start = started(allowed, transcriber_ends_turns=ends_turns, manners=manners, limits=limits)
    return Story(start).answer().run(500)


def verdict(story: Story, kind: str) -> Story:
    return story.post(lambda at: ev.MachineDetected(at, kind)).run()


def beep(story: Story) -> Story:
    return story.post(ev.BeepHeard).run()


# -- by the carrier's verdict ----------------------------------------------------------


def test_a_machine_that_begins_to_speak_is_listened_to_until_it_beeps() -> None:
    story = verdict(story_of(), "machine_start")
    assert story.phase() is Phase.MACHINE
    assert len(story.all(fx.Hush)) == len(story.all(fx.ListenForBeep)) == 1
    story.voice(5_000).run(5_400)
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    beeped = story.now - ANSWERED
    end = beep(story).end()
    assert story.when_said(PHRASES.voicemail) == beeped
    assert story.heard()[-1] == f"a: {PHRASES.voicemail}"
    assert story.times(fx.HangUp) == [beeped + 60 * len(PHRASES.voicemail)]
    assert end.reason is EndReason.VOICEMAIL


def test_a_long_message_is_left_whole() -> None:
    message = "Nora here. " * 15
    start = replace(started(), phrases=replace(PHRASES, voicemail=message))
    assert 60 * len(message) > start.limits.drain_ms
    story = verdict(Story(start).answer().run(500), "machine_end_beep")
    end = story.end()
    assert story.heard()[-1] == f"a: {message.strip()}"
    assert end.reason is EndReason.VOICEMAIL


@pytest.mark.parametrize("kind", ["machine_end_beep", "machine_end_silence", "machine_end_other"])
def test_a_machine_that_already_records_gets_the_message_at_once(kind: str) -> None:
    story = verdict(story_of(), kind)
    assert story.said()[-1] == PHRASES.voicemail
    assert story.end().reason is EndReason.VOICEMAIL
    assert story.all(fx.ListenForBeep) == []


def test_both_verdicts_of_one_machine_leave_one_message() -> None:
    story = beep(verdict(verdict(story_of(), "machine_start").run(500), "machine_end_beep").run(100))
    story.end()
    assert story.said().count(PHRASES.voicemail) == 1


def test_a_beep_that_nobody_hears_is_waited_for_until_the_machine_has_been_quiet() -> None:
    story = verdict(story_of(), "machine_start").say("", ms=4_000)
    quiet = story.now + 4_000 - ANSWERED
    story.end()
    assert story.when_said(PHRASES.voicemail) == quiet + 2_500


def test_a_machine_that_never_says_anything_gets_its_message_too() -> None:
    story = verdict(story_of(), "machine_start")
    begun = story.now - ANSWERED
    story.end()
    assert story.when_said(PHRASES.voicemail) == begun + 2_500


def test_a_machine_that_talks_on_and_on_is_not_listened_to_for_ever() -> None:
    story = verdict(story_of(), "machine_start").voice(60_000)
    begun = story.now - ANSWERED
    story.end()
    assert story.when_said(PHRASES.voicemail) == begun + 20_000


def test_a_person_taken_for_a_machine_is_talked_to() -> None:
    story = verdict(story_of(), "machine_start").say("Hello? Who is there?", ms=900).run(1_400)
    verdict(story.reply("It is Nora."), "human").run(4_000)
    assert story.heard()[-2:] == ["c: Hello? Who is there?", "a: It is Nora."]


def test_a_tone_that_is_heard_of_when_no_machine_is_waited_for_changes_nothing() -> None:
    story = beep(verdict(verdict(story_of(), "machine_start"), "human").run(400))
    assert PHRASES.voicemail not in story.said()
    story.reply("Hello, Ann.").say("Hello?", ms=900).run(4_000)
    assert "a: Hello, Ann." in story.heard()


def test_what_else_the_carrier_thinks_of_a_person_changes_nothing() -> None:
    story = story_of()
    for kind in ("human", "unknown", "sit_tone"):
        verdict(story, kind)
    assert story.phase() is Phase.SPEAKING
    assert story.all(fx.Hush) == []


def test_a_fax_is_left_whatever_goes_on() -> None:
    story = verdict(verdict(story_of(), "machine_start"), "fax")
    assert story.end().reason is EndReason.FAX
    assert PHRASES.voicemail not in story.said()


@pytest.mark.parametrize("kind", ["machine_start", "machine_end_beep"])
def test_where_no_message_is_wanted_it_is_hung_up(kind: str) -> None:
    story = verdict(story_of(hang_up=True), kind)
    end = story.end()
    assert end.reason is EndReason.VOICEMAIL
    assert PHRASES.voicemail not in story.said()
    assert story.charged(CARRIER) == 14_000_000


def test_the_verdict_may_come_after_the_hang_up() -> None:
    story = story_of().post(lambda at: ev.HangUpAsked(at, EndReason.USER_HUNG_UP)).run()
    assert verdict(story, "machine_end_beep").end().reason is EndReason.USER_HUNG_UP


def test_a_goodbye_is_not_cut_by_a_verdict() -> None:
    story = story_of().post(lambda at: ev.HangUpAsked(at, EndReason.DRAINED)).run(100)
    verdict(verdict(story, "machine_start"), "machine_end_beep")
    assert story.end().reason is EndReason.DRAINED
    assert story.heard()[-1] == f"a: {PHRASES.goodbye}"


# -- a verdict that comes late ---------------------------------------------------------


def talk(story: Story, *turns: str, heard_out: bool = True) -> Story:
    """So many turns, each answered; unless they are heard out, the next one comes over the answer."""
    for said in turns:
        story.reply("That is a rather long answer to it.").say(said, ms=900)
        story.run(6_000 if heard_out else 2_700)
    return story


@pytest.mark.parametrize("kind", ["machine_start", "machine_end_beep", "machine_end_other", "fax"])
def test_nobody_who_was_answered_twice_is_taken_for_a_machine(kind: str) -> None:
    story = talk(story_of().hear_out(), "What is new?", "And how is the cat?")
    verdict(story, kind)
    assert story.phase() is Phase.LISTENING
    assert talk(story, "Tell me more.").heard()[-2:] == [
        "c: Tell me more.",
        "a: That is a rather long answer to it.",
    ]
    assert [*story.all(fx.ListenForBeep), *story.all(fx.HangUp)] == []


def test_a_socket_that_breaks_meanwhile_makes_no_machine_of_a_person() -> None:
    story = talk(story_of().hear_out(), "What is new?", "And how is the cat?").post(ev.LineBroken).run()
    verdict(story, "machine_end_beep").post(ev.StreamStarted).run(2_000)
    assert PHRASES.dropped in story.said()
    assert story.phase() is not Phase.HUNG_UP


def test_after_one_answer_it_may_still_be_a_machine() -> None:
    story = talk(story_of().hear_out(), "It is Ann here.")
    assert verdict(story, "machine_end_silence").end().reason is EndReason.VOICEMAIL
    assert story.said()[-1] == PHRASES.voicemail


def test_a_machine_that_talks_over_every_answer_is_none_the_less_one() -> None:
    """Its greeting was heard as turns. A recording waits for no answer."""
    parts = ("It is Ann here.", "I am out with the dog.", "Try again tomorrow.")
    story = talk(story_of().hear_out(), *parts, heard_out=False)
    assert len(story.all(fx.AskReply)) == 3
    assert verdict(story, "machine_end_beep").end().reason is EndReason.VOICEMAIL


def test_the_words_of_a_greeting_and_the_verdict_together_make_a_machine_at_any_time() -> None:
    story = talk(story_of().hear_out(), "Good day.", "It is Ann here.", GREETING)
    assert story.phase() is Phase.LISTENING
    assert verdict(story, "machine_end_beep").end().reason is EndReason.VOICEMAIL


def test_what_a_screener_was_told_is_no_answer_to_a_person() -> None:
    story = talk(story_of().say(SCREENER, ms=2_500).run(6_000), "It is Ann here.")
    assert verdict(story, "machine_end_beep").end().reason is EndReason.VOICEMAIL


# -- by its words ----------------------------------------------------------------------


def test_a_greeting_is_known_while_it_is_still_being_said() -> None:
    story = story_of(ends_turns=True).voice(6_000)
    story.post(lambda at: ev.Heard(at, "Hi, this is Ann, I am"), 1_200).run(1_300)
    assert story.phase() is not Phase.MACHINE
    story.post(lambda at: ev.Heard(at, GREETING), 1_200).run(1_300)
    assert story.phase() is Phase.MACHINE
    story.post(lambda at: ev.TurnEnded(at, GREETING), 300).run(400)
    assert story.all(fx.AskReply) == []
    assert beep(story).end().reason is EndReason.VOICEMAIL


@pytest.mark.parametrize("ends_turns", [False, True])
def test_a_greeting_is_known_by_the_text_of_its_turn(ends_turns: bool) -> None:
    story = story_of(ends_turns=ends_turns, eager=True).say(GREETING, ms=4_000).run(4_300)
    assert story.phase() is Phase.MACHINE
    assert len(story.all(fx.ListenForBeep)) == 1
    assert story.all(fx.AskReply) == []
    assert story.run(3_000).said()[-1] == PHRASES.voicemail


def test_a_greeting_in_several_pieces_is_known_by_the_whole() -> None:
    story = story_of().say("Ann is not here", ms=1_500).run(1_900)
    assert story.phase() is not Phase.MACHINE
    story.say("right now, leave a word.", ms=900).run(1_300)
    assert story.phase() is Phase.MACHINE


def test_a_greeting_that_the_transcriber_is_probably_done_with_is_not_guessed_at() -> None:
    story = story_of(ends_turns=True, eager=True).hear_out()
    story.post(lambda at: ev.TurnLikelyEnded(at, GREETING)).run(100)
    assert story.all(fx.AskReply) == []
    assert story.phase() is Phase.MACHINE


def test_a_message_that_is_talked_about_later_on_is_no_machine() -> None:
    story = story_of().hear_out()
    for _ in range(2):
        story.say("Tell me more.", ms=700).run(4_000)
    story.say(GREETING, ms=3_000).run(5_000)
    assert story.phase() is not Phase.MACHINE
    assert story.heard()[5] == f"c: {GREETING}"


@pytest.mark.parametrize("ends_turns", [False, True])
def test_a_full_mailbox_is_left(ends_turns: bool) -> None:
    story = story_of(ends_turns=ends_turns).say(FULL, ms=3_000)
    assert story.end().reason is EndReason.VOICEMAIL
    assert PHRASES.voicemail not in story.said()


def test_a_mailbox_that_turns_out_full_after_its_greeting_is_left_too() -> None:
    story = verdict(story_of(), "machine_start").say(FULL, ms=3_000)
    end = story.end()
    assert end.reason is EndReason.VOICEMAIL
    assert PHRASES.voicemail not in story.said()


def test_where_no_message_is_wanted_a_greeting_is_enough_to_hang_up() -> None:
    story = story_of(hang_up=True).say(GREETING, ms=3_000)
    assert story.end().reason is EndReason.VOICEMAIL
    assert story.all(fx.ListenForBeep) == []


# -- call screening --------------------------------------------------------------------


@pytest.mark.parametrize("ends_turns", [False, True])
def test_a_screener_is_told_who_calls(ends_turns: bool) -> None:
    story = story_of(ends_turns=ends_turns).say(SCREENER, ms=2_500).run(6_000)
    assert story.said()[-1] == PHRASES.screening
    assert story.all(fx.AskReply) == []
    assert story.heard()[-2:] == [f"c: {SCREENER}", f"a: {PHRASES.screening}"]


def test_a_screener_has_time_to_ask_before_anybody_is_prompted() -> None:
    story = story_of().say(SCREENER, ms=2_500).run(6_000)
    answered = story.when_said(PHRASES.screening)
    story.run(40_000)
    assert story.when_said(PHRASES.still_there) == answered + 30_000


def test_a_screener_is_told_once() -> None:
    story = story_of().say(SCREENER, ms=2_500).run(6_000)
    story.reply("It is about the cat.").say(SCREENER, ms=2_500).run(6_000)
    assert story.said().count(PHRASES.screening) == 1
    assert story.said()[-1] == "It is about the cat."


def test_the_person_who_takes_the_screened_call_is_talked_to() -> None:
    story = story_of().say(SCREENER, ms=2_500).run(6_000)
    story.reply("Good to hear you.").say("Hello, this is Ann.", ms=1_200).run(6_000)
    assert story.heard()[-2:] == ["c: Hello, this is Ann.", "a: Good to hear you."]


@ENDED_BY_SILENCE
def test_a_guess_at_a_screener_is_dropped() -> None:
    story = story_of(eager=True).hear_out().say(SCREENER, ms=2_500).run(6_000)
    assert story.said()[-1] == PHRASES.screening
    assert [told.committed for told in story.all(fx.EagerSettled)] == [False]


def test_a_machine_that_answers_behind_the_screener_gets_its_message() -> None:
    story = story_of().say(SCREENER, ms=2_500).run(6_000)
    beep(story.say(GREETING, ms=4_000).run(4_400))
    assert story.end().reason is EndReason.VOICEMAIL
    assert story.heard()[-1] == f"a: {PHRASES.voicemail}"


# -- money and other ways out ----------------------------------------------------------


def test_money_that_runs_out_before_the_beep_ends_the_call_without_a_word() -> None:
    limits = Limits(beep_ms=90_000, machine_quiet_ms=90_000)
    story = story_of(allowed=minutes_paid(1), limits=limits).hear_out()
    verdict(story, "machine_start")
    end = story.end()
    assert story.times(fx.HangUp) == [48_000]
    assert end.reason is EndReason.CREDIT
    assert story.all(fx.Warned) == []
    assert story.charged(CARRIER) == 14_000_000


def test_money_that_runs_out_before_anything_was_heard() -> None:
    limits = Limits(beep_ms=90_000, machine_quiet_ms=90_000)
    story = Story(started(minutes_paid(1), limits=limits)).answer()
    end = verdict(story, "machine_start").end()
    assert story.times(fx.HangUp) == [60_000]
    assert end.reason is EndReason.CREDIT


def test_the_minutes_of_the_wait_are_bought() -> None:
    story = story_of(limits=Limits(beep_ms=90_000, machine_quiet_ms=90_000))
    verdict(story, "machine_start").run(to=ANSWERED + 61_000)
    assert story.charged(CARRIER) == 28_000_000


@pytest.mark.parametrize("reason", [EndReason.USER_HUNG_UP, EndReason.DRAINED])
def test_somebody_wants_it_over_while_it_waits_for_the_beep(reason: EndReason) -> None:
    story = verdict(story_of(), "machine_start").post(lambda at: ev.HangUpAsked(at, reason)).run()
    assert story.end().reason is reason


def test_the_machine_hangs_up_before_its_beep() -> None:
    story = verdict(story_of(), "machine_start").run(500).carrier_done()
    assert story.end().reason is EndReason.CALLER_HUNG_UP


def test_an_engine_that_fails_while_it_waits_is_no_matter() -> None:
    story = verdict(story_of(), "machine_start")
    story.post(lambda at: ev.EngineFailed(at, "stt", 0, "failed")).run(100)
    assert len(story.all(fx.Listen)) == 2
    assert story.phase() is Phase.MACHINE
    assert story.end().reason is EndReason.VOICEMAIL


def test_a_message_that_cannot_be_said_does_not_keep_the_line() -> None:
    story = verdict(story_of(), "machine_start")
    story.mute = True
    end = beep(story).end()
    assert end.reason is EndReason.VOICEMAIL
    assert story.all(fx.TurnTaken)[-1].interrupted  # of the disclosure
    assert story.times(fx.HangUp)[0] <= story.when_said(PHRASES.voicemail) + 50
