"""A virtual-time loop on which everything happens in one order, and whose nodes can be frozen and killed.

Work for threads is done at once on the loop's own thread: how long a thread takes is the only chance left in
virtual time. Every callback belongs to the node in whose context it was made. While a node is frozen its
callbacks are put by; those of a killed one never run, no `finally` of theirs either, as after kill -9.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from pipeline.clock import VirtualLoop

T = TypeVar("T")


class Gate:
    """Whether the callbacks of one node run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shut = False
        self.put_by: list[asyncio.Handle] = []

    def context(self) -> Context:
        """A context of this node's, for its first task and for what comes in from outside."""
        context = copy_context()
        context.run(_GATE.set, self)
        return context

    def open(self, loop: SimulatedLoop) -> None:
        self.shut = False
        waiting, self.put_by = self.put_by, []
        loop.run_again(waiting)


_GATE: ContextVar[Gate | None] = ContextVar("gate", default=None)


class _Gated(asyncio.Handle):
    _context: Context

    def _run(self) -> None:
        gate = self._context.get(_GATE)
        if gate is None or not gate.shut:
            super()._run()
        else:
            gate.put_by.append(self)


class _GatedTimer(asyncio.TimerHandle):
    _context: Context

    def _run(self) -> None:
        gate = self._context.get(_GATE)
        if gate is None or not gate.shut:
            super()._run()
        else:
            gate.put_by.append(self)


class SimulatedLoop(VirtualLoop):
    """Reaches into asyncio's event loop where it makes handles; there is no public place for that."""

    _ready: Any
    _scheduled: Any

    def _jump(self, timeout: float | None) -> float | None:
        if timeout is None:
            waiting = [f"{task.get_coro()!r}" for task in asyncio.all_tasks(self)]
            raise RuntimeError(f"everything waits for ever: {waiting}")
        return super()._jump(timeout)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _GatedTimer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _call_soon(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        handle = _Gated(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        self._ready.extend(handles)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # whoever awaits it gets it, as from a thread
            done.set_exception(error)
        return done


def run_simulated(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)
