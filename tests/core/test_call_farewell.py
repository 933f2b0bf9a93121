"""Who ends the call by words: the caller who takes leave or wants no more calls, and the model."""

from collections.abc import Callable

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason, Limits
from tests.core.story import ANSWERED, ENDED_BY_TRANSCRIBER, PHRASES, PLENTY, Story, minutes_paid, started

pytestmark = pytest.mark.usefixtures("ends_turns")

LEAVE = "Okay, I have to go."
STOP = "Stop calling me."
LONG = "Once upon a time there was a very small house at the end of a very long road."


def told(*, ends_turns: bool | None = None, allowed: Nanos = PLENTY, **limits: int) -> Story:
    """A call in which the greeting has been heard."""
    start = started(allowed, limits=Limits(**limits), transcriber_ends_turns=ends_turns)
    return Story(start).answer().hear_out()


# -- the caller takes leave ------------------------------------------------------------


def test_a_caller_who_takes_leave_gets_a_last_word_and_then_the_call_ends() -> None:
    story = told().reply("Good night, Ann. ", "Sleep well.").say(LEAVE, ms=1_000)
    end = story.end()
    assert story.heard()[-2:] == [f"c: {LEAVE}", "a: Good night, Ann. Sleep well."]
    assert end.reason is EndReason.AGENT_ENDED
    assert PHRASES.goodbye not in story.said()
    last_word = 60 * len("Good night, Ann.Sleep well.")
    assert story.times(fx.HangUp) == [story.when_said("Good night, Ann.") + last_word]


LAST_WORD = ("It was so good to talk to you, Ann. ", "Sleep well tonight, and take care.")


@pytest.mark.parametrize(
    "words",
    [
        "Oh, one more thing!",
        "Thank you so much for today.",
        "Thanks, bye!",
        "Mm-hm.",
        "",
        "Stay on the line.",
    ],
)
@pytest.mark.parametrize("ms", [150, 900])
def test_nothing_interrupts_the_last_word(words: str, ms: int) -> None:
    story = told().reply(*LAST_WORD, first_ms=300).say(LEAVE, ms=1_000).run(2_000)
    assert story.phase() is Phase.SPEAKING
    story.say(words, ms=ms)
    end = story.end()
    assert [*story.all(fx.Pause), *story.all(fx.Hush), *story.all(fx.DropReply)] == []
    assert len(story.all(fx.AskReply)) == 1
    assert " ".join(turn[3:] for turn in story.heard()[2:] if turn[0] == "a") == "".join(LAST_WORD)
    assert end.reason is EndReason.AGENT_ENDED


def test_nothing_interrupts_the_rest_of_it_that_is_yet_to_be_written() -> None:
    story = told().reply("Good night, Ann. ", "Sleep well.", hangs=True).say(LEAVE, ms=1_000).run(4_500)
    assert story.phase() is Phase.THINKING
    story.say("Thank you for everything, really.", ms=900).run(1_500)
    story.post(lambda at: ev.ReplyPiece(at, 1, " And take care of yourself.")).run(100)
    story.finish(1)
    end = story.end()
    assert [*story.all(fx.Pause), *story.all(fx.DropReply)] == []
    assert story.said()[-1] == "And take care of yourself."
    assert end.reason is EndReason.AGENT_ENDED


@pytest.mark.parametrize("at", range(9_000, 24_000, 250))
def test_no_warning_of_money_follows_the_last_word(at: int) -> None:
    story = told(allowed=minutes_paid(1)).reply(*LAST_WORD, first_ms=300).say(LEAVE, at=at, ms=1_000)
    story.end()
    said = story.said()
    last = LAST_WORD[-1]
    assert last not in said or said[-1] == last


@ENDED_BY_TRANSCRIBER
def test_what_is_said_into_the_last_word_stands_where_it_was_said() -> None:
    story = told().reply(*LAST_WORD).say(LEAVE, ms=1_000).run(3_500)
    story.say("Thank you so much for today.", ms=900)
    story.end()
    before, said, after = story.heard()[2:]
    assert said == "c: Thank you so much for today."
    assert [before, after] == [f"a: {part.strip()}" for part in LAST_WORD]


