"""What else may happen while a voice has stopped the agent and nobody knows yet what it says."""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.terms import EndReason, Limits
from tests.core.story import ANSWERED, PHRASES, Story, minutes_paid, started

pytestmark = pytest.mark.usefixtures("ends_turns")

LONG = "Once upon a time there was a very small house at the end of a very long road."


def told(**limits: int) -> Story:
    """A call in which the greeting has been heard."""
    start = started(limits=Limits(**limits))
    return Story(start).answer().hear_out()


def talking(**limits: int) -> Story:
    """The agent has been telling its story for a little more than two seconds."""
    story = told(**limits).reply(LONG)
    return story.say("Tell me a story, please.", ms=1_000).run(4_000)


def interrupted(**limits: int) -> Story:
    """A voice has stopped the agent and goes on, and nobody knows yet what it says."""
    story = talking(**limits).voice(20_000).run(300)
    assert story.phase() is Phase.INTERRUPTED
    return story


def asked(story: Story, reason: EndReason) -> Story:
    return story.post(lambda at: ev.HangUpAsked(at, reason)).run()


def failed(story: Story, service: str, ref: int, kind: str = "failed") -> Story:
    return story.post(lambda at: ev.EngineFailed(at, service, ref, kind)).run()  # type: ignore[arg-type]


def test_the_warning_about_money_does_not_wait_for_ever_for_what_the_voice_is() -> None:
    story = Story(started(minutes_paid(2), limits=Limits(idle_prompt_ms=10**7))).answer()
    story.reply(LONG).say("Tell me a story.", at=55_000, ms=800).run(to=ANSWERED + 58_000)
    story.voice(20_000).run(9_000)
    assert story.times(fx.Warned) == [65_000]
    assert [type(e) for _, e in story.log if isinstance(e, fx.Pause | fx.Hush | fx.Warned)] == [
        fx.Pause,
        fx.Hush,
        fx.Warned,
    ]
    assert story.said()[-1] == PHRASES.warning
    assert story.all(fx.TurnTaken)[-2].interrupted


def test_the_goodbye_comes_in_time() -> None:
    story = interrupted(max_duration_ms=22_000, idle_prompt_ms=10**7)
    end = story.end()
    assert story.when_said(PHRASES.goodbye) == 10_000
    assert story.heard()[-1] == f"a: {PHRASES.goodbye}"
    assert end.reason is EndReason.MAX_DURATION


def test_the_user_hangs_up() -> None:
    story = asked(interrupted(), EndReason.USER_HUNG_UP)
    assert [type(e) for _, e in story.log if isinstance(e, fx.Pause | fx.Hush | fx.HangUp)] == [
        fx.Pause,
        fx.Hush,
        fx.HangUp,
    ]
    assert story.end().reason is EndReason.USER_HUNG_UP
    assert story.all(fx.TurnTaken)[-1].interrupted


def test_the_operator_drains() -> None:
    story = asked(interrupted(), EndReason.DRAINED)
    assert story.end().reason is EndReason.DRAINED
    assert story.heard()[-1] == f"a: {PHRASES.goodbye}"


def test_the_caller_hangs_up() -> None:
    story = interrupted().carrier_done()
    assert story.end().reason is EndReason.CALLER_HUNG_UP
    assert story.all(fx.HangUp) == []
    assert story.all(fx.TurnTaken)[-1].interrupted


def test_the_line_drops() -> None:
    story = interrupted().post(lambda at: ev.LineDropped(at, EndReason.CALLER_HUNG_UP)).run()
    assert story.end().reason is EndReason.CALLER_HUNG_UP


def test_the_transcriber_fails_so_that_nobody_will_know_what_was_said() -> None:
    story = failed(interrupted(), "stt", 0).run(200)
    assert len(story.all(fx.Hush)) == 1
    assert story.said()[-1] == PHRASES.apology


def test_the_model_fails() -> None:
    story = told().reply("One thing first. ", *["And more of it. "] * 200, first_ms=300)
    story.say("Go on.", ms=500).run(2_000).voice(9_000).run(300)
    assert story.phase() is Phase.INTERRUPTED
    failed(story, "llm", 1).run(200)
    assert story.said()[-1] == PHRASES.apology
    assert len(story.all(fx.Hush)) == 1


def test_the_voice_fails_so_that_there_is_nothing_to_go_on_with() -> None:
    """The mouth would have stayed paused, and swallowed the apology."""
    story = failed(interrupted(), "tts", 3)
    kinds = fx.Pause | fx.Hush | fx.Resume | fx.Say
    assert [effect for _, effect in story.log if isinstance(effect, kinds)][3:] == [
        fx.Pause(),
        fx.Hush(),
        fx.Say(4, PHRASES.apology),
        fx.Pause(),  # the caller is still speaking
    ]


def test_every_engine_of_a_kind_is_down() -> None:
    story = failed(interrupted(), "tts", 3, "all_down")
    assert story.said()[-1] == PHRASES.trouble
    assert story.end().reason is EndReason.ENGINE_FAILURE


def test_no_more_calls_by_key() -> None:
    story = interrupted().post(lambda at: ev.DigitPressed(at, "9")).run()
    assert story.said()[-1] == PHRASES.opted_out
    assert story.end().reason is EndReason.OPTED_OUT


def test_a_wish_to_end_the_call_that_arrives_meanwhile_protects_what_follows() -> None:
    story = told().reply("That was all. ", "Take care then. ", hangs=True)
    story.say("Anything else?", ms=500).run(1_500)
    story.voice(450).run(250)
    assert story.phase() is Phase.INTERRUPTED
    story.post(lambda at: ev.ReplyEndsCall(at, 1)).run(500)
    assert story.phase() is Phase.SPEAKING
    story.voice(5_000)
    story.finish(1)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert len(story.all(fx.Pause)) == 1
    assert story.heard()[-1] == "a: That was all. Take care then."


def test_marks_lost_while_it_speaks_on_do_not_keep_the_floor() -> None:
    story = talking()
    story.marks_come = False
    story.voice(300).run(40_000)
    assert len(story.all(fx.Resume)) == 1
    assert len(story.all(fx.Hush)) >= 1
