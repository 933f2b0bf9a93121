"""A voice beside the agent's: be quiet at once, then find out whether it was an interruption.

Long because every voice that may stand beside the agent's is here.
"""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason, Limits
from tests.core.story import ANSWERED, ENDED_BY_SILENCE, FADE_MS, PHRASES, Story, started

pytestmark = pytest.mark.usefixtures("ends_turns")

LONG = "Once upon a time there was a very small house at the end of a very long road."


def told(*, ends_turns: bool | None = None, **limits: int) -> Story:
    """A call in which the greeting has been heard."""
    start = started(limits=Limits(**limits), transcriber_ends_turns=ends_turns)
    return Story(start).answer().hear_out()


def talking(*, ends_turns: bool | None = None, **limits: int) -> Story:
    """The agent has been telling its story for a little more than two seconds."""
    story = told(ends_turns=ends_turns, **limits).reply(LONG)
    story.say("Tell me a story, please.", ms=1_000).run(4_000)
    assert story.phase() is Phase.SPEAKING
    return story


def test_an_interrupted_turn_ends_when_its_sound_stops_and_not_when_that_is_known_to_be_one() -> None:
    story = talking().say("Wait, please, I have a question.", ms=1_500)
    story.run(3_000)
    [stopped] = story.times(fx.Pause)
    [hushed] = story.times(fx.Hush)
    told = [turn for turn in story.all(fx.TurnTaken) if turn.interrupted]
    assert [turn.ended - ANSWERED for turn in told] == [stopped]
    assert hushed > stopped


def test_a_turn_that_is_broken_off_between_two_sounds_ends_with_the_last_mark() -> None:
    """The model still writes; nothing plays."""
    story = told().reply("One. ", "Two.", hangs=True).say("Tell me a story, please.", ms=1_000).run(6_000)
    marks = [event.at for event, _ in story.steps if isinstance(event, ev.MarkReached)]
    story.say("Wait, please, I have a question.", ms=1_500).run(3_000)
    turn = next(turn for turn in story.all(fx.TurnTaken) if turn.interrupted)
    assert turn.ended == marks[-1]


# -- noises ----------------------------------------------------------------------------


def test_the_agent_stops_in_the_step_in_which_the_voice_is_held() -> None:
    story = talking().voice(700)
    begun = story.now - ANSWERED
    story.run(250)
    assert story.times(fx.Pause) == [begun + 200]
    assert [*story.all(fx.Hush), *story.all(fx.Resume)] == []


def test_after_a_brief_noise_it_goes_on_in_the_step_in_which_that_fades() -> None:
    story = talking().voice(400)
    begun = story.now - ANSWERED
    story.run(1_000)
    assert story.times(fx.Pause) == [begun + 200]
    assert story.times(fx.Resume) == [begun + 400 + FADE_MS]
    assert story.phase() is Phase.SPEAKING
    story.run(9_000)
    assert story.heard()[-1] == f"a: {LONG}"
    assert not story.all(fx.TurnTaken)[-1].interrupted
    assert len(story.all(fx.Say)) == 3


@ENDED_BY_SILENCE
@pytest.mark.parametrize(("ms", "at_once"), [(599, True), (600, False)])
def test_how_brief_a_noise_is(ms: int, at_once: bool) -> None:
    story = talking(brief_ms=600).voice(ms).run(ms + FADE_MS)
    assert bool(story.all(fx.Resume)) is at_once
    story.run(3_000)
    assert len(story.all(fx.Resume)) == (1 if at_once else 0)  # its text has not come


@pytest.mark.parametrize("words", ["", "Mm-hm."])
def test_a_longer_noise_is_forgiven_when_it_is_known_to_hold_no_words_for_the_agent(words: str) -> None:
    story = talking().say(words, ms=900)
    begun = story.now - ANSWERED
    story.run(3_000)
    assert story.times(fx.Resume) == [begun + 900 + 300]
    said = [f"c: {words}"] if words else []
    assert story.run(9_000).heard()[1:] == ["c: Tell me a story, please.", *said, f"a: {LONG}"]


