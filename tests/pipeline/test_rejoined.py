"""A call whose line breaks and is replaced: what its recording makes of the time between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from pipeline.clock import Clock, run_virtual
from pipeline.core import events as ev
from pipeline.core.terms import EndReason
from pipeline.recorder import Recorder
from pipeline.replay import replay
from pipeline.runner import LiveCall
from tests.pipeline.rig import Around, Pages, Phone, live, speech
from tests.pipeline.test_recorder import sides

FRAME_S = 0.02
BROKEN_S, GONE_S, AFTER_S = 1.0, 2.5, 1.0


async def _talk(call: LiveCall, seconds: float) -> None:
    sound = speech(FRAME_S)
    for _ in range(round(seconds / FRAME_S)):
        await asyncio.sleep(FRAME_S)
        call.hear(sound)


def test_the_recording_is_silent_while_nobody_was_on_the_line_and_as_long_as_the_call(tmp_path: Path) -> None:
    recorder, pages = Recorder(tmp_path / "1.wav"), Pages()

    async def main() -> Around:
        clock = Clock()
        phone = Phone(clock)
        around = Around(phone)
        call = phone.call = live(around, clock, pages, recorder)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.run())
            await asyncio.sleep(0.1)
            call.answered()
            call.attach(phone)
            await _talk(call, BROKEN_S)
            call.broken()
            await asyncio.sleep(GONE_S)
            call.attach(Phone(clock))
            await _talk(call, AFTER_S)
            call.dropped(EndReason.CALLER_HUNG_UP)
            call.carrier_done("completed", 5)
        return around

    around = run_virtual(main())
    assert [type(event) for event, _ in around.steps].count(ev.LineBroken) == 1
    left, right = sides(tmp_path / "1.wav")
    broken, back = round(BROKEN_S * 8_000), round((BROKEN_S + GONE_S) * 8_000)
    assert len(left) == round((BROKEN_S + GONE_S + AFTER_S) * 8_000)
    loud = np.abs(left) > 1_000
    assert loud[:broken].all()
    assert loud[back:].all()
    assert not loud[broken:back].any()
    assert not (np.abs(right[broken:back]) > 1_000).any(), "the agent was not heard either"
    assert (np.abs(right[:broken]) > 1_000).any(), "the greeting"
    assert replay(pages.lines).exact
