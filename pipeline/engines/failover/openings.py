"""Engine contexts, each in a task of its own: opened by whoever needs one, in whatever task.

A context must be left by the task that entered it, but the engine that is needed next is
needed in a task that is soon over (an utterance's, say). And a broken engine may take its
time to close, which the next one must not wait for. Decides nothing about engines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from pipeline.core.errors import EngineError
from pipeline.engines.beside import plain_group
from pipeline.surprises import SURPRISES

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened(Generic[T]):
    """`inside` is what the context gave. `close` has it left, without waiting for that."""

    inside: T
    close: Callable[[], None]


class Openings:
    """See `openings`."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._leaving: set[asyncio.Event] = set()

    async def open(self, context: AbstractAsyncContextManager[T], patience_s: float) -> Opened[T]:
        """Raises `EngineError`, also when it is not open within `patience_s`; it is left again then."""
        answer: asyncio.Future[Opened[T] | EngineError] = asyncio.get_running_loop().create_future()
        task = self._tasks.create_task(self._hold(context, answer))
        try:
            async with asyncio.timeout(patience_s):
                opened = await answer
        except TimeoutError:
            task.cancel()
            raise EngineError("not open in time", retryable=True) from None
        except asyncio.CancelledError:
            task.cancel()
            raise
        if isinstance(opened, EngineError):
            raise opened
        return opened

    async def _hold(
        self, context: AbstractAsyncContextManager[T], answer: asyncio.Future[Opened[T] | EngineError]
    ) -> None:
        leave = asyncio.Event()
        self._leaving.add(leave)
        try:
            async with context as inside:
                if _tell(answer, Opened(inside, leave.set)):
                    await leave.wait()
        except EngineError as error:
            _tell(answer, error)
        except Exception as error:  # edge: of the context's task; for whoever needs it, it is not open
            SURPRISES.labels("engine context").inc()
            log.exception("engine_context_failed")
            _tell(answer, EngineError(type(error).__name__))
        finally:
            self._leaving.discard(leave)

    def close(self) -> None:
        for leave in self._leaving:
            leave.set()


def _tell(answer: asyncio.Future[T], told: T) -> bool:
    """Whether somebody still waits for it."""
    if answer.done():
        return False
    answer.set_result(told)
    return True


@asynccontextmanager
async def openings() -> AsyncIterator[Openings]:
    """While this is open, contexts can be opened in tasks of their own; on leaving, all are left.

    What the body raises comes out as it is, not in a group.
    """
    async with plain_group() as tasks:
        inside = Openings(tasks)
        try:
            yield inside
        finally:
            inside.close()