def test_a_long_sound_that_is_taken_for_a_voice_only_at_its_end_is_a_brief_one() -> None:
    """A murmur, a hiss, a cough: what may be speech is no more than its end."""
    story = talking()
    begun = story.now - ANSWERED
    story.post(lambda at: ev.SpeechStarted(at, 96), 96).post(ev.SpeechHeld, 900)
    story.post(lambda at: ev.SpeechFaded(at, 96), 1_200).run(2_000)
    assert story.times(fx.Pause) == [begun + 900]
    assert story.times(fx.Resume) == [begun + 1_200]


def test_a_sound_that_returns_but_briefly_is_none() -> None:
    """Two coughs in a row, longer together than any noise."""
    story = talking()
    begun = story.now - ANSWERED
    story.post(lambda at: ev.SpeechStarted(at, 96), 96).post(ev.SpeechHeld, 200)
    story.post(lambda at: ev.SpeechFaded(at, 96), 500).post(ev.SpeechReturned, 800)
    story.post(lambda at: ev.SpeechFaded(at, 96), 1_000).run(2_000)
    assert story.times(fx.Resume) == [begun + 500, begun + 1_000]


def test_noises_without_words_do_not_add_up_to_a_voice() -> None:
    """Of a brief sound a single word is not believed, whatever came before it in the same answer."""
    story = talking(brief_ms=600).say("", ms=500).run(1_200).say("Uh.", ms=300).run(12_000)
    assert story.all(fx.Hush) == []
    assert len(story.all(fx.Resume)) == 2
    assert f"a: {LONG}" in story.heard()


def test_the_same_from_a_transcriber_that_ends_turns_and_says_nothing() -> None:
    story = talking(ends_turns=True).voice(900)
    begun = story.now - ANSWERED
    story.run(3_000)
    assert story.times(fx.Resume) == [begun + 900 + 500]
    assert story.run(9_000).heard()[-1] == f"a: {LONG}"


@ENDED_BY_SILENCE
def test_a_transcript_that_never_comes_does_not_silence_the_agent_for_ever() -> None:
    story = talking(thinking_ms=4_000).voice(900)
    begun = story.now - ANSWERED
    story.run(6_000)
    assert story.times(fx.Resume) == [begun + 900 + 4_000]


def test_noise_after_noise_loses_no_word() -> None:
    story = talking()
    for _ in range(4):
        story.voice(300).run(900)
    assert len(story.all(fx.Pause)) == len(story.all(fx.Resume)) == 4
    assert story.run(9_000).heard()[-1] == f"a: {LONG}"


def test_a_voice_that_returns_after_it_faded_stops_the_agent_again() -> None:
    story = talking()
    story.post(lambda at: ev.SpeechStarted(at, 96), 96).post(ev.SpeechHeld, 200)
    story.post(lambda at: ev.SpeechFaded(at, 96), 500).post(ev.SpeechReturned, 620)
    story.run(550)
    assert story.phase() is Phase.SPEAKING
    story.run(100)
    assert (len(story.all(fx.Pause)), len(story.all(fx.Resume))) == (2, 1)
    story.post(lambda at: ev.SpeechStopped(at, 200), 900)
    story.post(lambda at: ev.SegmentHeard(at, "I do not believe it."), 1_000).run(1_100)
    assert len(story.all(fx.Hush)) == 1


def test_a_second_fade_is_measured_from_where_the_voice_began() -> None:
    """A voice with gaps between its words is no row of short noises."""
    story = talking()
    story.post(lambda at: ev.SpeechStarted(at, 0)).post(ev.SpeechHeld, 200)
    story.post(lambda at: ev.SpeechFaded(at, 96), 500).post(ev.SpeechReturned, 550)
    story.post(lambda at: ev.SpeechFaded(at, 96), 900).run(1_000)
    assert (len(story.all(fx.Pause)), len(story.all(fx.Resume))) == (2, 1)


