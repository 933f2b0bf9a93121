"""How fast a turn was answered, from the caller's last audible sample to the answer's first one."""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.effects import TurnTimed
from pipeline.core.events import Audible, AudioQueued
from pipeline.core.money import Millis
from pipeline.core.terms import Limits
from pipeline.core.timing import Timing
from tests.core.story import ANSWERED, PHRASES, Story, minutes_paid, started

LONG = "Once upon a time there was a very small house at the end of a very long road."


def queued(at: int, utterance: int, chunk: int, ms: int = 400) -> AudioQueued:
    return AudioQueued(Millis(at), utterance, chunk, ms, "0")


def answering(*, eager: bool = False) -> Timing:
    """The caller fell silent at 10,000; the answer's first chunk is on its way since 10,905."""
    timing = Timing()
    if eager:
        timing.token(7, Millis(10_400))
    timing.asked(3, Millis(10_000), Millis(10_500), 7, eager=eager)
    timing.token(7, Millis(10_700))
    timing.token(7, Millis(10_750))
    timing.said(5)
    timing.said(6)
    timing.bought(5, Millis(10_880))
    timing.bought(5, Millis(10_881))
    timing.audible(Audible(Millis(10_900), 5, 60))
    timing.audible(Audible(Millis(10_999), 5, 0))
    timing.queued(queued(10_905, 5, 11))
    timing.queued(queued(10_905, 5, 12))
    return timing


# -- on its own ------------------------------------------------------------------------


def test_every_stage_is_counted_from_the_callers_last_audible_sample() -> None:
    assert answering().reached(11, Millis(11_305)) == TurnTimed(
        index=3,
        speech_end=Millis(10_000),
        end_of_turn_ms=500,
        first_token_ms=700,
        first_audio_ms=880,
        first_frame_ms=905,
        audible_ms=960,
        eager=False,
    )


def test_a_mark_that_comes_back_late_is_the_distance_to_the_carrier() -> None:
    timed = answering().reached(11, Millis(11_305 + 80))
    assert timed is not None
    assert (timed.audible_ms, timed.first_frame_ms) == (960 + 80, 905)


def test_a_mark_that_comes_back_early_is_no_distance() -> None:
    timed = answering().reached(11, Millis(11_200))
    assert timed is not None
    assert timed.audible_ms == 960


def test_an_answer_is_told_of_once() -> None:
    timing = answering()
    assert timing.reached(12, Millis(11_300)) is None  # not the first chunk
    assert timing.reached(11, Millis(11_305)) is not None
    assert timing.reached(11, Millis(11_306)) is None


def test_a_reply_that_was_begun_early_wrote_before_it_was_asked_for() -> None:
    timed = answering(eager=True).reached(11, Millis(11_305))
    assert timed is not None
    assert (timed.eager, timed.first_token_ms, timed.end_of_turn_ms) == (True, 400, 500)


def test_an_answer_that_failed_or_was_interrupted_is_not_told_of() -> None:
    timing = answering()
    timing.drop()
    assert timing.reached(11, Millis(11_305)) is None
    timing = answering()
    timing.cleared()
    assert timing.reached(11, Millis(11_305)) is None


def test_an_answer_of_which_something_is_unknown_is_not_told_of() -> None:
    timing = Timing()
    timing.asked(3, Millis(10_000), Millis(10_500), 7, eager=False)
    timing.said(5)
    timing.queued(queued(10_905, 5, 11))
    assert timing.reached(11, Millis(11_305)) is None


def test_other_utterances_and_replies_are_not_the_answer() -> None:
    timing = Timing()
    timing.asked(3, Millis(10_000), Millis(10_500), 7, eager=False)
    timing.token(6, Millis(10_600))
    timing.said(5)
    for utterance in (4, 6):
        timing.bought(utterance, Millis(10_600))
        timing.audible(Audible(Millis(10_600), utterance, 0))
        timing.queued(queued(10_600, utterance, utterance))
        assert timing.reached(utterance, Millis(11_000)) is None


