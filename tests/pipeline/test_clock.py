"""Time: jumped over when nothing is to do, scaled where sockets are, and named in UTC."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.clock import Clock, ScaledLoop, VirtualLoop, real_seconds, run_virtual

NOON = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


def test_an_hour_takes_no_time() -> None:
    async def main() -> float:
        begun = Clock().seconds()
        await asyncio.sleep(3_600)
        return Clock().seconds() - begun

    begun = real_seconds()
    assert run_virtual(main()) == 3_600
    assert real_seconds() - begun < 5


def test_timers_fire_in_order_at_their_own_times() -> None:
    async def main() -> list[tuple[int, str]]:
        clock = Clock()
        seen: list[tuple[int, str]] = []

        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            seen.append((clock.millis(), name))

        async with asyncio.TaskGroup() as tasks:
            for seconds, name in ((3.001, "c"), (0.29, "a"), (1.001, "b"), (86_401.5, "d")):
                tasks.create_task(after(seconds, name))
        return seen

    assert run_virtual(main()) == [(290, "a"), (1_001, "b"), (3_001, "c"), (86_401_500, "d")]


def test_time_does_not_depend_on_what_else_is_waited_for() -> None:
    """A sum of many small steps comes to the same instant as one long one."""

    async def main(steps: int) -> list[float]:
        times = []

        async def busy() -> None:
            for _ in range(steps):
                await asyncio.sleep(0.0123)

        async def watched() -> None:
            for _ in range(200):
                await asyncio.sleep(0.0701)
                times.append(Clock().seconds())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watched())
            tasks.create_task(busy())
        return times

    assert run_virtual(main(0)) == run_virtual(main(1_000))


def test_work_takes_no_virtual_time() -> None:
    async def main() -> tuple[float, int]:
        for _ in range(10_000):
            await asyncio.sleep(0)
        return Clock().seconds(), 1

    assert run_virtual(main()) == (0.0, 1)


def test_a_job_in_a_thread_is_waited_for_before_time_moves() -> None:
    """Engines that compute in threads take no virtual time, and no timer overtakes them."""

    async def main() -> tuple[list[str], float]:
        loop, seen = asyncio.get_running_loop(), []
        gate = threading.Event()

        async def timer() -> None:
            await asyncio.sleep(0.001)
            seen.append("timer")

        async def job() -> None:
            await loop.run_in_executor(None, gate.wait)
            seen.append("job")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(job())
            tasks.create_task(timer())
            await asyncio.sleep(0)
            threading.Timer(0.05, gate.set).start()
        return seen, Clock().seconds()

    assert run_virtual(main()) == (["job", "timer"], 0.001)


def test_a_job_that_raises_is_over_too() -> None:
    async def main() -> float:
        def wrong() -> None:
            raise ValueError("wrong")

        with pytest.raises(ValueError, match="wrong"):
            await asyncio.get_running_loop().run_in_executor(None, wrong)
        await asyncio.sleep(60)
        return Clock().seconds()

    assert run_virtual(main()) == 60


def test_a_timeout_strikes_at_its_time() -> None:
    async def main() -> int:
        clock = Clock()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.Event().wait()
        return clock.millis()

    assert run_virtual(main()) == 2_500


def test_a_virtual_loop_begins_at_nought() -> None:
    loop = VirtualLoop()
    try:
        assert loop.time() == 0.0
    finally:
        loop.close()


def test_a_scaled_loop_runs_faster_than_the_clock_on_the_wall() -> None:
    async def main() -> float:
        begun = Clock().seconds()
        await asyncio.sleep(10)
        return Clock().seconds() - begun

    begun = real_seconds()
    with asyncio.Runner(loop_factory=lambda: ScaledLoop(200)) as runner:
        passed = runner.run(main())
    really = real_seconds() - begun
    assert passed >= 10
    assert 0.05 <= really < 5


def test_what_holds_a_scaled_loop_up_is_no_time_of_a_call() -> None:
    async def main() -> tuple[float, float]:
        begun, clock = real_seconds(), Clock()
        first = clock.seconds()
        while real_seconds() - begun < 0.2:
            pass
        held_up = clock.seconds() - first
        await asyncio.sleep(30)
        return held_up, clock.seconds() - first

    with asyncio.Runner(loop_factory=lambda: ScaledLoop(100)) as runner:
        held_up, passed = runner.run(main())
    assert held_up <= ScaledLoop.PAUSE
    assert passed >= 30


def test_a_scaled_loop_serves_threads_that_call_back() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: "done")

    with asyncio.Runner(loop_factory=lambda: ScaledLoop(50)) as runner:
        assert runner.run(main()) == "done"


def test_utc_starts_where_it_is_told_and_follows_the_loop() -> None:
    async def main() -> list[datetime]:
        clock = Clock(NOON)
        await asyncio.sleep(7)
        first = clock.utc()
        await asyncio.sleep(3_600)
        return [first, clock.utc()]

    assert run_virtual(main()) == [NOON, NOON + timedelta(hours=1)]


def test_durations_do_not_follow_the_time_of_day() -> None:
    """It is set back and forth, by people, by the network and by governments."""

    class Jumping(Clock):
        skew = timedelta()

        def utc(self) -> datetime:
            return super().utc() + self.skew

    async def main() -> None:
        clock = Jumping(datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC))
        began = clock.millis()
        clock.skew = timedelta(hours=-1)
        await asyncio.sleep(2.0)
        assert clock.millis() - began == 2_000
        clock.skew = timedelta(hours=1)
        assert clock.millis() - began == 2_000

    run_virtual(main())


def test_utc_is_the_real_one_unless_told() -> None:
    assert abs(Clock().utc() - datetime.now(UTC)) < timedelta(seconds=5)
    assert Clock().utc().tzinfo is UTC
