"""A voice that does not end: its sound has stopped coming, or it is a noise. It must not keep the floor for ever."""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.dues import LONGEST_VOICE_MS
from pipeline.core.terms import EndReason
from tests.core.story import ANSWERED, PHRASES, Story, minutes_paid, started

ONSET_MS = 100
LONG = "Once upon a time there was a very small house at the end of a very long road."


def told(*, ends_turns: bool = False) -> Story:
    """A call in which the greeting has been heard."""
    return Story(started(minutes_paid(10), transcriber_ends_turns=ends_turns)).answer().hear_out()


def begin(story: Story) -> Story:
    """A voice that begins, and of which nothing more is seen."""
    story.post(lambda at: ev.SpeechStarted(at, ONSET_MS), ONSET_MS).post(ev.SpeechHeld, 2 * ONSET_MS)
    return story.run(2 * ONSET_MS)


@pytest.mark.parametrize("ends_turns", [False, True])
def test_whoever_is_not_heard_any_more_is_asked_and_then_taken_leave_of(ends_turns: bool) -> None:
    story = told(ends_turns=ends_turns)
    begun = story.now
    begin(story).run(LONGEST_VOICE_MS + 60_000)
    asked = ANSWERED + story.when_said(PHRASES.still_there)
    assert asked == begun + LONGEST_VOICE_MS + story.start.limits.idle_prompt_ms
    assert story.all(fx.HangUp) == [fx.HangUp(EndReason.IDLE)]


def test_a_voice_of_which_words_come_may_be_as_long_as_it_likes() -> None:
    story = begin(told(ends_turns=True))
    for _ in range(4):
        story.run(LONGEST_VOICE_MS - 1_000).post(lambda at: ev.Heard(at, "and then")).run()
    assert story.phase() is Phase.LISTENING
    assert PHRASES.still_there not in story.said()


@pytest.mark.parametrize("ends_turns", [False, True])
def test_a_noise_without_end_does_not_silence_the_agent_for_ever(ends_turns: bool) -> None:
    story = told(ends_turns=ends_turns).reply(LONG)
    begin(story.say("Tell me a story, please.", ms=1_000).run(4_000))
    assert story.phase() is Phase.INTERRUPTED
    story.run(LONGEST_VOICE_MS - 3 * ONSET_MS)
    assert story.all(fx.Resume) == []
    story.run(2_000)
    assert len(story.all(fx.Resume)) == 1


def test_the_end_of_such_a_voice_that_comes_after_all_changes_nothing() -> None:
    story = begin(told()).run(LONGEST_VOICE_MS + 1_000)
    story.post(lambda at: ev.SpeechStopped(at, 200)).run(1_000)
    assert story.phase() is Phase.LISTENING
    story.say("Hello again.").run(3_000)
    assert "c: Hello again." in story.heard()