def test_an_answer_behind_other_sound_waits_for_it_and_is_no_farther_away_for_that() -> None:
    timing = Timing()
    timing.queued(queued(10_800, 4, 10, 1_000))
    timing.asked(3, Millis(10_000), Millis(10_500), 7, eager=False)
    timing.token(7, Millis(10_700))
    timing.said(5)
    timing.bought(5, Millis(10_880))
    timing.audible(Audible(Millis(10_900), 5, 900))
    timing.queued(queued(10_900, 5, 11))
    timed = timing.reached(11, Millis(12_200 + 30))
    assert timed is not None
    assert timed.audible_ms == 1_800 + 30


def test_what_was_cleared_does_not_play_first() -> None:
    timing = Timing()
    timing.queued(queued(9_000, 4, 10, 9_000))
    timing.cleared()
    timing.asked(3, Millis(10_000), Millis(10_500), 7, eager=False)
    timing.token(7, Millis(10_700))
    timing.said(5)
    timing.bought(5, Millis(10_880))
    timing.audible(Audible(Millis(10_900), 5, 0))
    timing.queued(queued(10_900, 5, 11))
    timed = timing.reached(11, Millis(11_350))
    assert timed is not None
    assert timed.audible_ms == 900 + 50


# -- in a call -------------------------------------------------------------------------


def told(*, ends_turns: bool = False) -> Story:
    return Story(started(transcriber_ends_turns=ends_turns)).answer().hear_out()


def test_an_answered_turn_is_timed_by_what_really_happened() -> None:
    story = told().reply("I am well. ", first_ms=300)
    story.distance_ms = 45
    begun = story.now
    story.say("How are you?", ms=1_000).run(6_000)
    assert story.all(fx.TurnTimed) == [
        TurnTimed(
            index=1,
            speech_end=Millis(begun + 1_000),
            end_of_turn_ms=500,
            first_token_ms=800,
            first_audio_ms=800,
            first_frame_ms=800,
            audible_ms=800 + 45,
            eager=False,
        )
    ]
    assert story.times(fx.TurnTimed) == [begun + 1_800 + 400 + 45 - ANSWERED]


def test_every_turn_that_is_answered_is_timed() -> None:
    story = told()
    for _ in range(3):
        story.say("How are you?", ms=1_000).run(6_000)
    assert [timed.index for timed in story.all(fx.TurnTimed)] == [1, 3, 5]


def test_an_answer_interrupted_before_its_first_mark_is_not_told_of() -> None:
    """The carrier echoes the mark of what it dropped, as though it had been heard."""
    story = told().reply(LONG).say("Tell me a story.", ms=1_000).run(1_900)
    assert story.said()[-1] == LONG
    story.say("Wait a moment, please.", ms=1_500).reply("Yes?").run(6_000)
    assert [timed.index for timed in story.all(fx.TurnTimed)] == [2]


def test_nor_is_one_that_a_noise_put_off() -> None:
    story = told().reply(LONG).say("Tell me a story.", ms=1_000).run(1_900).say("", ms=300).run(9_000)
    assert len(story.all(fx.Resume)) == 1
    assert story.all(fx.TurnTimed) == []


def test_one_interrupted_after_its_first_mark_is() -> None:
    story = told().reply(LONG).say("Tell me a story.", ms=1_000).run(3_500)
    story.say("Wait a moment, please.", ms=1_500).reply("Yes?").run(6_000)
    assert [timed.index for timed in story.all(fx.TurnTimed)] == [1, 3]


def test_an_apology_is_no_answer() -> None:
    story = told().reply(fails=True).say("How are you?", ms=1_000).run(6_000)
    assert story.all(fx.TurnTimed) == []


def test_an_answer_to_something_said_into_the_agents_speech_waits_for_that() -> None:
    story = told(ends_turns=True).reply(LONG).say("Tell me a story.", ms=1_000).run(3_000)
    story.distance_ms = 45
    story.reply("A house.").say("Hello?", ms=150).run(9_000)
    first, second = story.all(fx.TurnTimed)
    ends = story.when_said(LONG) + 60 * len(LONG)
    assert second.audible_ms == ends + 45 - (second.speech_end - ANSWERED)
    assert first.audible_ms < 1_000 < second.audible_ms


