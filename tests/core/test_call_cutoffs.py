"""Every cut-off is spoken: calls that run out of money while engines, the database and the line do what they like."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason, Limits
from tests.core.story import CARRIER, MINUTE, PHRASES, STT, Story, minutes_paid, started
from tests.core.test_call_any_order import converse

NOTICE_MS = 20_000
"""So long before its goodbye a call is to have been warned."""
OUT_OF_MONEY = {EndReason.BUDGET, EndReason.CREDIT}


def cut_off(seed: int) -> Story:
    """A call with money for one to four minutes, held in parts as on a server, in which everything may go wrong."""
    chance = Random(seed)
    held = minutes_paid(chance.choice([1, 1, 2]), slack=chance.randrange(3_000_000, 30_000_000))
    start = started(
        held,
        binds=chance.choice(sorted(OUT_OF_MONEY)),
        reach=Nanos(held + chance.randrange(3) * MINUTE),
        part=Nanos(2 * MINUTE),
        low=MINUTE,
        limits=Limits(max_duration_ms=1_800_000, idle_prompts=100, engine_failures=1_000),
        transcriber_ends_turns=chance.random() < 0.5,
    )
    story = Story(start, lateness=lambda: chance.randrange(300))
    story.stock = PHRASES.all  # rendered while it rang
    converse(story, chance)
    story.end()
    return story


def by_money(story: Story) -> bool:
    """Whether it was money that ended the call, and not whoever was on the line."""
    return any(order.reason in OUT_OF_MONEY for order in story.all(fx.HangUp))


def hung_up_ms(story: Story) -> int:
    (when,) = story.times(fx.HangUp)
    return when


def left_first(story: Story) -> bool:
    """The carrier's last word came before ours."""
    order = [
        type(what)
        for event, effects in story.steps
        for what in (event, *effects)
        if isinstance(what, ev.CarrierDone | fx.HangUp)
    ]
    return order[0] is ev.CarrierDone


def time_was_up(story: Story) -> bool:
    """The goodbye came by itself. It may also stand in the place of an answer that cannot be afforded any more."""
    return any(isinstance(event, ev.Tick) and _says_goodbye(effects) for event, effects in story.steps)


def _says_goodbye(effects: list[fx.Effect]) -> bool:
    said = any(isinstance(effect, fx.Say) and effect.text == PHRASES.out_of_time for effect in effects)
    return said and not any(
        isinstance(effect, fx.TurnTaken) and effect.role == "caller" for effect in effects
    )


@pytest.mark.parametrize("seeds", [range(80), pytest.param(range(80, 3_000), marks=pytest.mark.soak)])
def test_every_cut_off_is_warned_of_spoken_and_paid_for(seeds: range) -> None:
    seen: Counter[str] = Counter()
    for seed in seeds:
        story = cut_off(seed)
        if left_first(story) or not by_money(story):
            continue
        seen["cut off"] += 1
        goodbye = story.when_said(PHRASES.out_of_time)
        last = story.all(fx.TurnTaken)[-1]
        assert (last.text, last.interrupted) == (PHRASES.out_of_time, False), f"seed {seed}: not heard whole"
        paid_s = min(_bought(story, CARRIER.line), _bought(story, STT.line))
        assert hung_up_ms(story) <= 1_000 * paid_s + 1_000, f"seed {seed}: beyond what was paid"
        (warned,) = story.times(fx.Warned)
        assert warned < goodbye, f"seed {seed}: warned too late"
        agent = [turn.text for turn in story.all(fx.TurnTaken) if turn.role == "agent"]
        told = [any(words in text for text in agent) for words in (PHRASES.warning, PHRASES.short)]
        assert any(told), f"seed {seed}: the warning was not heard whole"
        if time_was_up(story):
            seen["time was up"] += 1
            seen["warned in time"] += goodbye - warned >= NOTICE_MS
    assert seen["cut off"] > len(seeds) // 5, seen
    assert seen["time was up"] > seen["cut off"] // 3, seen
    assert seen["warned in time"] >= 0.995 * seen["time was up"], seen


def _bought(story: Story, line: str) -> int:
    """As it stood when the call hung up: the carrier's own count, which comes later, may be less."""
    total = 0
    for effect in (effect for _, effect in story.log):
        if isinstance(effect, fx.HangUp):
            break
        if isinstance(effect, fx.Charge) and effect.line == line:
            total = effect.to_qty
    return total