@pytest.mark.parametrize("ms", [400, 900])
def test_into_the_last_word_the_caller_may_still_ask_for_no_more_calls(ms: int) -> None:
    story = told().reply(*LAST_WORD).say(LEAVE, ms=1_000).run(2_000).say(STOP, ms=ms)
    assert story.end().reason is EndReason.OPTED_OUT
    assert story.said()[-1] == PHRASES.opted_out


def test_a_caller_who_goes_on_taking_leave_before_it_begins_is_not_kept() -> None:
    story = told().reply("Good night.", first_ms=3_000).say(LEAVE, ms=1_000).run(1_600)
    assert story.phase() is Phase.THINKING
    story.reply("Sleep well, Ann.").say("Thank you so much.", ms=900)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert story.heard()[-1] == "a: Sleep well, Ann."


@ENDED_BY_TRANSCRIBER
def test_a_word_more_before_it_begins_changes_nothing() -> None:
    """Too brief to be an interruption, so that the reply under way stays."""
    story = told().reply("Good night.", first_ms=3_000).say(LEAVE, ms=1_000).run(1_600)
    story.say("Bye!", ms=150)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert len(story.all(fx.AskReply)) == 1
    assert story.heard()[2:] == ["c: Bye!", "a: Good night."]


def test_a_caller_who_thinks_better_of_it_in_time_is_listened_to() -> None:
    story = told().reply("Good night.", first_ms=3_000).say(LEAVE, ms=1_000).run(1_600)
    assert story.phase() is Phase.THINKING
    story.reply("What is it?").say("Oh, one more thing!", ms=1_500).run(6_000)
    assert "Good night." not in story.said()
    assert story.heard()[-1] == "a: What is it?"
    assert story.phase() is Phase.LISTENING


def test_a_last_word_that_cannot_be_afforded_is_the_goodbye_from_stock() -> None:
    story = told(allowed=minutes_paid(1, slack=200_000), idle_prompt_ms=10**7)
    end = story.say(LEAVE, at=30_000, ms=1_000).end()
    assert story.all(fx.AskReply) == []
    assert story.said()[-1] == PHRASES.goodbye
    assert end.reason is EndReason.AGENT_ENDED


def test_a_last_word_that_cannot_be_afforded_needs_no_warning() -> None:
    story = told(allowed=minutes_paid(1, slack=200_000), idle_prompt_ms=10**7)
    end = story.say(LEAVE, at=15_000, ms=1_000).end()
    assert story.all(fx.Warned) == []
    assert story.said()[-1] == PHRASES.goodbye
    assert end.reason is EndReason.AGENT_ENDED


@pytest.mark.parametrize("how", [{"fails": True}, {"hangs": True}, {"tokens": (40, 0, 0)}])
def test_a_last_word_that_does_not_come_is_the_goodbye_from_stock(how: dict[str, object]) -> None:
    story = told().reply(**how)
    end = story.say(LEAVE, ms=1_000).end()
    assert story.said()[2:] == [PHRASES.goodbye]
    assert end.reason is EndReason.AGENT_ENDED


def test_a_last_word_that_breaks_off_is_followed_by_the_goodbye() -> None:
    story = told().reply("Good night, ", "Ann. And ", fails=True)
    end = story.say(LEAVE, ms=1_000).end()
    assert story.said()[-1] == PHRASES.goodbye
    assert end.reason is EndReason.AGENT_ENDED


def test_a_last_word_that_cannot_be_said_is_the_goodbye_from_stock() -> None:
    story = told().reply("Good night.")
    story.mute, story.stock = True, PHRASES.all
    end = story.say(LEAVE, ms=1_000).end()
    assert story.said()[2:] == ["Good night.", PHRASES.goodbye]
    assert end.reason is EndReason.AGENT_ENDED


def test_a_transcriber_that_fails_during_the_last_word_does_not_cut_it() -> None:
    story = told().reply("Good night, Ann. ", "Sleep well.").say(LEAVE, ms=1_000).run(2_000)
    story.post(lambda at: ev.EngineFailed(at, "stt", 0, "failed")).run()
    story.end()
    assert story.heard()[-1] == "a: Good night, Ann. Sleep well."