@pytest.mark.parametrize(
    ("at", "ms", "first_ms"),
    [
        (58_400, 1_000, 6_000),  # the model is slow, and the warning due for five seconds
        (57_000, 2_700, 1_500),  # the turn was not over
        (55_000, 9_000, 1_500),  # it had waited for the caller
        (55_000, 10_200, 300),  # it is spoken into the caller's speech, and lasts longer
    ],
)
def test_an_answer_behind_the_warning_is_not_timed(at: int, ms: int, first_ms: int) -> None:
    """The caller hears the warning at once; that the answer comes after it makes nobody slow."""
    story = Story(started(minutes_paid(2), limits=Limits(idle_prompt_ms=60_000))).answer().hear_out()
    story.reply("I am well. ", first_ms=first_ms).say("How are you?", at=at, ms=ms).run(16_000)
    assert story.said()[-2:] == [PHRASES.warning, "I am well."]
    assert story.all(fx.TurnTimed) == []
    story.reply("So it is.", first_ms=300).say("It is raining.", ms=1_000).run(6_000)
    (timed,) = story.all(fx.TurnTimed)
    assert timed.audible_ms < 1_000


def test_a_warning_behind_the_answer_takes_nothing_from_its_time() -> None:
    timing = answering()
    timing.warned(9, Millis(10_950))
    timing.queued(queued(10_960, 9, 13))
    assert timing.reached(11, Millis(11_305)) is not None


def test_marks_that_never_come_leave_it_untimed() -> None:
    story = told()
    story.marks_come = False
    story.say("How are you?", ms=1_000).run(20_000)
    assert story.all(fx.TurnTimed) == []


def test_a_guess_that_was_dropped_does_not_lend_its_first_words_to_the_next_reply() -> None:
    timing = Timing()
    timing.token(6, Millis(9_000))
    timing.asked(3, Millis(10_000), Millis(10_500), 7, eager=False)
    timing.said(5)
    timing.bought(5, Millis(10_880))
    timing.audible(Audible(Millis(10_900), 5, 60))
    timing.queued(queued(10_905, 5, 11))
    assert timing.reached(11, Millis(11_305)) is None  # its own first words are not known


@pytest.mark.parametrize("ends_turns", [False, True])
def test_a_cough_just_before_the_answer_is_not_what_it_answers(ends_turns: bool) -> None:
    plain, coughed = (told(ends_turns=ends_turns).reply("Well.", first_ms=600) for _ in range(2))
    for story, cough in ((plain, False), (coughed, True)):
        story.say("How are you?", ms=1_000).run(1_900)
        if cough:
            story.voice(150)
        story.run(5_000)
    (undisturbed,) = plain.all(fx.TurnTimed)
    (disturbed,) = coughed.all(fx.TurnTimed)
    assert (disturbed.end_of_turn_ms, disturbed.audible_ms) == (
        undisturbed.end_of_turn_ms,
        undisturbed.audible_ms,
    )


def test_an_answer_to_words_without_a_voice_is_not_timed() -> None:
    story = told().post(lambda at: ev.SegmentHeard(at, "Can you hear me?"), 500).run(9_000)
    assert story.all(fx.AskReply)
    assert story.all(fx.TurnTimed) == []


def test_a_model_that_takes_over_begins_anew() -> None:
    for early in (True, False):
        timing = Timing()
        if not early:
            timing.asked(0, Millis(10_000), Millis(10_250), 7, eager=False)
        timing.token(7, Millis(10_400), begins=True)
        timing.token(7, Millis(10_500), begins=True)
        timing.token(7, Millis(10_600))
        if early:
            timing.asked(0, Millis(10_000), Millis(10_650), 7, eager=True)
        timing.said(1)
        timing.bought(1, Millis(10_700))
        timing.audible(ev.Audible(Millis(10_700), 1, 0))
        timing.queued(ev.AudioQueued(Millis(10_700), 1, 1, 400, "0"))
        timed = timing.reached(1, Millis(11_100))
        assert timed is not None
        assert timed.first_token_ms == 500