# -- listening noises ------------------------------------------------------------------


@pytest.mark.parametrize("ends_turns", [False, True])
@pytest.mark.parametrize("ms", [300, 900])
@pytest.mark.parametrize("noise", ["Uh-huh.", "Mhmm."])
def test_a_listening_noise_stops_nothing_for_good_and_is_not_answered(
    ends_turns: bool, ms: int, noise: str
) -> None:
    story = talking(ends_turns=ends_turns).say(noise, ms=ms).run(12_000)
    assert story.all(fx.Hush) == []
    assert len(story.all(fx.Resume)) == 1
    assert len(story.all(fx.AskReply)) == 1
    assert f"a: {LONG}" in story.heard()
    assert f"c: {noise}" in story.heard()


def test_a_listening_noise_that_is_still_being_made_does_not_stop_it_for_good() -> None:
    story = talking(ends_turns=True).voice(900)
    story.post(lambda at: ev.Heard(at, "Mm-hm"), 700).run(800)
    assert story.phase() is Phase.INTERRUPTED
    assert story.all(fx.Hush) == []


def test_a_reply_still_being_written_is_held_back_and_let_go_in_order() -> None:
    story = told()
    sentences = [
        "One thing first.",
        *[f"And the {nth}." for nth in ["second", "third", "fourth", "fifth", "sixth"]],
    ]
    story.reply(*[f"{sentence} " for sentence in sentences], first_ms=300)
    story.say("Go on.", ms=500).run(1_400)
    written = len(story.said())
    story.voice(450).run(450)
    assert story.phase() is Phase.INTERRUPTED
    assert not story.call.replies.writing
    assert len(story.said()) - written <= 5
    story.run(20_000)
    assert story.said()[2:8] == sentences
    assert story.heard()[2] == "a: " + " ".join(sentences)
    assert story.all(fx.DropReply) == []


def test_nothing_is_said_while_it_is_not_known_what_the_voice_is() -> None:
    story = told().reply("One thing first. ", *["And more of it. "] * 9, first_ms=300)
    story.say("Go on.", ms=500).run(1_350)
    said = len(story.said())
    story.voice(3_000).run(2_900)
    assert story.phase() is Phase.INTERRUPTED
    assert len(story.said()) <= said + 6
    paused = story.times(fx.Pause)[0]
    assert not [at for at in story.times(fx.Say) if at > paused]


def test_what_the_caller_mutters_stands_in_the_transcript_before_the_speech_it_was_said_into() -> None:
    story = talking(ends_turns=True).say("Oh, I see.", ms=300).run(12_000)
    assert story.heard()[1:] == ["c: Tell me a story, please.", "c: Oh, I see.", f"a: {LONG}"]


# -- words -----------------------------------------------------------------------------


@pytest.mark.parametrize("ends_turns", [False, True])
def test_words_take_the_floor_and_are_answered(ends_turns: bool) -> None:
    story = talking(ends_turns=ends_turns).reply("A house by the road.")
    story.say("Wait, what house do you mean?", ms=1_500).run(9_000)
    assert (len(story.all(fx.Pause)), len(story.all(fx.Hush)), story.all(fx.Resume)) == (1, 1, [])
    cut, question, answer = story.all(fx.TurnTaken)[2:]
    assert cut.interrupted
    assert LONG.startswith(cut.text)
    assert 10 < len(cut.text) < 45
    assert question.text == "Wait, what house do you mean?"
    assert answer.text == "A house by the road."
    assert [m.content for m in story.all(fx.AskReply)[-1].messages[3:]] == [cut.text, question.text]


