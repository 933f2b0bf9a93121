"""The ways out of a call, and everything that goes wrong."""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason, Limits
from tests.core.story import ANSWERED, CARRIER, ENDED_BY_SILENCE, PHRASES, Story, started

pytestmark = pytest.mark.usefixtures("ends_turns")


def told(**limits: int) -> Story:
    return Story(started(limits=Limits(**limits))).answer().hear_out()


def machine(story: Story, kind: str) -> Story:
    return story.post(lambda at: ev.MachineDetected(at, kind)).run()


def asked(story: Story, reason: EndReason) -> Story:
    return story.post(lambda at: ev.HangUpAsked(at, reason)).run()


# -- nobody there ----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_a_call_never_answered_costs_nothing_and_has_no_reason(status: str) -> None:
    story = Story(started()).run(to=20_000).carrier_done(status=status)
    assert story.end() == fx.Ended(None, status, 0, Nanos(0))
    assert [*story.all(fx.HangUp), *story.all(fx.Charge)] == []


def test_a_carrier_that_never_says_whether_anybody_answered() -> None:
    story = Story(started())
    story.carrier_speaks = False
    assert story.end() == fx.Ended(None, "failed", 0, Nanos(0))
    assert [at for at, effect in story.log if isinstance(effect, fx.HangUp)] == [90_000]
    assert story.now == 100_000


def test_the_word_of_the_answer_may_be_lost_altogether() -> None:
    story = Story(started())
    story.carrier_seconds = 65
    end = story.run(to=30_000).carrier_done().end()
    assert (end.reason, end.seconds) == (EndReason.CALLER_HUNG_UP, 65)
    assert story.charged(CARRIER) == 28_000_000


def test_an_answer_that_comes_after_ringing_was_given_up() -> None:
    story = Story(started())
    story.carrier_seconds = 3
    story.run(to=90_050).post(ev.Answered)
    end = story.end()
    assert end.reason is EndReason.BAD_STREAM
    assert story.charged(CARRIER) == 14_000_000


def test_media_that_never_come() -> None:
    story = Story(started()).run(to=ANSWERED).post(ev.Answered)
    end = story.end()
    assert story.times(fx.HangUp) == [10_000]
    assert (end.reason, end.seconds) == (EndReason.BAD_STREAM, 11)
    assert story.said() == []


# -- machines --------------------------------------------------------------------------


def test_a_voicemail_gets_its_message() -> None:
    story = Story(started()).answer().run(1_000)
    machine(machine(story, "machine_end_beep").run(500), "machine_end_beep")
    end = story.end()
    assert story.said()[-1] == PHRASES.voicemail
    assert story.heard()[-1] == f"a: {PHRASES.voicemail}"
    assert end.reason is EndReason.VOICEMAIL


def test_a_voicemail_before_there_is_sound_is_left() -> None:
    story = Story(started()).run(to=ANSWERED).post(ev.Answered).run()
    assert machine(story, "machine_end_silence").end().reason is EndReason.VOICEMAIL
    assert story.said() == []


def test_a_fax_is_left_at_once() -> None:
    story = machine(Story(started()).answer().run(500), "fax")
    assert story.times(fx.HangUp) == [700]
    assert story.end().reason is EndReason.FAX


# -- somebody wants it over ------------------------------------------------------------


def test_the_user_hangs_up_at_once() -> None:
    story = asked(told(), EndReason.USER_HUNG_UP)
    assert story.end().reason is EndReason.USER_HUNG_UP
    assert PHRASES.goodbye not in story.said()


def test_an_operator_drains_with_a_goodbye() -> None:
    story = asked(asked(told(), EndReason.DRAINED).run(200), EndReason.DRAINED)
    assert story.end().reason is EndReason.DRAINED
    assert story.heard()[-1] == f"a: {PHRASES.goodbye}"


def test_a_call_that_rings_is_drained_without_one() -> None:
    story = asked(Story(started()).run(to=1_000), EndReason.DRAINED)
    assert story.end().reason is None
    assert story.said() == []