def test_the_warning_about_money_does_not_come_between() -> None:
    story = told(allowed=minutes_paid(2), idle_prompt_ms=10**7).reply("Good night, Ann. ", LONG)
    end = story.say(LEAVE, at=57_000, ms=1_000).end()
    assert end.reason is EndReason.AGENT_ENDED
    assert story.heard()[-1].startswith("a: Good night, Ann.")


def test_a_socket_that_breaks_before_the_last_word_does_not_keep_the_caller() -> None:
    story = told().reply("Never heard.", first_ms=3_000).say(LEAVE, ms=1_000).run(1_600)
    story.reply("Good night, Ann.").post(ev.LineBroken).post(ev.StreamStarted, 900)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert story.heard()[-1] == f"a: {PHRASES.dropped} Good night, Ann."


# -- the model ends the call -----------------------------------------------------------


def ends(story: Story, reply: int = 1, after: int = 0) -> Story:
    return story.post(lambda at: ev.ReplyEndsCall(at, reply), after)


def test_a_reply_with_which_the_model_ends_the_call_is_the_last_and_is_not_interrupted() -> None:
    story = told().reply("Take care, then. ", "Goodbye, Ann.", hangs=True).say("That was all.", ms=900)
    story.run(2_000)
    ends(story).run()
    story.finish(1)
    story.say("But wait!", ms=900)
    end = story.end()
    assert story.all(fx.Pause) == []
    assert (
        " ".join(turn[3:] for turn in story.heard()[2:] if turn[0] == "a") == "Take care, then. Goodbye, Ann."
    )
    assert end.reason is EndReason.AGENT_ENDED


def test_a_last_reply_whose_marks_the_carrier_loses_ends_the_call_all_the_same() -> None:
    story = told().reply("Goodbye, Ann.", hangs=True)
    story.marks_come = False
    story.say("That was all.", ms=900).run(1_800)
    ends(story).run()
    story.finish(1)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert len(story.all(fx.AskReply)) == 1


def test_a_model_that_ends_the_call_without_a_word_has_the_goodbye_said_for_it() -> None:
    story = told().reply(hangs=True).say("That was all.", ms=900).run(2_000)
    ends(story).run()
    story.finish(1)
    end = story.end()
    assert story.said()[2:] == [PHRASES.goodbye]
    assert end.reason is EndReason.AGENT_ENDED


def test_the_wish_may_come_before_the_words() -> None:
    story = told().reply("Goodbye, Ann.", first_ms=900)
    ends(story.say("That was all.", ms=900).run(1_500)).run(1_000)
    story.voice(2_000)
    assert story.end().reason is EndReason.AGENT_ENDED
    assert story.heard()[-1] == "a: Goodbye, Ann."


def test_the_wish_of_a_reply_that_was_dropped_ends_nothing() -> None:
    story = told().reply("Goodbye, Ann.", first_ms=3_000).say("That was all.", ms=900).run(1_500)
    story.reply("Yes?").say("No, wait a moment.", ms=1_200).run(2_500)
    ends(story).run(5_000)
    assert story.heard()[-1] == "a: Yes?"
    assert story.phase() is Phase.LISTENING


# -- no more calls ---------------------------------------------------------------------

Begin = Callable[[], Story]


def ringing() -> Story:
    return Story(started()).run(to=1_000)


def connecting() -> Story:
    return Story(started()).run(to=ANSWERED).post(ev.Answered).run()


def greeting() -> Story:
    return Story(started()).answer().run(300)


def thinking() -> Story:
    return told().reply("Well. ", first_ms=5_000).say("Tell me a story.", ms=900).run(1_500)


def speaking() -> Story:
    return told().reply(LONG).say("Tell me a story.", ms=900).run(2_500)


def stopped() -> Story:
    return speaking().voice(9_000).run(300)


def machine() -> Story:
    return told().post(lambda at: ev.MachineDetected(at, "machine_start")).run()


