"""The checks themselves: a good call passes them, and each finds what it is there to find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import copy
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
from tests.emulators.sounding import Spoken
from tests.vendors.cast import MODELS, VOICE_BEHIND, Cast
from tests.vendors.checks import failed_over_late, wrong
from tests.vendors.person import Person
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


def more(step: Callable[[Step], list[Step]]) -> Held:
    """The good call with some steps more."""
    held = good()
    around = Overheard(held.ears)
    around.steps = [made for each in held.around.steps for made in step(each)]
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


def spoken(change: Callable[[list[Spoken]], list[Spoken]]) -> Held:
    """The good call, of which the vendor of the voice has noted something else."""
    vendors = good().vendors
    return replace(
        good(),
        vendors=replace(vendors, voice=replace(vendors.voice, spoken=change([*vendors.voice.spoken]))),
    )


def again(seconds: int) -> Held:
    """The good call, of which so much is said to have been heard again."""
    return replace(good(), company=replace(good().company, again=Counter({MODELS["flux"]: seconds})))


def _silent(person: Person) -> Person:
    """Somebody of whom the telephone picked up nothing."""
    changed = copy(person)
    changed.sounded = 0
    return changed


def _sold_twice(step: Step) -> list[Step]:
    return [step, step] if isinstance(step[0], ev.SpeechBought) else [step]


def _for_nothing(event: Event) -> Event:
    return ev.Tick(event.at) if isinstance(event, ev.SpeechBought) else event


def _sold_by_another(event: Event) -> Event:
    return replace(event, model=VOICE_BEHIND) if isinstance(event, ev.SpeechBought) else event


def _of_another_too(step: Step) -> Step:
    event, made = step
    return _sold_by_another(event), tuple(
        _of_another(each) if isinstance(each, fx.Charge) else each for each in made
    )


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
        (lambda: changed(lambda s: (_for_nothing(s[0]), s[1])), "charged at Tick"),
        (lambda: changed(lambda s: (_sold_by_another(s[0]), s[1])), "of hibari-behind"),
        (lambda: changed(_of_another_too), "hibari-behind is paid for"),
        (lambda: changed(_of_another_too), "is not paid for"),
        (lambda: more(_sold_twice), "was bought 2 times"),
        (lambda: more(_sold_twice), "which it never got"),
        (lambda: more(_sold_twice), "counted and"),
        (lambda: spoken(lambda all_: all_[:-1]), "which it never got"),
        (lambda: spoken(lambda all_: all_[:-1]), "counted and"),
        (lambda: spoken(lambda all_: [*all_[:-1], replace(all_[-1], text="But")]), "which it never got"),
        (lambda: spoken(lambda all_: [*all_, all_[-1]]), "of which it gave sound"),
        (lambda: again(1), "1 of them heard again"),
        (lambda: again(9), "9 s heard again by"),
        (lambda: replace(good(), person=_silent(good().person)), "of 0.00 s of sound"),
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
