"""How calls end: by silence, money, time, machines, people, and a line that is gone."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import Clock, run_virtual
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.terms import EndReason, Limits
from tests.core.story import PHRASES, minutes_paid, started
from tests.pipeline.rig import Around, Phone, Stage, act, line, live, speech

GREETED_S = 4.0


def test_silence_is_asked_about_twice_and_then_ends_the_call() -> None:
    played = act(Stage())
    assert played.said()[2:] == [PHRASES.still_there, PHRASES.still_there, PHRASES.goodbye]
    assert played.ended.reason is EndReason.IDLE


def test_hang_up_is_asked_for_only_after_the_goodbye_was_heard() -> None:
    played = act(Stage())
    goodbye = played.all(fx.Say)[-1]
    assert goodbye.text == PHRASES.goodbye
    chunks = [event.chunk for event in played.events(ev.AudioQueued) if event.utterance == goodbye.utterance]
    mark = next(
        at
        for at, event in zip(played.when(ev.MarkReached), played.events(ev.MarkReached), strict=True)
        if event.chunk == chunks[-1]
    )
    assert played.times(fx.HangUp) == [mark]
    assert mark - played.when_said(PHRASES.goodbye) >= 60 * len(PHRASES.goodbye)
    assert played.around.hang_ups == 1


def test_a_carrier_that_refuses_to_hang_up_loses_its_socket() -> None:
    played = act(Stage(refuses=True))
    assert played.around.hang_ups == 1
    assert played.phone.closed.is_set()
    assert played.ended.reason is EndReason.IDLE


def test_the_longest_duration_ends_with_a_goodbye() -> None:
    limits = Limits(max_duration_ms=60_000, idle_prompt_ms=60_000)
    played = act(Stage(start=started(limits=limits)))
    assert played.ended.reason is EndReason.MAX_DURATION
    assert 48_000 <= played.when_said(PHRASES.goodbye) <= 48_020
    assert played.ended.seconds <= 60
    assert not played.all(fx.Warned)


def test_a_budget_of_two_minutes_warns_at_sixty_seconds_and_says_goodbye_at_108() -> None:
    """The demo's story: two carrier minutes are bought, never a third."""
    stage = Stage(
        start=started(minutes_paid(2), binds=EndReason.BUDGET),
        hears=["Tell me more."] * 20,
        answers=["It was a fine day."] * 20,
    )
    played = act(stage, line(GREETED_S, line(speech(1.0), 7.0) * 20))
    (warned,), (goodbye,) = played.times(fx.Warned), [played.when_said(PHRASES.out_of_time)]
    assert 58_000 <= warned <= 65_000
    assert 107_900 <= goodbye <= 108_050
    assert played.when_said(PHRASES.warning) == warned
    assert played.ended.reason is EndReason.BUDGET
    assert played.ended.seconds < 120
    assert played.ended.total <= stage.start.allowance.held
    carrier = [charge for charge in played.all(fx.Charge) if charge.line.startswith("carrier")]
    assert [charge.to_qty for charge in carrier] == [60, 120]


def test_a_line_that_drops_in_mid_speech_ends_the_call() -> None:
    stage = Stage(asides={1.0: lambda call: call.dropped(EndReason.CALLER_HUNG_UP)})
    played = act(stage)
    assert played.ended.reason is EndReason.CALLER_HUNG_UP
    assert played.times(fx.Hush) == played.times(fx.HangUp)
    assert max(played.arrived) <= 1_000
    assert played.heard() == ["a: I am an"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("fax", EndReason.FAX), ("machine_end_beep", EndReason.VOICEMAIL)],
)
def test_a_machine_is_not_talked_to(kind: str, reason: EndReason) -> None:
    played = act(Stage(asides={5.0: lambda call: call.machine(kind)}))
    assert played.ended.reason is reason
    assert (PHRASES.voicemail in played.said()) == (reason is EndReason.VOICEMAIL)


def test_the_user_and_the_operator_can_end_it() -> None:
    user = act(Stage(asides={5.0: lambda call: call.ask_hang_up(EndReason.USER_HUNG_UP)}))
    assert user.ended.reason is EndReason.USER_HUNG_UP
    assert user.times(fx.HangUp)[0] < 5_050
    drained = act(Stage(asides={5.0: lambda call: call.ask_hang_up(EndReason.DRAINED)}))
    assert drained.ended.reason is EndReason.DRAINED
    assert drained.said()[-1] == PHRASES.goodbye


def test_digits_are_noted_and_change_nothing() -> None:
    played = act(Stage(stays=6.0, asides={5.0: lambda call: call.pressed("5")}))
    assert [event.digit for event in played.events(ev.DigitPressed)] == ["5"]
    assert played.ended.reason is EndReason.CALLER_HUNG_UP


async def ring_out(answer: bool) -> Around:
    """A call whose media socket never comes."""
    clock = Clock()
    around = Around(Phone(clock))
    call = live(around, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call.run())
        await asyncio.sleep(20)
        if answer:
            call.answered()
        await around.phone.closed.wait() if answer else None
        call.carrier_done("completed" if answer else "no-answer", 11 if answer else 0)
    return around


def test_nobody_answers_and_nothing_is_charged() -> None:
    around = run_virtual(ring_out(answer=False))
    effects = [effect for _, made in around.steps for effect in made]
    assert isinstance(effects[-1], fx.Ended)
    assert (effects[-1].reason, effects[-1].total) == (None, 0)


def test_a_call_without_sound_is_hung_up_after_ten_seconds() -> None:
    around = run_virtual(ring_out(answer=True))
    hung_up = [event.at for event, made in around.steps if any(isinstance(one, fx.HangUp) for one in made)]
    assert hung_up == [30_000]
    assert around.hang_ups == 1
