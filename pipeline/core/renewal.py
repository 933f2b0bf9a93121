"""When a call asks for more money than is held for it, and when it stops counting on the answer.

The money of a call is held in parts, so that one call does not keep from the others what it may never use. The
next part is asked for long before this one is used up: an answer takes a second, and a database that is away must
leave time for the warning and the goodbye. All times here are milliseconds since the answer of the call.
"""

from __future__ import annotations

from pipeline.core.money import Millis

AHEAD = Millis(35_000)
"""More is asked for this long before the held money ends: 3 s of patience, 20 s of notice, 12 s of goodbye."""
NEAR_END = Millis(65_000)
"""The last word on what can still be had is asked for this long before the cutoff: just ahead of the warning."""
AGAIN = Millis(5_000)
"""After an answer that was the last of it, a top-up is looked for this often."""
PATIENCE = Millis(3_000)
"""Without an answer for so long, the call reckons with what it holds."""


class Renewal:
    """One question at a time. Whoever performs it repeats it for us until the database answers."""

    def __init__(self) -> None:
        self._asked: Millis | None = None
        self._not_before = Millis(0)
        self.overdue = False
        """The answer does not come: nothing but what is held can be counted on."""

    def ask(self, now: Millis) -> None:
        self._asked = now

    def wait(self, now: Millis) -> bool:
        """True at the moment at which the patience is used up."""
        late = self._asked is not None and now >= self._asked + PATIENCE
        changed = late and not self.overdue
        self.overdue = late
        return changed

    def answer(self, now: Millis, *, last: bool) -> None:
        """What there was has come; where that was the `last` of it, there is no hurry to ask again."""
        self._asked, self.overdue = None, False
        self._not_before = Millis(now + AGAIN) if last else now

    def deadline(self, wanted: Millis | None) -> Millis | None:
        """When to look again: at the end of the patience, or when more is `wanted`."""
        if self._asked is not None:
            return None if self.overdue else Millis(self._asked + PATIENCE)
        return None if wanted is None else Millis(max(wanted, self._not_before))

    def due(self, now: Millis, wanted: Millis | None) -> bool:
        """Whether to ask now."""
        return self._asked is None and wanted is not None and now >= max(wanted, self._not_before)