def closing() -> Story:
    return told().post(lambda at: ev.HangUpAsked(at, EndReason.DRAINED)).run(300)


def hung_up() -> Story:
    return told().post(lambda at: ev.HangUpAsked(at, EndReason.USER_HUNG_UP)).run(50)


PHASES: list[tuple[Begin, Phase]] = [
    (greeting, Phase.SPEAKING),
    (told, Phase.LISTENING),
    (thinking, Phase.THINKING),
    (speaking, Phase.SPEAKING),
    (stopped, Phase.INTERRUPTED),
    (machine, Phase.MACHINE),
]


def press(story: Story, digit: str = "9") -> Story:
    return story.post(lambda at: ev.DigitPressed(at, digit)).run()


@pytest.mark.parametrize(("begin", "phase"), PHASES)
def test_the_nine_ends_the_call_with_a_confirmation(begin: Begin, phase: Phase) -> None:
    story = begin()
    assert story.phase() is phase
    press(press(story))
    assert story.all(fx.OptedOut) == [fx.OptedOut("key")]
    assert story.said()[-1] == PHRASES.opted_out
    assert story.end().reason is EndReason.OPTED_OUT
    assert story.heard()[-1] == f"a: {PHRASES.opted_out}"


def test_the_nine_before_there_is_sound_hangs_up() -> None:
    story = press(connecting())
    assert story.all(fx.OptedOut) == [fx.OptedOut("key")]
    assert story.end().reason is EndReason.OPTED_OUT
    assert story.said() == []


def test_nobody_presses_anything_while_it_rings() -> None:
    assert press(ringing()).all(fx.OptedOut) == []


@pytest.mark.parametrize(
    ("begin", "reason"), [(closing, EndReason.DRAINED), (hung_up, EndReason.USER_HUNG_UP)]
)
def test_the_nine_during_another_end_counts_and_does_not_cut_it(begin: Begin, reason: EndReason) -> None:
    story = press(begin())
    assert story.all(fx.OptedOut) == [fx.OptedOut("key")]
    assert PHRASES.opted_out not in story.said()
    assert story.end().reason is reason


def test_other_keys_mean_nothing() -> None:
    story = press(press(told(), "1"), "#")
    assert story.all(fx.OptedOut) == []
    assert story.phase() is Phase.LISTENING


@pytest.mark.parametrize("ends_turns", [False, True])
def test_by_voice_it_takes_the_whole_turn(ends_turns: bool) -> None:
    story = told(ends_turns=ends_turns).say("Stop.", ms=400).run(4_000)
    assert story.all(fx.OptedOut) == []
    story = told(ends_turns=ends_turns).say(STOP, ms=900)
    assert story.end().reason is EndReason.OPTED_OUT
    assert story.all(fx.OptedOut) == [fx.OptedOut("voice")]
    assert story.heard()[-2:] == [f"c: {STOP}", f"a: {PHRASES.opted_out}"]


@pytest.mark.parametrize(("begin", "phase"), [*PHASES, (closing, Phase.CLOSING)])
def test_by_voice_it_works_whatever_goes_on(begin: Begin, phase: Phase) -> None:
    story = begin()
    if phase is Phase.INTERRUPTED:
        story = speaking()
    story.say(STOP, ms=900).run(6_000)
    story.end()
    assert story.all(fx.OptedOut) == [fx.OptedOut("voice")]
    if phase is not Phase.CLOSING:
        assert story.said()[-1] == PHRASES.opted_out


@pytest.mark.parametrize("begin", [closing, machine])
def test_by_voice_it_works_in_every_phase_with_a_transcriber_that_ends_turns_too(begin: Begin) -> None:
    story = begin().post(lambda at: ev.TurnEnded(at, STOP), 400).run(500)
    assert story.all(fx.OptedOut) == [fx.OptedOut("voice")]
    story.end()


def test_where_many_words_make_an_interruption_these_are_enough() -> None:
    story = told(barge_in_words=5).reply(LONG).say("Tell me a story.", ms=900).run(2_500)
    story.say(STOP, ms=900)
    assert story.end().reason is EndReason.OPTED_OUT
