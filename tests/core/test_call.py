"""The conversation: who has the floor, and what was heard of what was said."""

from dataclasses import dataclass

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Call, Phase
from pipeline.core.events import Event
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason, Limits
from tests.core.story import ANSWERED, PHRASES, Story, minutes_paid, started

LONG = "Once upon a time there was a very small house at the end of a very long road. "


def told(**limits: int) -> Story:
    """A call in which the greeting has been heard."""
    return Story(started(limits=Limits(**limits))).answer().hear_out()


def talking() -> Story:
    """The agent has been telling its story for two seconds."""
    story = told().reply(LONG).say("Tell me a story, please.").run(2_500)
    story.run(to=story.now + 1_500)
    assert story.call.phase is Phase.SPEAKING
    return story


def user_turns(story: Story) -> list[str]:
    return [message.content for message in story.all(fx.AskReply)[-1].messages if message.role == "user"]


def test_everything_is_prepared_while_it_rings() -> None:
    story = Story(started())
    assert [effect for _, effect in story.log] == [fx.Prepare(PHRASES.all), fx.Listen()]
    assert set(PHRASES.all) == {getattr(PHRASES, name) for name in PHRASES.__slots__} - {PHRASES.warnings}
    assert story.call.phase is Phase.RINGING


def test_the_greeting_follows_the_disclosure_as_soon_as_sound_flows() -> None:
    story = Story(started()).answer()
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    assert story.times(fx.Say) == [200, 200]
    story.hear_out()
    assert story.heard() == [f"a: {PHRASES.disclosure} {PHRASES.greeting}"]
    assert story.call.phase is Phase.LISTENING


def test_sound_may_flow_before_the_carrier_says_that_it_was_answered() -> None:
    story = Story(started()).run(to=ANSWERED)
    story.post(ev.StreamStarted).run()
    charged = story.call.spending.meter.nano
    story.post(ev.Answered, 500).post(ev.StreamStarted, 500).run(500)
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    assert story.call.spending.meter.nano == charged
    assert story.call.spending.answered == ANSWERED


def test_a_question_is_answered() -> None:
    story = told().reply("I am well. ", "And you?").say("How are you?").run(1_500)
    (order,) = story.all(fx.AskReply)
    assert [message.role for message in order.messages] == ["system", "assistant", "user"]
    assert order.messages[0].content == "You are Nora.\n\nBe brief."
    assert story.hear_out().run(3_000).heard()[1:] == ["c: How are you?", "a: I am well. And you?"]


def test_a_turn_ends_half_a_second_after_the_voice() -> None:
    story = told().say("How are you?", ms=1_000)
    begun = story.now
    story.run(5_000)
    (asked,) = story.times(fx.AskReply)
    assert asked + ANSWERED - begun == 1_500
    turn = story.all(fx.TurnTaken)[1]
    assert (turn.started - begun, turn.ended - begun) == (0, 1_000)


def test_a_pause_within_a_sentence_does_not_end_the_turn() -> None:
    story = told().say("I was thinking").run(1_100).say("of you.").run(4_000)
    assert user_turns(story) == ["I was thinking of you."]
    assert len(story.all(fx.AskReply)) == 1


def test_speech_starts_before_the_reply_is_written() -> None:
    story = told().reply("One thing first. ", "And then ", "another.").say("Go on.").run(1_400)
    say, finished = story.when_said("One thing first."), story.when_said("And then another.")
    assert finished - say == 120


# -- barge-in --------------------------------------------------------------------------


def test_a_barge_in_stops_the_agent_and_keeps_what_was_heard() -> None:
    story = talking()
    story.say("Wait, what house do you mean?")
    begun = story.now
    story.run(300)
    assert story.times(fx.Pause) == [begun + 200 - ANSWERED]
    assert story.call.phase is Phase.INTERRUPTED
    assert story.all(fx.Hush) == []  # it may be a noise
    story.run(1_800)
    assert len(story.all(fx.Hush)) == 1
    assert story.all(fx.Resume) == []
    cut = story.all(fx.TurnTaken)[-1]
    assert cut.interrupted
    assert LONG.startswith(cut.text)
    assert 5 < len(cut.text) < 45
    story.run(4_000)
    roles = [message.role for message in story.all(fx.AskReply)[-1].messages]
    assert roles == ["system", "assistant", "user", "assistant", "user"]
    assert story.all(fx.AskReply)[-1].messages[3].content == cut.text


