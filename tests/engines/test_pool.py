"""A model's thread: order, bound, errors, virtual time."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from pipeline.clock import run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.local.pool import Worker


def test_jobs_run_one_at_a_time_in_order_off_the_loop() -> None:
    ran: list[tuple[int, str]] = []

    def note(number: int) -> None:
        ran.append((number, threading.current_thread().name))

    async def main() -> None:
        worker = Worker("model", limit=10)
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(worker.run(partial(note, number)))
        worker.close()
        assert worker.waiting == 0
        assert asyncio.get_running_loop().time() == 0

    run_virtual(main())
    assert [number for number, _ in ran] == [0, 1, 2, 3, 4]
    assert {name for _, name in ran} == {"model_0"}


def test_a_full_queue_refuses_and_recovers() -> None:
    async def main() -> None:
        worker, gate = Worker("model", limit=2), threading.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker.run(gate.wait)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(EngineError, match="overloaded") as caught:
                await worker.run(lambda: None)
            assert caught.value.retryable
            gate.set()
        assert all(task.result() for task in tasks)
        assert await worker.run(lambda: 7) == 7
        worker.close()

    asyncio.run(main())


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyError("x"), OSError(5, "gone")])
def test_whatever_a_model_raises_is_an_engine_error(error: Exception) -> None:
    def fail() -> None:
        raise error

    async def main() -> None:
        worker = Worker("model", limit=2)
        with pytest.raises(EngineError, match=type(error).__name__):
            await worker.run(fail)
        assert (worker.failures, worker.waiting) == (1, 0)
        worker.close()
        with pytest.raises(EngineError):
            await worker.run(lambda: None)

    run_virtual(main())


def test_an_engine_error_passes_as_it_is() -> None:
    def fail() -> None:
        raise EngineError("install the extra", retryable=False)

    async def main() -> None:
        worker = Worker("model", limit=1)
        with pytest.raises(EngineError, match="install the extra"):
            await worker.run(fail)
        worker.close()

    run_virtual(main())


def test_a_waiting_job_can_be_cancelled() -> None:
    ran: list[int] = []

    async def main() -> None:
        worker, gate = Worker("model", limit=5), threading.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(gate.wait))
            waiting = group.create_task(worker.run(lambda: ran.append(1)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
            gate.set()
        await worker.run(lambda: ran.append(2))
        worker.close()
        assert worker.busy_seconds >= worker.latest_seconds >= 0

    asyncio.run(main())
    assert ran == [2]
