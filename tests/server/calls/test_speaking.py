"""Who is heard in a call, as its watchers are told."""

from __future__ import annotations

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason
from server.calls.speaking import Speaking

NOW = Millis(0)


def told(*steps: ev.Event | tuple[ev.Event, fx.Effect]) -> list[tuple[str, bool]]:
    speaking, found = Speaking(), list[tuple[str, bool]]()
    for step in steps:
        event, effects = (step[0], [step[1]]) if isinstance(step, tuple) else (step, [])
        found += speaking.changes(event, effects)
    return found


def chunk(number: int) -> ev.Event:
    return ev.AudioQueued(NOW, 0, number, 400, "")


def test_the_agent_is_heard_from_its_first_sound_to_the_mark_of_its_last() -> None:
    steps = (chunk(1), ev.Audible(NOW, 0, 20), chunk(2), ev.MarkReached(NOW, 1), ev.MarkReached(NOW, 2))
    assert told(*steps) == [("agent", True), ("agent", False)]
    assert told(*steps[:4]) == [("agent", True)], "one chunk still plays"


def test_a_click_is_nobody_and_a_voice_somebody() -> None:
    assert told(ev.SpeechStarted(NOW, 100), ev.SpeechStopped(NOW, 300)) == []
    assert told(ev.SpeechStarted(NOW, 100), ev.SpeechHeld(NOW), ev.SpeechHeld(NOW), ev.SpeechStopped(NOW, 300)) == [
        ("caller", True), ("caller", False),
    ]  # fmt: skip


def test_both_at_once_until_the_agent_gives_way() -> None:
    interruption = (chunk(1), ev.Audible(NOW, 0, 20), ev.SpeechHeld(NOW), (ev.Tick(NOW), fx.Pause()))
    assert told(*interruption) == [("agent", True), ("caller", True), ("agent", False)]
    assert told(*interruption, (ev.Tick(NOW), fx.Resume()))[3:] == [("agent", True)]


def test_at_the_end_nobody_is_heard() -> None:
    both = (ev.SpeechHeld(NOW), ev.Audible(NOW, 0, 20))
    for end in (ev.LineBroken(NOW), ev.LineDropped(NOW, EndReason.CALLER_HUNG_UP)):
        assert told(*both, end)[2:] == [("agent", False), ("caller", False)]
    assert told(*both, (ev.Tick(NOW), fx.HangUp(EndReason.IDLE)))[2:] == [("agent", False), ("caller", False)]
