"""Who answers simulated phones."""

from __future__ import annotations

from pipeline.carriers.callee import FRAME_BYTES, FRAME_MS, Callee, HangUp, Press, Vanish
from server.simulation import CONVERSATION, jordan, phones

LOUD = bytes([0x00, 0x80]) * (FRAME_BYTES // 2)
PHONE = "+12025550123"
MINUTES = 4


def act(callee: Callee) -> list[HangUp | Press | Vanish]:
    """An agent that says two seconds after each thing said to it, and does nothing else but wait."""
    done: list[HangUp | Press | Vanish] = []
    left, answered = 2_000, 0
    for _ in range(0, MINUTES * 60_000, FRAME_MS):
        if len(callee.own.finished) > answered:
            left, answered = 2_000, len(callee.own.finished)
        left -= FRAME_MS
        step = callee.step(LOUD if left > 0 else b"")
        if not isinstance(step, bytes):
            done.append(step)
            break
    return done


def test_the_talker_says_every_line_then_goodbye_and_hangs_up() -> None:
    callee = Callee(phones("talks")(PHONE), keep_audio=False)
    assert act(callee) == [HangUp()]
    assert len(callee.own.finished) > len(CONVERSATION)
    assert callee.at_ms < MINUTES * 60_000
    assert not callee.heard
    assert not callee.said


def test_the_caller_of_the_demo_stays_on_the_line_for_the_budget_to_end_it() -> None:
    callee = Callee(jordan(), keep_audio=False)
    assert act(callee) == []
    assert len(callee.own.finished) >= len(CONVERSATION)


def test_the_listener_says_nothing() -> None:
    callee = Callee(phones("listens")(PHONE), keep_audio=False)
    assert act(callee) == []
    assert callee.own.all() == []