def test_a_barge_in_stops_a_reply_still_being_written() -> None:
    story = told().reply(LONG, *["and on and on. "] * 200).say("Tell me a story, please.").run(5_000)
    story.say("Wait, what?").run(300)
    assert story.all(fx.DropReply) == []
    story.run(1_000)
    assert story.all(fx.DropReply) == [fx.DropReply(1)]


def test_a_sound_shorter_than_a_word_does_not_stop_the_agent() -> None:
    story = talking()
    story.voice(199).run(6_000)
    assert [*story.all(fx.Pause), *story.all(fx.Hush)] == []
    assert story.heard()[-1] == f"a: {LONG.strip()}"


def test_hearing_that_it_is_held_without_a_voice_means_nothing() -> None:
    story = talking()
    story.post(ev.SpeechHeld).run(100)
    assert story.all(fx.Pause) == []


def test_the_disclosure_is_not_interrupted_but_the_greeting_is() -> None:
    story = Story(started()).answer().run(300)
    story.say("Hello? Hello? Who is there?", ms=4_000).run(1_500)
    disclosed = 200 + 60 * len(PHRASES.disclosure)
    assert story.times(fx.Pause) == [disclosed]
    story.run(3_000)
    assert story.heard() == [f"a: {PHRASES.disclosure}", "c: Hello? Hello? Who is there?"]


def test_the_goodbye_is_not_interrupted() -> None:
    story = told(max_duration_ms=30_000, idle_prompt_ms=10**7).run(to=ANSWERED + 18_100)
    story.say("But wait a moment, please!").end()
    assert story.heard()[-1] == f"a: {PHRASES.goodbye}"
    assert not story.all(fx.TurnTaken)[-1].interrupted
    assert story.all(fx.Pause) == []


def test_the_warning_is_not_interrupted() -> None:
    story = Story(started(minutes_paid(2), limits=Limits(idle_prompt_ms=10**7))).answer()
    story.say("But wait a moment, please!", at=60_100).run(3_000)
    assert story.times(fx.Warned) == [60_000]
    assert [*story.all(fx.Pause), *story.all(fx.Hush)] == []


# -- speaking at the same time ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answered"),
    [("Mm-hm.", False), ("Oh really?", False), ("Hello?", True), ("What is that?", False)],
)
def test_what_is_said_in_less_than_a_word_while_the_agent_speaks(text: str, answered: bool) -> None:
    story = talking()
    story.say(text, ms=199).run(8_000)
    assert [*story.all(fx.Pause), *story.all(fx.Hush)] == []
    assert f"c: {text}" in story.heard()
    assert (len(story.all(fx.AskReply)) == 2) is answered


def test_a_caller_who_goes_on_while_the_agent_thinks_is_heard_out() -> None:
    story = told().reply("Never said. ", first_ms=3_000).say("I have a question.").run(2_400)
    assert story.call.phase is Phase.THINKING
    story.say("It is about the weather.").run(5_000)
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    assert user_turns(story) == ["I have a question.", "It is about the weather."]
    assert "Never said." not in story.said()


def test_the_transcriber_may_end_turns_itself() -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    story.say("How are you?", ms=1_000)
    begun = story.now
    story.run(3_000)
    assert story.times(fx.AskReply) == [begun + 1_300 - ANSWERED]


def test_a_one_word_answer_counts_though_the_voice_was_not_yet_seen_to_stop() -> None:
    """It used to pass for a mutter beside the agent's speech and was never answered."""
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    story.post(lambda at: ev.SpeechStarted(at, 90), 1_000)
    story.post(lambda at: ev.TurnEnded(at, "Yes."), 1_500)
    story.post(lambda at: ev.SpeechStopped(at, 200), 1_600).run(2_000)
    assert len(story.all(fx.AskReply)) == 1
    turn = story.all(fx.TurnTaken)[-1]
    assert turn.started < turn.ended