def test_the_user_may_cut_a_goodbye_short() -> None:
    story = asked(asked(told(), EndReason.DRAINED).run(200), EndReason.USER_HUNG_UP)
    assert story.all(fx.HangUp) == [fx.HangUp(EndReason.DRAINED)]
    story.end()
    asked(story, EndReason.USER_HUNG_UP)
    assert len(story.all(fx.HangUp)) == 1


def test_a_goodbye_is_not_waited_for_longer_than_it_takes() -> None:
    story = told()
    story.marks_come = False
    asked(story, EndReason.DRAINED)
    begun = story.now
    story.end()
    assert story.times(fx.HangUp) == [begun + 8_000 - ANSWERED]


def test_the_line_drops() -> None:
    story = told().post(lambda at: ev.LineDropped(at, EndReason.BAD_STREAM)).run()
    story.post(lambda at: ev.LineDropped(at, EndReason.CALLER_HUNG_UP)).run()
    assert story.end().reason is EndReason.BAD_STREAM
    assert len(story.all(fx.HangUp)) == 1


# -- the carrier's last word -----------------------------------------------------------


def test_the_caller_hangs_up_while_the_agent_speaks() -> None:
    story = (
        told().reply("One two three four five six seven eight nine ten. ").say("Count, please.").run(3_500)
    )
    end = story.carrier_done().carrier_done(after=5).end()
    assert end.reason is EndReason.CALLER_HUNG_UP
    assert story.all(fx.HangUp) == []
    assert story.all(fx.TurnTaken)[-1].interrupted


def test_the_caller_hangs_up_during_the_goodbye() -> None:
    story = asked(told(), EndReason.DRAINED).run(300).carrier_done()
    assert story.end().reason is EndReason.DRAINED


def test_a_carrier_that_never_says_it_is_over() -> None:
    story = told().run(to=ANSWERED + 20_500)
    story.carrier_speaks = False
    end = asked(story, EndReason.USER_HUNG_UP).end()
    assert story.now - ANSWERED == 30_500
    assert (end.status, end.seconds) == ("completed", 21)


def test_while_the_carrier_is_asked_its_word_is_waited_for() -> None:
    """The phone rings on, somebody picks up after all, and the minute is billed."""
    story = Story(started()).run(to=1_000)
    story.carrier_speaks = False
    asked(story, EndReason.USER_HUNG_UP)
    for _ in range(6):
        story.run(9_000).post(ev.CarrierSilent)
    story.run(9_000)
    assert story.phase() is Phase.HUNG_UP
    story.post(lambda at: ev.CarrierDone(at, "completed", 1))
    assert story.end().seconds == 1
    assert story.charged(CARRIER) == 14_000_000


def test_a_carrier_that_is_asked_no_more_is_not_waited_for_any_longer() -> None:
    story = Story(started()).run(to=1_000)
    story.carrier_speaks = False
    asked(story, EndReason.USER_HUNG_UP).run(9_000).post(ev.CarrierSilent)
    silent = story.now
    assert story.end().status == "failed"
    assert story.now == silent + 10_000


def test_the_tokens_of_a_dropped_reply_are_waited_for() -> None:
    story = told().reply("Long in coming. ", first_ms=2_000, tokens=(50, 0, 1)).say("Hello there.").run(1_800)
    assert story.call.phase is Phase.THINKING
    before = story.call.spending.meter.nano
    end = story.carrier_done().end()
    assert end.total > before
    assert story.all(fx.DropReply) == [fx.DropReply(1)]


def test_tokens_that_are_never_told_do_not_keep_a_call_open() -> None:
    story = told().reply("Long in coming. ", first_ms=2_000).say("Hello there.").run(1_800)
    story.tokens_come = False
    hung_up = story.now
    story.carrier_done().carrier_done(after=500)
    story.end()
    assert story.now == hung_up + 10_000


