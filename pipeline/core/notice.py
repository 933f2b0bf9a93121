"""When the one spoken warning about money is given, and in which words. When it is due is decided in `budget.py`.

It waits for the greeting to be heard, and a few seconds for whoever has the floor.
"""

from __future__ import annotations

from pipeline.core.money import Millis
from pipeline.core.spending import Spending
from pipeline.core.terms import Phrases


def words(phrases: Phrases, left_ms: int) -> str:
    """The warning that is true when so much time is left until the cutoff."""
    fitting = (each.text for each in phrases.warnings if left_ms >= each.at_least_ms)
    return next(fitting, phrases.warning)


class Notice:
    def __init__(self, spending: Spending, patience_ms: int) -> None:
        self._spending = spending
        self._patience_ms = patience_ms
        self._waiting_since: Millis | None = None
        self.announced: Millis | None = None
        """The cutoff the caller was told of; None until the warning is given."""

    @property
    def given(self) -> bool:
        return self.announced is not None

    def deadline(self, *, greeted: bool) -> Millis | None:
        """When to look again; None when there is nothing to wait for."""
        if self.given or not greeted:
            return None
        if self._waiting_since is not None:
            return Millis(self._waiting_since + self._patience_ms)
        return self._spending.warning

    def due(self, now: Millis, *, greeted: bool, busy: bool) -> bool:
        """Whether to speak now; while somebody has the floor, not before the patience is used up."""
        warning = self._spending.warning
        if self.given or not greeted or warning is None or now < warning:
            self._waiting_since = None  # more money may have come while it waited
            return False
        if busy and self._waiting_since is None:
            self._waiting_since = now
        waited = 0 if self._waiting_since is None else now - self._waiting_since
        return not busy or waited >= self._patience_ms
