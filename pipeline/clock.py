"""Time. The only module that reads a clock; everything else is handed one.

Live, a `Clock` follows the event loop's monotonic time. Offline, `VirtualLoop` jumps to
the next timer whenever nothing is left to do, so an hour of call takes the time its
work takes; `ScaledLoop` runs real sockets at a multiple of real time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pipeline.core.money import Millis

T = TypeVar("T")


class Clock:
    """Monotonic milliseconds for durations, UTC for naming days and moments.

    `starts_at` pins the wall clock: UTC is then that instant plus what has passed on the
    loop, for tests, the demo and replay.
    """

    def __init__(self, starts_at: datetime | None = None) -> None:
        self._starts_at = starts_at
        self._origin: float | None = None

    def seconds(self) -> float:
        """Monotonic seconds of the running loop."""
        return asyncio.get_running_loop().time()

    def millis(self) -> Millis:
        # 1.001 s is 1001 ms, though 1.001 * 1000 is a hair less.
        return Millis(int(self.seconds() * 1000 + 1e-6))

    def boot_seconds(self) -> float:
        """As `seconds`, but on a machine that was suspended the time it slept counts too."""
        return self.seconds() + slept_seconds()

    def speed(self) -> float:
        """Seconds of the running loop in a real one; 1 unless it is a `ScaledLoop`."""
        loop = asyncio.get_running_loop()
        return loop.speed if isinstance(loop, ScaledLoop) else 1.0

    def utc(self) -> datetime:
        if self._starts_at is None:
            return datetime.now(UTC)
        if self._origin is None:
            self._origin = self.seconds()
        return self._starts_at + timedelta(seconds=self.seconds() - self._origin)


def slept_seconds() -> float:
    """How long this machine was suspended since it started; 0 where the system does not tell."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boot is None else time.clock_gettime(boot) - time.clock_gettime(time.CLOCK_MONOTONIC)


def real_seconds() -> float:
    """Real seconds for measuring work, never for deciding."""
    return time.perf_counter()


class _WarpSelector(selectors.DefaultSelector):
    """Waits as long as `wait` makes of what is asked. What is ready is seen first, for `wait` may move the time."""

    def __init__(self, wait: Callable[[float | None], float | None], grace: float = 0.0) -> None:
        super().__init__()
        self._wait = wait
        self._grace = grace

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if (timeout is None or timeout > 0) and (ready := super().select(self._grace)):
            return ready
        return super().select(self._wait(timeout))


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is work and jumps to the next timer when there is none.

    Jobs handed to `run_in_executor` count as work, so engines that compute in threads
    take no virtual time. With a `grace` (real seconds) peers on sockets of this very loop
    count too: a message is on its way for less than that, so before each jump it is waited
    for. Peers elsewhere are not waited for: use `ScaledLoop` where a call crosses to one.
    """

    def __init__(self, grace: float = 0.0) -> None:
        self._virtual = 0.0
        self._jobs = 0
        super().__init__(_WarpSelector(self._jump, grace))

    def time(self) -> float:
        return self._virtual

    def _jump(self, timeout: float | None) -> float | None:
        if timeout is None or timeout <= 0 or self._jobs:
            return None if self._jobs and timeout != 0 else timeout
        # On a grid, or the sum would depend on which other timers the time passed by.
        self._virtual = round(self._virtual + timeout, 9)
        return 0.0

    def run_in_executor(  # type: ignore[override]  # the stub spells its variadics in a way no override can
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        self._jobs += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._job_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Joining the threads is work too: its time limit, new in Python 3.12, must not run out meanwhile."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jobs -= 1

    def _job_done(self, _future: asyncio.Future[Any]) -> None:
        self._jobs -= 1


class ScaledLoop(asyncio.SelectorEventLoop):
    """Real sockets, real threads, and a clock that runs `speed` times as fast.

    A machine that stands still for half a second must not be four seconds of a call: between two looks at the clock
    no more than `PAUSE` passes (seconds of the loop), besides what the loop waited for.
    """

    PAUSE = 0.1

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._seen = time.monotonic()
        self._passed = 0.0
        self._waited = 0.0
        super().__init__(_WarpSelector(self._wait))

    def time(self) -> float:
        seen, waited, self._waited = time.monotonic(), self._waited, 0.0
        self._passed += min((seen - self._seen) * self.speed, waited + self.PAUSE)
        self._seen = seen
        return self._passed

    def _wait(self, timeout: float | None) -> float | None:
        self._waited = math.inf if timeout is None else max(0.0, timeout)
        return None if timeout is None else timeout / self.speed


def run_virtual(main: Coroutine[Any, Any, T], *, grace: float = 0.0) -> T:
    """Run to completion on a `VirtualLoop`, as `asyncio.run` does on a real one."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(grace)) as runner:
        return runner.run(main)
