"""In which order a call lives: which events were there already when it took the next, and what took place in between.

A moment is the number of steps begun and of steps done together: odd within a step, even between
two. On a machine that falls behind several events wait at once, and one may have been made before
what the call does about those ahead of it. The journal has them in the order in which they were
posted and does not tell; a replay must know (`pipeline/score.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import compress


class Moments:
    """One call's. Tell it of every event that is put into the inbox and taken from it, and of every step."""

    def __init__(self) -> None:
        self._events = 1  # the first of a call is posted by nobody
        self._now = 0
        self._waiting: deque[int] = deque()
        self._taken: list[int] = []

    @property
    def after(self) -> tuple[int, int]:
        """How many events the call has had, waiting ones too, and the moment: what now takes place is behind that."""
        return self._events, self._now

    def posted(self) -> None:
        """An event waits in the inbox."""
        self._events += 1
        self._waiting.append(self._now)

    def taken(self) -> None:
        """The first that waits is the next in the journal."""
        self._taken.append(self._waiting.popleft())

    def thrown(self, kept: Sequence[bool]) -> None:
        """Of those that wait, in order, only some go on waiting."""
        self._events -= list(kept).count(False)
        self._waiting = deque(compress(self._waiting, kept))

    def step(self) -> None:
        """A step begins, or is done."""
        self._now += 1

    def told(self) -> list[int]:
        """The moments in which the events taken since this was last asked were posted."""
        taken, self._taken = self._taken, []
        return taken