def test_the_cut_is_at_the_last_mark_before_the_agent_stopped() -> None:
    """400 ms of sound a mark: one is all that can be wrong."""
    story = talking().say("Wait, what house do you mean?", ms=1_500).run(3_000)
    played_ms = story.times(fx.Pause)[0] - story.when_said(LONG)
    proven_ms = played_ms // 400 * 400
    cut = story.all(fx.TurnTaken)[2].text
    assert cut == LONG[: proven_ms // 60].rpartition(" ")[0]


def test_words_that_are_known_early_do_not_wait_for_the_end_of_the_turn() -> None:
    story = talking(ends_turns=True).voice(5_000)
    begun = story.now - ANSWERED
    story.post(lambda at: ev.Heard(at, "Wait"), 600).run(700)
    assert story.times(fx.Hush) == [begun + 600]
    assert story.phase() is Phase.LISTENING


def test_a_brief_stop_that_was_forgiven_stops_it_again_once_its_text_is_known() -> None:
    story = talking().reply("All right.").say("Stop.", ms=350)
    begun = story.now - ANSWERED
    story.run(9_000)
    assert story.times(fx.Pause) == [begun + 200, begun + 650]
    assert story.times(fx.Resume) == [begun + 350 + FADE_MS]
    assert story.times(fx.Hush) == [begun + 650]
    assert story.heard()[-2:] == ["c: Stop.", "a: All right."]
    assert story.all(fx.TurnTaken)[2].interrupted


def test_words_of_which_only_a_click_was_heard_do_not_stop_it() -> None:
    """Voice activity detection has the last word on what is a voice."""
    story = talking().say("Stop.", ms=150).run(1_000)
    assert [*story.all(fx.Pause), *story.all(fx.Hush)] == []


def test_one_word_is_not_enough_where_two_are_asked_for() -> None:
    story = talking(barge_in_words=2).say("Stop.", ms=700).run(12_000)
    assert len(story.all(fx.Resume)) == 1
    assert len(story.all(fx.AskReply)) == 1
    assert story.heard()[-2:] == ["c: Stop.", f"a: {LONG}"]
    story = talking(barge_in_words=2).say("Stop it.", ms=700).run(3_000)
    assert len(story.all(fx.Hush)) == 1


@pytest.mark.parametrize("text", ["Goodbye.", "Unsubscribe."])
def test_a_word_that_decides_about_the_call_is_enough_all_the_same(text: str) -> None:
    story = talking(barge_in_words=3).say(text, ms=700).run(3_000)
    assert story.all(fx.Resume) == []
    assert len(story.all(fx.Hush)) == 1


# -- while the agent thinks ------------------------------------------------------------


def thinking(*, first_ms: int = 3_000) -> Story:
    story = told().reply("Here it comes. ", first_ms=first_ms).say("I have a question.", ms=1_000).run(1_600)
    assert story.phase() is Phase.THINKING
    return story


def test_a_noise_while_it_thinks_leaves_the_reply_alone() -> None:
    story = thinking().voice(300).run(300)
    assert story.phase() is Phase.INTERRUPTED
    story.run(200)
    assert story.phase() is Phase.THINKING
    story.run(9_000)
    assert [*story.all(fx.Pause), *story.all(fx.Resume), *story.all(fx.DropReply)] == []
    assert story.heard()[-1] == "a: Here it comes."


@ENDED_BY_SILENCE
def test_a_reply_that_comes_during_the_noise_is_said_after_it() -> None:
    story = thinking(first_ms=500).voice(500)
    begun = story.now - ANSWERED
    story.run(9_000)
    assert story.when_said("Here it comes.") == begun + 500 + FADE_MS
    assert story.heard()[-1] == "a: Here it comes."


def test_a_reply_that_turns_out_empty_during_the_noise_is_apologised_for() -> None:
    story = told().reply("", first_ms=700).say("I have a question.", ms=1_000).run(1_900)
    story.voice(500).run(3_000)
    assert story.said()[-1] == PHRASES.apology


def test_an_empty_reply_during_a_noise_over_what_is_still_playing_is_apologised_for_too() -> None:
    story = talking(ends_turns=True)
    story.reply("", first_ms=300).say("Hello?", ms=199).run(700)
    story.voice(400).run(6_000)
    assert len(story.all(fx.Resume)) == 1
    assert story.said()[-1] == PHRASES.apology


def test_words_while_it_thinks_are_part_of_the_question() -> None:
    story = thinking().reply("The weather is fine.")
    story.say("It is about the weather.", ms=1_200).run(9_000)
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    assert "Here it comes." not in story.said()
    assert [m.content for m in story.all(fx.AskReply)[-1].messages[2:]] == [
        "I have a question.",
        "It is about the weather.",
    ]


def test_a_brief_word_while_it_thinks_counts_as_soon_as_it_is_understood() -> None:
    """It used to be answered only after the reply to what came before."""
    story = thinking().reply("Fine.").say("No, wait.", ms=400).run(9_000)
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    assert "Here it comes." not in story.said()
    assert story.heard()[-2:] == ["c: No, wait.", "a: Fine."]


@pytest.mark.parametrize("ms", [150, 300])
def test_a_listening_noise_while_it_thinks_asks_nothing_new(ms: int) -> None:
    story = told(ends_turns=True).reply("Here it comes. ", first_ms=3_000)
    story.say("I have a question.", ms=1_000).run(1_600)
    story.say("Mm-hm.", ms=ms).run(9_000)
    assert len(story.all(fx.AskReply)) == 1
    assert story.heard()[-2:] == ["c: Mm-hm.", "a: Here it comes."]


def test_a_voice_that_stops_after_everything_was_heard_leaves_the_floor_to_the_caller() -> None:
    story = told().reply("Let me think. ", hangs=True).say("Hello there.", ms=800).run(4_000)
    story.voice(300).run(250)
    assert story.phase() is Phase.INTERRUPTED
    story.finish(1)
    story.run(500)
    assert story.phase() is Phase.LISTENING
    assert story.heard()[-1] == "a: Let me think."
    assert not story.all(fx.TurnTaken)[-1].interrupted
    assert story.call.spending.purse.pending == 0


def test_a_noise_after_a_last_word_does_not_keep_the_call_open() -> None:
    story = told().reply("So long then. ", hangs=True).say("I have to go.", ms=800).run(4_000)
    assert story.phase() is Phase.THINKING
    story.voice(300).run(250)
    story.finish(1)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert story.heard()[-1] == "a: So long then."


# -- what is not interrupted -----------------------------------------------------------


def test_a_noise_over_the_disclosure_stops_neither_it_nor_the_greeting() -> None:
    story = Story(started()).answer().voice(1_200).run(6_000)
    assert story.all(fx.Pause) == []
    assert story.heard()[0] == f"a: {PHRASES.disclosure} {PHRASES.greeting}"


def test_a_noise_over_the_question_whether_anybody_is_there() -> None:
    story = told()
    story.run(to=story.now + 9_000)
    assert story.said()[-1] == PHRASES.still_there
    story.voice(300).run(4_000)
    assert (len(story.all(fx.Pause)), len(story.all(fx.Resume))) == (1, 1)
    assert story.heard()[-1] == f"a: {PHRASES.still_there}"
    assert story.phase() is Phase.LISTENING


def test_a_noise_over_the_greeting_loses_none_of_it() -> None:
    story = Story(started()).answer().run(2_500).voice(350).run(9_000)
    assert len(story.all(fx.Resume)) == 1
    assert story.heard()[0] == f"a: {PHRASES.disclosure} {PHRASES.greeting}"


def test_a_pause_costs_nothing_and_nothing_is_paid_twice() -> None:
    story = talking().say("", ms=400).run(9_000).say("Wait, what?", ms=600).run(6_000)
    chars = len(PHRASES.greeting) + len(LONG) + len("All right then.")
    assert story.call.spending.meter.total("tts:voice:char") == chars
    assert story.call.spending.purse.pending == Nanos(0)
