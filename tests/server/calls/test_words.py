"""What is being said just now, as the watchers of a call are told."""

from __future__ import annotations

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import Millis
from server.calls.words import EVERY_MS, STALE_MS, Words

Step = tuple[ev.Event, list[fx.Effect]]


def at(ms: int) -> Millis:
    return Millis(ms)


def told(*steps: Step) -> list[list[tuple[str, str]]]:
    """What each step told."""
    words = Words()
    return [list(words.changes(event, effects)) for event, effects in steps]


def sound(utterance: int, chunk: int = 1) -> ev.Event:
    return ev.AudioQueued(at(0), utterance, chunk, 200, "")


def agent(text: str, *, interrupted: bool = False) -> fx.Effect:
    return fx.TurnTaken(0, "agent", text, at(0), at(100), interrupted)


CALLER = fx.TurnTaken(1, "caller", "Hello there.", at(0), at(100))
SAYS: Step = (ev.Tick(at(0)), [fx.Say(1, "How are you?"), fx.Say(2, "I was worried.")])


def test_a_sentence_is_told_once_its_sound_is_on_the_way() -> None:
    steps: tuple[Step, ...] = (SAYS, (sound(1), []), (sound(1, 2), []), (sound(2, 3), []))
    assert told(*steps) == [[], [("agent", "How are you?")], [], [("agent", "How are you? I was worried.")]]


def test_after_an_interrupted_turn_the_next_one_is_told_alone() -> None:
    words = Words()
    for event, effects in (SAYS, (sound(1), [])):
        words.changes(event, effects)
    cut = agent("How are", interrupted=True)
    assert words.changes(ev.SpeechHeld(at(9)), [fx.Hush(), cut]) == []
    words.changes(ev.Tick(at(10)), [fx.Say(3, "Yes?")])
    assert words.changes(sound(3), []) == [("agent", "Yes?")]


def test_a_turn_of_which_nothing_was_heard_is_taken_back() -> None:
    assert told(SAYS, (sound(1), []), (ev.SpeechHeld(at(9)), [fx.Hush()]))[2] == [("agent", "")]
    assert told(SAYS, (ev.SpeechHeld(at(9)), [fx.Hush()]))[1] == [], "nothing had been told"


def test_what_is_said_beside_the_caller_s_turn_is_no_beginning_of_the_next_one() -> None:
    aside: Step = (ev.Tick(at(0)), [fx.Say(1, "Mm-hm.")])
    steps: tuple[Step, ...] = (
        aside,
        (sound(1), []),
        (ev.Tick(at(9)), [CALLER, fx.Say(2, "I see.")]),
        (sound(2), []),
    )
    assert told(*steps)[1:] == [[("agent", "Mm-hm.")], [], [("agent", "I see.")]]


def test_the_caller_s_words_grow_and_are_told_now_and_then() -> None:
    grown = [(ev.Heard(at(ms), text), list[fx.Effect]()) for ms, text in (
        (1_000, "I"), (1_100, "I have"), (1_000 + EVERY_MS, "I have a"),
    )]  # fmt: skip
    assert told(*grown) == [[("caller", "I")], [], [("caller", "I have a")]]
    late = (ev.SpeechFaded(at(1_200), 100), list[fx.Effect]())
    assert told(*grown[:2], late)[2] == [("caller", "I have")], "with whatever comes next"


def test_stretches_come_before_what_is_heard_now_and_the_turn_ends_them() -> None:
    steps: tuple[Step, ...] = (
        (ev.SegmentHeard(at(1_000), "Hello there."), []),
        (ev.SegmentHeard(at(1_500), ""), []),
        (ev.Heard(at(2_000), "It is"), []),
        (ev.TurnLikelyEnded(at(2_100), "It is me."), []),
        (ev.TurnEnded(at(2_200), "It is me."), [CALLER]),
        (ev.Heard(at(3_000), "And"), []),
    )
    assert told(*steps) == [
        [("caller", "Hello there.")], [], [("caller", "Hello there. It is")],
        [("caller", "Hello there. It is me.")], [], [("caller", "And")],
    ]  # fmt: skip


def test_words_that_become_no_turn_are_taken_back_but_not_while_somebody_speaks() -> None:
    heard: Step = (ev.SegmentHeard(at(1_000), "Mm-hm."), [])
    speaks: Step = (ev.SpeechHeld(at(900 + STALE_MS)), [])
    later: Step = (ev.Tick(at(1_000 + STALE_MS)), [])
    assert told(heard, later)[1] == [("caller", "")]
    assert told(heard, speaks, later)[1:] == [[], []]
