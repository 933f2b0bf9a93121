"""A thread of its own for each model, with a bounded queue in front of it.

Inference never runs on the event loop. One thread a model: the models are compute-bound
and gain nothing from a second, and a second would take the core away from the sound. A
full queue is an error at once, because an answer that comes seconds late is of no use in
a conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from pipeline.clock import real_seconds
from pipeline.core.errors import EngineError
from pipeline.surprises import SURPRISES

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Worker:
    """Runs jobs one at a time, in order, off the event loop.

    `limit`: jobs waiting or running, beyond which `run` refuses.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._jobs = 0
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self.failures = 0
        """Jobs that raised."""
        self.busy_seconds = 0.0
        """Real seconds spent computing, in all."""
        self.latest_seconds = 0.0
        """Real seconds of the latest job, without its wait."""

    @property
    def waiting(self) -> int:
        """Jobs waiting or running."""
        return self._jobs

    async def run(self, job: Callable[[], T]) -> T:
        """The job's result. Raises `EngineError` (retryable) when too many wait already.

        Cancelling takes a waiting job out of the queue; one that runs goes on unheard.
        """
        if self._jobs >= self._limit:
            raise EngineError(f"{self._name} is overloaded: {self._jobs} jobs wait", retryable=True)
        self._jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._timed, job)
        except EngineError:
            self.failures += 1
            raise
        except Exception as error:  # edge: of a job in a thread; to a call it is an engine's failure
            # Of many kinds: each model library has its own.
            self.failures += 1
            SURPRISES.labels("local engine").inc()
            _log.warning("local_engine_failed", engine=self._name, kind=type(error).__name__)
            raise EngineError(f"{self._name} failed: {type(error).__name__}") from error
        finally:
            self._jobs -= 1

    def _timed(self, job: Callable[[], T]) -> T:
        began = real_seconds()
        try:
            return job()
        finally:
            self.latest_seconds = real_seconds() - began
            self.busy_seconds += self.latest_seconds

    def close(self) -> None:
        """Take no more jobs and drop those that wait; does not wait for the one that runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
