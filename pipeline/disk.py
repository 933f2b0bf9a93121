"""A thread that writes what a call leaves behind: nothing in the call waits for the disk.

A disk that fails or falls behind ends the writing, which is told once, and not the call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Generic, TypeVar

import structlog

from pipeline.surprises import SURPRISES

log = structlog.get_logger()

T = TypeVar("T")


class DiskThread(Generic[T]):
    """Hands what it takes to `write`, in order, in a thread that is started with the first of it; then `close`s.

    `name` is the thread's and, with `_lost`, what the log says when nothing more is written. `behind`: how many
    things may wait.
    """

    def __init__(
        self, name: str, write: Callable[[T], None], close: Callable[[], None], *, behind: int
    ) -> None:
        self._name = name
        self._write = write
        self._close = close
        self._behind = behind
        self._waiting: Queue[tuple[T] | None] = Queue()
        self._thread: threading.Thread | None = None
        self._finished = self._lost = False

    def take(self, thing: T) -> bool:
        """Whether it will be written; otherwise nothing more will."""
        if self._thread is None:
            # A disk that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no thread left
                self._lose(str(error))
                return False
            self._thread = thread
        if self._waiting.qsize() >= self._behind:
            self._lose("the disk is too slow")
        if not self._lost:
            self._waiting.put((thing,))
        return not self._lost

    def finish(self) -> None:
        """Nothing more comes. What was taken is on its way, for which nobody waits."""
        if self._finished:
            return
        self._finished = True
        if self._thread is None:
            self._close()
        else:
            self._waiting.put(None)

    def join(self, wait_s: float) -> None:
        """Wait until all is written, but no longer than that. Blocking."""
        if self._thread is not None:
            self._thread.join(wait_s)

    def _lose(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            log.error(f"{self._name}_lost", error=why)

    def _run(self) -> None:
        try:
            while (taken := self._waiting.get()) is not None:
                if not self._lost:
                    self._write(*taken)
        except Exception as error:  # edge: of the thread; the call goes on
            SURPRISES.labels(self._name).inc()
            self._lose(type(error).__name__)
        finally:
            self._close()