def test_a_late_piece_of_a_reply_is_not_spoken() -> None:
    story = asked(told().say("Hello there.").run(1_500), EndReason.USER_HUNG_UP)
    said = len(story.said())
    story.post(lambda at: ev.ReplyPiece(at, 1, "Hello. ")).run(50)
    story.end()
    assert len(story.said()) == said


# -- engines ---------------------------------------------------------------------------


def test_a_model_that_fails_is_apologised_for_and_then_given_up() -> None:
    story = told()
    for _ in range(3):
        story.reply(fails=True).say("Hello there.").run(6_000)
    assert story.said()[2:] == [PHRASES.apology, PHRASES.apology, PHRASES.trouble]
    assert story.end().reason is EndReason.ENGINE_FAILURE


def test_a_reply_that_comes_off_clears_the_slate() -> None:
    story = told()
    for fails in (True, True, False, True, True):
        story.reply("Yes. ", fails=fails) if not fails else story.reply(fails=True)
        story.say("Hello there.").run(6_000)
    assert story.said().count(PHRASES.apology) == 4
    assert PHRASES.trouble not in story.said()


def test_a_model_that_breaks_off_after_it_spoke_is_apologised_for_behind_what_it_said() -> None:
    story = told().reply("That much. ", fails=True).say("Hello there.").run(6_000)
    assert story.said()[-2:] == ["That much.", PHRASES.apology]
    assert story.call.phase is Phase.LISTENING


def test_a_turn_the_transcriber_ends_before_the_voice_is_off_is_answered() -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().run(9_000)
    story.post(lambda at: ev.SpeechStarted(at, 96)).post(ev.SpeechHeld, 200)
    story.post(lambda at: ev.TurnEnded(at, "What is new?"), 900).post(
        lambda at: ev.SpeechStopped(at, 200), 1_100
    )
    story.reply("Not much.").run(5_000)
    assert not story.all(fx.DropReply)
    assert "Not much." in story.said()


def test_a_carrier_that_does_not_say_how_long_is_billed_by_our_own_count() -> None:
    story = told(idle_prompt_ms=200_000).run(70_000)
    story.carrier_seconds = -1
    ended = story.carrier_done().end()
    assert ended.seconds == pytest.approx(76, abs=4)
    assert story.charged(CARRIER) == 2 * 14_000_000


def test_a_model_that_says_nothing_is_a_failure() -> None:
    story = told().reply("  *").say("Hello there.").run(3_000)
    assert story.said()[-1] == PHRASES.apology


def test_a_model_that_hangs_is_given_up() -> None:
    story = told().reply(hangs=True).say("Hello there.").run(3_000)
    asked_at = story.times(fx.AskReply)[0]
    story.run(15_000)
    assert story.when_said(PHRASES.apology) == asked_at + 15_000
    assert len(story.all(fx.DropReply)) == 1


def test_a_model_that_hangs_after_it_spoke_is_given_up_too() -> None:
    """The call used to stay silent until its cutoff."""
    story = told().reply("Let me think. ", hangs=True).say("Hello there.").run(4_000)
    assert story.call.phase is Phase.THINKING
    story.run(15_000)
    assert story.said()[-1] == PHRASES.apology
    assert story.run(4_000).heard()[-1] == f"a: Let me think. {PHRASES.apology}"


def test_a_model_that_hangs_over_a_question_beside_the_agents_speech_is_given_up_too() -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    story.reply("Once upon a time there was a house. ").say("Tell me a story.").run(2_500)
    story.reply(hangs=True).say("Hello?", ms=199).run(20_000)
    assert story.said()[-1] == PHRASES.apology
    assert story.heard()[3] == "a: Once upon a time there was a house."


def test_a_slow_last_word_of_the_model_ends_the_agents_turn() -> None:
    story = told().reply("Let me think. ", hangs=True).say("Hello there.").run(4_000)
    story.finish(1)
    story.run()
    assert story.call.phase is Phase.LISTENING
    assert story.heard()[-1] == "a: Let me think."
    assert not story.all(fx.TurnTaken)[-1].interrupted


