"""Replies begun before the caller's turn is over: held back, then used or dropped, and always accounted for."""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.money import Nanos
from pipeline.core.tariff import cost
from pipeline.core.terms import Limits, Manners
from tests.core.story import ANSWERED, LLM_IN, LLM_OUT, PHRASES, PLENTY, Story, minutes_paid, started

QUESTION = "What is new with you?"


def told(
    *, ends_turns: bool = True, eager: bool = True, allowed: Nanos = PLENTY, idle_ms: int = 9_000
) -> Story:
    """A call in which the greeting has been heard."""
    start = started(
        allowed,
        transcriber_ends_turns=ends_turns,
        manners=Manners(eager=eager),
        limits=Limits(idle_prompt_ms=idle_ms),
    )
    return Story(start).answer().hear_out()


def likely(story: Story, text: str = QUESTION, after: int = 0) -> Story:
    return story.post(lambda at: ev.TurnLikelyEnded(at, text), after)


def over(story: Story, text: str = QUESTION, after: int = 0) -> Story:
    return story.post(lambda at: ev.TurnEnded(at, text), after)


def guessed(story: Story, *pieces: str, **how: object) -> Story:
    """The caller has spoken for a second and is probably done, a fifth of a second ago."""
    story.reply(*pieces, **how)
    story.voice(1_000).run(1_300)
    return likely(story).run(200)


def asked(story: Story) -> list[str]:
    """What was last said to the model, order by order."""
    return [order.messages[-1].content for order in story.all(fx.AskReply)]


def settled(story: Story) -> list[tuple[int, bool]]:
    return [(told.reply, told.committed) for told in story.all(fx.EagerSettled)]


# -- used ------------------------------------------------------------------------------


def test_it_is_asked_for_at_once_and_held_until_the_turn_is_over() -> None:
    story = guessed(told(), "Not much. ", "And you?", first_ms=50)
    assert asked(story) == [QUESTION]
    assert story.phase() is Phase.LISTENING
    story.run(400)
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    over(story).run()
    assert story.said()[2:] == ["Not much.", "And you?"]
    assert story.phase() is Phase.SPEAKING
    assert len(story.all(fx.AskReply)) == 1
    assert story.run(5_000).heard()[1:] == [f"c: {QUESTION}", "a: Not much. And you?"]


def test_a_reply_that_is_still_being_written_when_the_turn_ends_follows_as_it_comes() -> None:
    story = guessed(told(), "Not much. ", "And you? ", "Well then.", first_ms=230)
    over(story).run(0)
    assert story.phase() is Phase.THINKING
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    story.run(200)
    assert story.said()[2:] == ["Not much.", "And you?", "Well then."]


def test_it_is_settled_with_what_its_tokens_cost() -> None:
    story = guessed(told(), "Not much.", first_ms=50, tokens=(100, 0, 9))
    assert settled(story) == []  # written, but nobody knows yet whether for use
    over(story).run(3_000)
    assert story.all(fx.EagerSettled) == [
        fx.EagerSettled(1, True, Nanos(cost(LLM_IN, 100) + cost(LLM_OUT, 9)))
    ]
    assert story.charged(LLM_IN) == cost(LLM_IN, 100)


def test_without_a_transcriber_that_ends_turns_the_first_words_are_the_guess() -> None:
    story = told(ends_turns=False).reply("Not much.", first_ms=50).say(QUESTION, ms=1_000).run(1_350)
    assert asked(story) == [QUESTION]
    assert story.phase() is Phase.LISTENING
    story.run(3_000)
    assert story.when_said("Not much.") == story.all(fx.TurnTaken)[1].ended + 500 - ANSWERED
    assert settled(story) == [(1, True)]


def test_the_answer_is_timed_as_one_that_was_begun_early() -> None:
    story = guessed(told(), "Not much.", first_ms=50)
    over(story).run(3_000)
    (timed,) = story.all(fx.TurnTimed)
    assert timed.eager
    assert (timed.index, timed.first_token_ms, timed.end_of_turn_ms) == (1, 350, 500)
    assert timed.audible_ms == 500


# -- dropped ---------------------------------------------------------------------------


def test_a_caller_who_goes_on_has_it_dropped() -> None:
    story = guessed(told(), "Not much.", first_ms=900)
    story.post(ev.TurnResumed).run(100)
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    assert settled(story) == [(1, False)]
    story.reply("Fine, thanks.")
    over(story, "What is new with you and yours?", 500).run(5_000)
    assert asked(story) == [QUESTION, "What is new with you and yours?"]
    assert story.heard()[-1] == "a: Fine, thanks."
    assert settled(story) == [(1, False)]


