"""A loop that stays late takes no new calls, and does again once it is in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.clock import run_virtual
from server.calls.live import open_desk
from server.lag import EVERY_S, LATE_S, PATIENCE_S, LoopLag
from server.metrics import LOOP_LAG
from server.nodes.anywhere import Anywhere
from tests.server.rig import LoopClock, RecordingCarrier, running, settings
from tests.server.test_placing import SCRIPTED, ready

LATE = LATE_S + 0.001


async def test_a_second_of_lateness_refuses_and_one_wake_up_in_time_takes_calls_again() -> None:
    lag = LoopLag(LoopClock())
    at = 0.0
    while at < PATIENCE_S + LATE:
        assert not lag.overloaded
        lag.sample(at, at + LATE)
        at += EVERY_S + LATE
    assert lag.overloaded
    lag.sample(at, at + LATE_S / 2)
    assert not lag.overloaded


async def test_one_long_stall_is_over_when_it_is_seen_and_two_are_a_server_that_stays_late() -> None:
    lag = LoopLag(LoopClock())
    lag.sample(10.0, 10.0 + 30 * PATIENCE_S)
    assert not lag.overloaded
    lag.sample(50.0, 50.0)
    lag.sample(60.0, 60.0 + PATIENCE_S)
    lag.sample(62.0, 62.0 + PATIENCE_S)
    assert lag.overloaded


def test_it_samples_all_the_time() -> None:
    async def main() -> None:
        before = LOOP_LAG._sum.get(), sum(bucket.get() for bucket in LOOP_LAG._buckets)
        lag = LoopLag(LoopClock())
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(lag.run())
            await asyncio.sleep(10 * EVERY_S + 0.001)
            task.cancel()
        assert sum(bucket.get() for bucket in LOOP_LAG._buckets) - before[1] == 10
        assert LOOP_LAG._sum.get() - before[0] == pytest.approx(0.0, abs=1e-6)

    run_virtual(main())


async def test_a_late_server_refuses_a_new_call(tmp_path: Path) -> None:
    async with running(settings(tmp_path, **SCRIPTED), open_desk, RecordingCarrier(), LoopClock()) as rig:
        ann, everywhere = await ready(rig), rig.parts.desk
        assert isinstance(everywhere, Anywhere)
        desk = everywhere._desk
        codes = set()
        for _ in range(20):  # the server's own samples, which are in time, may come between
            now = rig.clock.seconds()
            desk._lag.sample(now, now + LATE)
            desk._lag.sample(now + LATE, now + LATE + PATIENCE_S)
            answer = await ann.post("/api/calls", {"persona_id": "nobody"})
            codes.add((answer.status_code, answer.json()["code"]))
        assert (503, "overloaded") in codes
        assert codes <= {(503, "overloaded"), (404, "not_found")}