def test_speech_that_cannot_be_rendered_is_apologised_for_and_then_given_up() -> None:
    story = Story(started())
    story.mute = True
    end = story.answer().end()
    assert end.reason is EndReason.ENGINE_FAILURE
    assert story.said()[2:] == [PHRASES.apology, PHRASES.apology, PHRASES.trouble]
    assert story.heard() == []


def test_a_transcriber_that_fails_is_opened_again() -> None:
    story = told().post(lambda at: ev.EngineFailed(at, "stt", 0, "failed"), 500).run(500)
    assert len(story.all(fx.Listen)) == 2
    assert story.said()[-1] == PHRASES.apology


def test_a_transcriber_that_fails_while_it_rings_is_opened_again_in_silence() -> None:
    story = Story(started()).post(lambda at: ev.EngineFailed(at, "stt", 0, "failed"), 500).run(500)
    assert len(story.all(fx.Listen)) == 2
    assert story.said() == []


def test_a_transcriber_that_fails_after_the_hang_up_is_not() -> None:
    story = asked(told(), EndReason.USER_HUNG_UP)
    story.post(lambda at: ev.EngineFailed(at, "stt", 0, "failed")).run()
    assert len(story.all(fx.Listen)) == 1
    story.end()


@ENDED_BY_SILENCE
def test_a_text_that_never_comes_is_apologised_for() -> None:
    story = told().voice(1_000).run(20_000)
    assert story.said()[2] == PHRASES.apology


def test_a_text_that_comes_after_the_apology_is_answered() -> None:
    story = told().voice(1_000).run(17_000)
    story.post(lambda at: ev.SegmentHeard(at, "Did you hear me?")).run(4_000)
    assert story.all(fx.AskReply)[-1].messages[-1].content == "Did you hear me?"


def test_an_engine_of_no_consequence_is_let_go() -> None:
    story = told().post(lambda at: ev.EngineFailed(at, "llm", 9, "failed")).run(100)
    assert PHRASES.apology not in story.said()


def test_marks_the_carrier_lost_do_not_keep_the_floor() -> None:
    story = Story()
    story.marks_come = False
    story.answer().run(30_000)
    assert story.times(fx.Hush)
    story.marks_come = True
    story.say("Is anybody there?").reply("I am here.").run(10_000)
    assert "I am here." in story.said()


def test_a_transcriber_that_fails_for_good_while_it_rings_ends_the_call_before_it_is_answered() -> None:
    story = Story()
    for _ in range(3):
        story.post(lambda at: ev.EngineFailed(at, "stt", 0, "failed"), 100).run(200)
    ended = story.end()
    assert (ended.reason, ended.total) == (None, 0)
    assert len(story.all(fx.Listen)) == 3


def test_a_voice_that_fails_reply_after_reply_is_given_up_although_the_apology_is_heard() -> None:
    story = told()
    story.mute, story.stock = True, PHRASES.all
    for _ in range(3):
        story.reply("This will not be heard.").say("Hello there.").run(8_000)
    assert story.end().reason is EndReason.ENGINE_FAILURE
    assert PHRASES.apology in " ".join(story.heard())


def test_the_same_voice_may_fail_now_and_then() -> None:
    story = told()
    story.stock = PHRASES.all
    for mute in (True, True, False, True, True):
        story.mute = mute
        story.reply("A reply.").say("Hello there.").run(8_000)
    assert story.call.phase is Phase.LISTENING


# -- asked politely --------------------------------------------------------------------


def test_whoever_asks_politely_has_the_caller_told() -> None:
    story = told().post(lambda at: ev.HangUpAsked(at, EndReason.ENGINE_FAILURE, politely=True)).run()
    assert story.phase() is Phase.CLOSING
    story.post(lambda at: ev.HangUpAsked(at, EndReason.ENGINE_FAILURE, politely=True)).run()
    assert story.phase() is Phase.CLOSING
    assert story.said()[-1] == PHRASES.trouble
    assert story.end().reason is EndReason.ENGINE_FAILURE
