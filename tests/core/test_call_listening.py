"""What the agent does while the caller tells something long: it waits for the end, and may say "mm-hm"."""

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.terms import Manners
from tests.core.story import PHRASES, TTS, Story, started

PARTS = (
    "So I went to the shop, and",
    "there was nobody in it, so",
    "I waited for an hour, and then",
    "I left.",
)


def told(*, ends_turns: bool = False, backchannels: bool = True) -> Story:
    manners = Manners(eager=False, backchannels=backchannels)
    return Story(started(transcriber_ends_turns=ends_turns, manners=manners)).answer().hear_out()


def long_story(story: Story, parts: tuple[str, ...] = PARTS) -> Story:
    """Stretches of it, with pauses between."""
    for part in parts:
        story.say(part, ms=3_400).run(4_200)
    return story


def test_a_turn_that_sounds_cut_off_is_waited_for_longer() -> None:
    story = told(backchannels=False).say("I would like to, because", ms=1_000)
    begun = story.now
    story.run(4_000)
    (asked,) = [at for at, effect in story.log if isinstance(effect, fx.AskReply)]
    assert asked == begun + 1_000 + 1_000


def test_long_stories_are_heard_out() -> None:
    story = long_story(told(backchannels=False)).run(3_000)
    assert story.heard()[1] == "c: " + " ".join(PARTS)
    assert PHRASES.listening not in story.said()


def test_in_the_pauses_of_a_long_story_somebody_listens() -> None:
    story = long_story(told()).run(3_000)
    assert story.said().count(PHRASES.listening) == 2
    first, second = [at for at, e in story.log if isinstance(e, fx.Say) and e.text == PHRASES.listening]
    assert second - first >= 4_000
    assert story.heard()[1:] == ["c: " + " ".join(PARTS), "a: All right then."]


def test_it_is_no_turn_costs_nothing_and_stops_nobody() -> None:
    plain, listening = long_story(told(backchannels=False)), long_story(told())
    for story in (plain, listening):
        story.run(5_000)
    assert listening.heard() == plain.heard()
    assert listening.charged(TTS) == plain.charged(TTS)
    assert listening.all(fx.AskReply) == plain.all(fx.AskReply)
    assert [*listening.all(fx.Pause), *listening.all(fx.Hush)] == []
    (timed,) = listening.all(fx.TurnTimed)
    assert timed.index == 1


def test_a_short_remark_gets_none() -> None:
    story = told().say("Well, and", ms=900).run(1_200)
    assert PHRASES.listening not in story.said()


def test_a_transcriber_that_says_when_the_turn_goes_on_is_followed() -> None:
    story = told(ends_turns=True).voice(12_000).run(3_000)
    story.post(ev.TurnResumed).run(10)
    assert PHRASES.listening not in story.said()
    story.run(1_500).post(ev.TurnResumed).post(ev.TurnResumed, 100).run(200)
    assert story.said().count(PHRASES.listening) == 1
    assert story.phase() is Phase.LISTENING
    story.run(2_500).post(ev.TurnResumed).run(10)
    assert story.said().count(PHRASES.listening) == 1
    story.run(1_500).post(ev.TurnResumed).run(10)
    assert story.said().count(PHRASES.listening) == 2


def test_none_is_said_into_the_agents_own_speech() -> None:
    story = told(ends_turns=True).reply("A rather long answer to all of it, as it were, and then some.")
    story.say("Go on.", ms=500).run(1_500)
    story.post(ev.TurnResumed).run(10)
    assert PHRASES.listening not in story.said()


def test_one_that_cannot_be_said_is_nobodys_trouble() -> None:
    story = told()
    story.mute = True
    long_story(story, PARTS[:3])
    assert PHRASES.listening in story.said()
    assert PHRASES.apology not in story.said()
    assert story.phase() is Phase.LISTENING


def test_a_turn_that_ends_over_one_is_answered_all_the_same() -> None:
    story = told().reply("I see.", first_ms=50)
    for part in PARTS[:2]:
        story.say(part, ms=2_500).run(3_000)
    assert not story.call.playout.silent
    story.post(lambda at: ev.TurnEnded(at, "That was it.")).run(4_000)
    assert story.heard()[-1] == "a: I see."


def test_a_caller_who_speaks_over_one_does_not_stop_anything() -> None:
    story = told().say(PARTS[0], ms=2_500).run(3_000).say(PARTS[1], ms=2_500).run(2_810)
    assert not story.call.playout.silent
    story.voice(3_000).run(1_000)
    assert story.phase() is Phase.LISTENING
    assert story.all(fx.Pause) == []


@pytest.mark.parametrize("kind", ["machine_start", "fax"])
def test_one_under_way_leaves_no_trace_when_the_call_turns_out_otherwise(kind: str) -> None:
    story = told().say(PARTS[0], ms=2_500).run(3_000).say(PARTS[1], ms=2_500).run(2_810)
    story.post(lambda at: ev.MachineDetected(at, kind)).run(10)
    assert len(story.all(fx.Hush)) == 1
    assert all(PHRASES.listening not in turn for turn in story.heard())