def test_a_reply_written_to_its_end_before_the_caller_went_on_is_paid_for_in_vain() -> None:
    story = guessed(told(), "Not much.", first_ms=50, tokens=(100, 0, 9))
    story.post(ev.TurnResumed).run(50)
    assert story.all(fx.DropReply) == []  # nothing to stop
    assert [told.nano for told in story.all(fx.EagerSettled)] == [cost(LLM_IN, 100) + cost(LLM_OUT, 9)]
    assert settled(story) == [(1, False)]
    assert story.call.spending.purse.pending == 0
    over(story, "Never mind.", 300).run(3_000)
    assert "Not much." not in story.said()


def test_other_words_than_those_guessed_are_answered_anew() -> None:
    story = guessed(told(), "Not much.", first_ms=50).reply("Fine, thanks.")
    over(story, "What is new with Jude?").run(4_000)
    assert asked(story) == [QUESTION, "What is new with Jude?"]
    assert story.said()[2:] == ["Fine, thanks."]
    assert sorted(settled(story)) == [(1, False)]


def test_another_guess_takes_the_place_of_the_first() -> None:
    story = guessed(told(), "Not much.", first_ms=900).reply("Fine.", first_ms=50)
    likely(story).run(50)
    assert len(story.all(fx.AskReply)) == 1  # the same words again
    likely(story, "What is new with you, then?").run(200)
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    over(story, "What is new with you, then?").run(3_000)
    assert story.said()[2:] == ["Fine."]
    assert settled(story) == [(1, False), (2, True)]


def test_a_new_voice_drops_it_where_voice_activity_ends_turns() -> None:
    story = told(ends_turns=False).reply("Not much.", first_ms=900)
    story.say(QUESTION, ms=1_000).run(1_400)
    assert asked(story) == [QUESTION]
    story.reply("Fine, thanks.").say("And with yours?", ms=800).run(6_000)
    assert story.all(fx.DropReply)[0] == fx.DropReply(1)
    assert asked(story)[-1] == f"{QUESTION} And with yours?"
    assert settled(story)[0] == (1, False)
    assert "Not much." not in story.said()


def test_a_new_voice_leaves_it_alone_where_the_transcriber_says_when_the_turn_goes_on() -> None:
    story = guessed(told(), "Not much.", first_ms=900).voice(300).run(150)
    assert story.all(fx.DropReply) == []


def test_a_turn_that_turns_out_empty_drops_it() -> None:
    story = guessed(told(), "Not much.", first_ms=50)
    over(story, "").run(3_000)
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    assert settled(story) == [(1, False)]


def test_a_listening_noise_that_was_made_into_the_agents_speech_is_not_answered_after_all() -> None:
    story = Story(started(manners=Manners())).answer().run(3_000)
    story.say("Mm-hm.", ms=150)
    assert story.hear_out().call.phase is Phase.LISTENING
    story.run(4_000)
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
    assert {committed for _, committed in settled(story)} <= {False}


# -- what else happens while it is held back -------------------------------------------


def test_a_question_whether_anybody_is_there_drops_it() -> None:
    """Else it would have been spoken although its turn never ended."""
    story = guessed(told(), "Not much.", hangs=True).run(12_000)
    assert story.said()[2:] == [PHRASES.still_there]
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    assert story.phase() is Phase.LISTENING


def test_an_apology_drops_it() -> None:
    story = guessed(told(), "Not much.", first_ms=50)
    story.post(lambda at: ev.EngineFailed(at, "stt", 0, "failed")).run(100)
    assert story.said()[2:] == [PHRASES.apology]
    assert settled(story) == [(1, False)]
    story.say("", ms=300).run(4_000)
    assert story.said()[2:] == [PHRASES.apology]


def test_the_warning_drops_it() -> None:
    story = told(idle_ms=60_000).run(to=ANSWERED + 19_500)
    guessed(story, "Not much.", hangs=True)
    poor = Nanos(story.call.spending.meter.nano + 19_000_000)
    story.post(lambda at: ev.AllowanceChanged(at, poor, poor, story.start.allowance.binds, None)).run(200)
    assert story.said()[-1] == PHRASES.warning
    assert story.all(fx.DropReply) == [fx.DropReply(1)]
    story.run(300).reply("Fine.")
    over(story).run(4_000)
    assert len(story.all(fx.AskReply)) == 2
    assert story.said()[-1] == "Fine."


def test_a_guess_that_fails_is_asked_for_anew_when_the_turn_is_over() -> None:
    story = guessed(told(), fails=True, first_ms=50).reply("Fine, thanks.")
    assert story.said()[2:] == []
    over(story).run(4_000)
    assert asked(story) == [QUESTION, QUESTION]
    assert story.said()[2:] == ["Fine, thanks."]
    assert settled(story) == [(1, False)]
    (timed,) = story.all(fx.TurnTimed)
    assert not timed.eager


def test_a_guess_that_fails_after_it_was_taken_up_is_a_failure() -> None:
    story = guessed(told(), fails=True, first_ms=400)
    over(story).run(1_000)
    assert story.said()[2:] == [PHRASES.apology]
    assert settled(story) == [(1, True)]