def test_a_question_beside_the_agents_speech_is_answered_by_a_transcriber_that_ends_turns() -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    story.reply(LONG).say("Tell me a story.").run(3_000)
    story.reply("A house. ").say("Hello?", ms=199).run(9_000)
    assert story.said()[-1] == "A house."
    assert story.heard()[-2:] == ["c: Hello?", f"a: {LONG}A house."]


def test_an_empty_turn_is_not_answered() -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    story.say("").run(2_000)
    assert story.all(fx.AskReply) == []
    story = told().say("").run(2_000)
    assert story.all(fx.AskReply) == []


def test_words_without_a_voice_are_answered_all_the_same() -> None:
    story = told().post(lambda at: ev.SegmentHeard(at, "Can you hear me?"), 1_000).run(2_000)
    assert user_turns(story) == ["Can you hear me?"]


# -- silence ---------------------------------------------------------------------------


def test_a_silent_caller_is_asked_twice_and_then_bidden_goodbye() -> None:
    story = told()
    heard = story.now
    end = story.end()
    assert story.said()[2:] == [PHRASES.still_there, PHRASES.still_there, PHRASES.goodbye]
    assert story.times(fx.Say)[2] == heard + 9_000 - ANSWERED
    assert end.reason is EndReason.IDLE


def test_an_answer_starts_the_patience_afresh() -> None:
    story = told().run(9_500).say("I am here, I am here.").run(60_000)
    assert story.said().count(PHRASES.still_there) == 3


def test_a_caller_who_speaks_on_and_on_is_not_asked() -> None:
    story = told().voice(30_000).run(29_000)
    assert PHRASES.still_there not in story.said()


# -- the machine -----------------------------------------------------------------------


def test_what_is_of_no_consequence_changes_nothing() -> None:
    story = told()
    steps = len(story.log)
    story.post(lambda at: ev.Heard(at, "Hel")).post(lambda at: ev.DigitPressed(at, "5"))
    story.post(lambda at: ev.ReplyPiece(at, 7, "Hello. ")).post(lambda at: ev.MarkReached(at, 99))
    story.post(lambda at: ev.MachineDetected(at, "human")).run()
    assert len(story.log) == steps


def test_an_event_from_nowhere_is_an_error() -> None:
    @dataclass(frozen=True, slots=True)
    class Odd(Event):
        pass

    with pytest.raises(TypeError, match="no such event"):
        Call(started()).step(Odd(Millis(0)))


def test_time_never_goes_back() -> None:
    story = told()
    before = story.call.next_deadline()
    assert story.call.step(ev.Tick(Millis(0))) == []
    assert story.call.next_deadline() == before


# -- a reply that its ceiling ends --------------------------------------------------------


def test_a_reply_that_its_ceiling_of_tokens_ends_stops_with_its_last_whole_sentence() -> None:
    story = told().reply("That is a long story. ", "It all began when my", cut_short=True)
    story.say("Tell me a story, please.").run(9_000)
    assert story.heard()[-1] == "a: That is a long story."
    assert story.phase() is Phase.LISTENING


def test_one_that_has_no_whole_sentence_is_said_as_far_as_it_goes() -> None:
    story = told().reply("It all began when my", cut_short=True)
    story.say("Tell me a story, please.").run(9_000)
    assert story.heard()[-1] == "a: It all began when my"


def test_the_ceiling_of_a_reply_that_was_dropped_is_nobodys() -> None:
    story = told().reply("Never said.", first_ms=3_000, cut_short=True).say("Hello there.").run(1_800)
    story.reply("Fine. And you").say("No, wait a moment.", ms=1_200).run(2_500)
    story.post(lambda at: ev.ReplyCutShort(at, 1)).run(6_000)
    assert story.heard()[-1] == "a: Fine. And you"
