"""A task that runs beside the body of a context and never outlives it.

A bare task group does that too, but it wraps what the body raises into a group, and the
callers of an engine expect its `EngineError` as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def beside(
    work: Coroutine[object, object, None], stop: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Run `work` while the context is open. On leaving it is told to `stop` and waited for, or cancelled."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        except Exception as raised:
            # edge: of the group; raised again as soon as the task is done.
            failure = raised
        finally:
            if stop is None:
                task.cancel()
            else:
                stop()
    if failure is not None:
        raise failure
