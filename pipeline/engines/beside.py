"""Tasks that run beside the body of a context and never outlive it.

A bare task group does that too, but it wraps what the body raises into a group, and the
callers of an engine expect its `EngineError` as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def plain_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group out of which the body's error comes as it is, once the tasks are done.

    An error of a task comes out in a group, as from any task group; with the body's, if it has one too.
    """
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            try:
                yield tasks
            except Exception as raised:  # edge: of the group, which would wrap it; raised again below
                failure = raised
    except BaseExceptionGroup as faults:  # edge: of the tasks; raised again, with the body's error in it
        if failure is None:
            raise
        raise faults.derive([failure, *faults.exceptions]) from None
    if failure is not None:
        raise failure


@asynccontextmanager
async def beside(
    work: Coroutine[object, object, None], stop: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Run `work` while the context is open. On leaving it is told to `stop` and waited for, or cancelled."""
    async with plain_group() as tasks:
        task = tasks.create_task(work)
        try:
            yield
        finally:
            if stop is None:
                task.cancel()
            else:
                stop()