def test_a_guess_that_comes_to_nothing_is_apologised_for_when_its_turn_is_over() -> None:
    story = guessed(told(), "", first_ms=50)
    assert story.said()[2:] == []
    over(story).run(100)
    assert story.said()[2:] == [PHRASES.apology]


def test_a_guess_in_which_the_model_ends_the_call_is_said_to_its_end() -> None:
    story = guessed(told(), "Take care then.", first_ms=50, hangs=True)
    story.post(lambda at: ev.ReplyEndsCall(at, 1)).run()
    assert story.phase() is Phase.LISTENING
    story.finish(1)
    over(story).run(200)
    story.voice(2_000)
    end = story.end()
    assert story.all(fx.Pause) == []
    assert story.heard()[-1] == "a: Take care then."
    assert end.reason is not None
    assert end.reason.value == "agent_ended"


def test_the_caller_hangs_up_in_the_middle_of_it() -> None:
    story = guessed(told(), "Not much.", first_ms=900).carrier_done()
    story.end()
    assert settled(story) == [(1, False)]
    assert story.all(fx.DropReply) == [fx.DropReply(1)]


def test_a_guess_whose_tokens_are_told_last_of_all_is_still_settled_before_the_end() -> None:
    story = guessed(told(), "Not much.", first_ms=900).carrier_done()
    story.run(10)
    assert story.phase() is Phase.HUNG_UP
    story.end()
    kinds = [type(effect) for _, effect in story.log][-2:]
    assert kinds == [fx.EagerSettled, fx.Ended]


# -- where nothing is guessed ----------------------------------------------------------


def test_not_where_the_manners_forbid_it() -> None:
    story = guessed(told(eager=False), "Not much.", first_ms=50)
    assert story.all(fx.AskReply) == []
    over(story).run(3_000)
    assert len(story.all(fx.AskReply)) == 1
    assert settled(story) == []


@pytest.mark.parametrize(("minutes", "slack", "eager"), [(2, 9_000_000, True), (2, 5_000_000, False)])
def test_not_where_money_is_short(minutes: int, slack: int, eager: bool) -> None:
    """Two replies must be affordable without taking time off the call, or leave two minutes of it."""
    story = guessed(told(allowed=minutes_paid(minutes, slack=slack)), "Not much.", first_ms=50)
    assert bool(story.all(fx.AskReply)) is eager
    over(story).run(3_000)
    assert "Not much." in story.said()


def test_not_after_the_warning() -> None:
    story = told(allowed=minutes_paid(2), idle_ms=10**7).run(to=ANSWERED + 64_000)
    assert story.all(fx.Warned)
    guessed(story, "Not much.", first_ms=50)
    assert story.all(fx.AskReply) == []
    over(story).run(3_000)
    assert len(story.all(fx.AskReply)) == 1


def test_not_to_somebody_who_takes_leave() -> None:
    story = told().reply("Bye then.")
    story.voice(900).run(1_100)
    likely(story, "I have to go.").run(200)
    assert story.all(fx.AskReply) == []
    over(story, "I have to go.").run(100)
    assert len(story.all(fx.AskReply)) == 1


def test_not_while_the_agent_speaks_and_not_to_nothing() -> None:
    story = told().reply("A rather long answer to all of this, as it were.").say("Go on.", ms=500).run(1_800)
    assert story.phase() is Phase.SPEAKING
    likely(story).run(100)
    assert len(story.all(fx.AskReply)) == 1
    story = likely(told(), "").run(100)
    assert story.all(fx.AskReply) == []


def test_not_to_words_that_sound_cut_off() -> None:
    story = told(ends_turns=False).say("I would like to, because", ms=1_000).run(1_400)
    assert story.all(fx.AskReply) == []
    story.run(800)
    assert asked(story) == ["I would like to, because"]


def test_words_of_a_transcriber_that_gave_way_are_part_of_the_guess() -> None:
    story = told(ends_turns=False, eager=True).reply("Where to?", first_ms=50)
    story.say("I was thinking of,", ms=1_000).run(1_350)
    story.post(lambda at: ev.Listening(at, "other", True)).voice(800).run(1_100)
    likely(story, "going away.").run(200)
    assert asked(story) == ["I was thinking of, going away."]
    over(story, "going away.").run(3_000)
    assert story.heard()[1:] == ["c: I was thinking of, going away.", "a: Where to?"]
    assert settled(story) == [(1, True)]


def test_a_turn_left_over_by_a_transcriber_that_gave_way_is_answered() -> None:
    story = told(ends_turns=False, eager=False).say(QUESTION, ms=1_000).run(1_400)
    story.post(lambda at: ev.Listening(at, "other", True)).run(2_000)
    assert asked(story) == [QUESTION]
