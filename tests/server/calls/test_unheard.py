"""What of the agent's turns the caller did not hear, from the effects of a call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import effects as fx
from pipeline.core.money import Millis
from server.calls.unheard import notes_of
from storage.notes import Unheard
from tests.core.story import Story, started

HOW = [fx.Say(1, "How are you?"), fx.Say(2, "I was worried.")]
CALLER = fx.TurnTaken(1, "caller", "Hello there.", Millis(0), Millis(100))


def agent(text: str, index: int = 0, *, interrupted: bool = True) -> fx.Effect:
    return fx.TurnTaken(index, "agent", text, Millis(0), Millis(100), interrupted)


def unheard(*effects: fx.Effect) -> list[Unheard]:
    return [note for note in notes_of(effects) if isinstance(note, Unheard)]


def test_it_comes_after_the_words_that_were_heard() -> None:
    cut = agent("How are")
    assert notes_of([*HOW, fx.Hush(), cut]) == [cut, Unheard(0, "you? I was worried.")]


def test_of_a_turn_that_was_heard_there_is_none() -> None:
    assert unheard(*HOW, agent("How are you? I was worried.", interrupted=False)) == []
    assert unheard(*HOW, fx.Hush(), agent("How are you? I was worried.")) == []


def test_each_turn_has_its_own() -> None:
    told = [*HOW, fx.Hush(), agent("How"), fx.Say(3, "Yes? Go on."), fx.Hush(), agent("Yes?", 2)]
    assert unheard(*told) == [Unheard(0, "are you? I was worried."), Unheard(2, "Go on.")]


def test_what_was_dropped_before_a_word_of_it_was_heard_is_no_part_of_the_next_turn() -> None:
    assert unheard(*HOW, fx.Hush(), fx.Say(3, "Yes? Go on."), fx.Hush(), agent("Yes?")) == [
        Unheard(0, "Go on.")
    ]


def test_what_is_said_beside_the_caller_s_turn_is_none_either() -> None:
    told = [fx.Say(1, "Mm-hm."), CALLER, fx.Say(2, "I see. Really?"), fx.Hush(), agent("I see.", 2)]
    assert unheard(*told) == [Unheard(2, "Really?")]


@given(st.integers(3_000, 9_000))
def test_whenever_a_real_call_is_interrupted_both_halves_make_the_whole(talks_ms: int) -> None:
    long = "Once upon a time there was a king who had three daughters and no horse at all. "
    story = Story(started()).answer().hear_out().reply(long).say("Tell me a story, please.").run(talks_ms)
    story.say("Wait, sorry, can I ask you something else?").run(6_000)
    effects = [effect for _, told in story.steps for effect in told]
    turns = {turn.index: turn for turn in effects if isinstance(turn, fx.TurnTaken)}
    for cut in unheard(*effects):
        assert turns[cut.index].interrupted
        assert long.strip() == f"{turns[cut.index].text} {cut.text}"
