"""The checks themselves: a good call passes them, and each finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import cast

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.effects import Effect
from pipeline.core.events import Event
from pipeline.core.money import Nanos
from tests.emulators.chat import FAULTS
from tests.vendors.cast import Cast
from tests.vendors.checks import failed_over_late, wrong
from tests.vendors.rig import Held, Overheard, hold

Step = tuple[Event, tuple[Effect, ...]]


@cache
def good() -> Held:
    return hold(Cast())


def changed(step: Callable[[Step], Step]) -> Held:
    """The good call with other steps on record."""
    held = good()
    around = Overheard(held.ears)
    around.steps = [step(each) for each in held.around.steps]
    return replace(held, around=around)


def each(kind: type[Effect], change: Callable[[Effect], Effect]) -> Held:
    return changed(
        lambda step: (step[0], tuple(change(one) if isinstance(one, kind) else one for one in step[1]))
    )


def test_a_good_call_passes() -> None:
    assert wrong(good()) == []
    assert failed_over_late(good()) == []


def _dearer(effect: Effect) -> Effect:
    charge = cast(fx.Charge, effect)
    if not charge.line.startswith(("stt:", "llm:", "tts:")):
        return charge
    return replace(charge, to_qty=charge.to_qty + 1)


def _of_another(effect: Effect) -> Effect:
    charge = cast(fx.Charge, effect)
    return replace(charge, line="tts:hibari-behind:char") if charge.line.startswith("tts:") else charge


def _twice(effect: Effect) -> Effect:
    turn = cast(fx.TurnTaken, effect)
    return replace(turn, text=f"{turn.text} {turn.text}") if turn.role == "agent" else turn


def _deaf(effect: Effect) -> Effect:
    turn = cast(fx.TurnTaken, effect)
    return replace(turn, text="Something else.") if turn.role == "caller" else turn


@pytest.mark.parametrize(
    ("held", "found"),
    [
        (lambda: each(fx.Charge, _dearer), "s counted"),
        (lambda: each(fx.Charge, _dearer), "llm token_in"),
        (lambda: each(fx.Charge, _dearer), "tts eleven_flash_v2_5"),
        (lambda: each(fx.Charge, _of_another), "hibari-behind"),
        (
            lambda: each(fx.Ended, lambda e: replace(cast(fx.Ended, e), total=Nanos(1))),
            "not the sum of the tiles",
        ),
        (lambda: each(fx.TurnTaken, _twice), "more often than it was asked for"),
        (lambda: each(fx.TurnTaken, _deaf), "lost without a word"),
        (lambda: replace(good(), left=1), "tasks left"),
        (lambda: replace(good(), doors=replace(good().doors, open=2)), "engines left open"),
        (lambda: replace(good(), lines=good().lines[:-1]), "does not replay"),
        (lambda: changed(lambda s: (_longer(s[0]), s[1])), "ms of"),
        (lambda: changed(lambda s: (_unsold(s[0]), s[1])), "never bought"),
    ],
)
def test_each_is_found(held: Callable[[], Held], found: str) -> None:
    assert any(found in each for each in wrong(held()))


def _longer(event: Event) -> Event:
    return replace(event, ms=2 * event.ms) if isinstance(event, ev.AudioQueued) else event


def _unsold(event: Event) -> Event:
    return ev.Answered(event.at) if isinstance(event, ev.SpeechBought) else event


def test_a_successor_that_keeps_the_person_waiting_is_found() -> None:
    held = hold(Cast(lines=("hobbies",), mind_plan=FAULTS["overloaded"], behind_ms=1_450))
    assert wrong(held) == []
    (late,) = failed_over_late(held)
    assert "after the llm failure" in late
