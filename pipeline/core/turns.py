"""Is the caller done? Collects what the caller says until a silence, or the transcriber, ends the turn.

Decides nothing about the agent: whether a barge-in stops it is `call.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.events import Limits
from pipeline.core.money import START, Millis


@dataclass(frozen=True, slots=True)
class Said:
    """A finished caller turn."""

    text: str
    started: Millis
    ended: Millis


@dataclass(slots=True)
class CallerTurn:
    """The caller's turn as far as it has come.

    `voiced_since` is set while the caller's voice is on; `held` once that voice is long enough to be
    a barge-in; `awaited` counts stretches of speech whose text has not come yet.
    """

    limits: Limits
    voiced_since: Millis | None = None
    held: bool = False
    started: Millis | None = None
    stopped: Millis = START
    awaited: int = 0
    texts: list[str] = field(default_factory=list)

    def voice_on(self, onset: Millis) -> None:
        self.voiced_since = onset
        self.held = False
        if self.started is None:
            self.started = onset

    def voice_off(self, ended: Millis, *, text_follows: bool) -> None:
        self.voiced_since = None
        self.held = False
        self.stopped = ended
        self.awaited += text_follows and self.started is not None

    def segment(self, text: str, now: Millis) -> None:
        """The text of one stretch; words that come after their turn was given up begin a turn of their own."""
        self.awaited = max(0, self.awaited - 1)
        if text.strip():
            self.texts.append(text.strip())
            self._begun_by(now)

    def whole(self, text: str, now: Millis) -> None:
        """The transcriber ended the turn, perhaps before the voice was seen to stop."""
        if self.voiced_since is not None:
            self.stopped = now
        self.texts = [text.strip()]
        self.awaited = 0
        self._begun_by(now)

    def _begun_by(self, now: Millis) -> None:
        if self.started is None:
            self.started = self.stopped = now

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def due(self) -> Millis | None:
        """When the turn ends or is given up on, if nothing more is heard."""
        if self.started is None or self.voiced_since is not None:
            return None
        wait = self.limits.thinking_ms if self.awaited else self.limits.end_of_turn_ms
        return Millis(self.stopped + wait)

    def take(self) -> Said:
        """End the turn and start afresh. The text is empty when there were no words in it."""
        said = Said(self.text, self.started if self.started is not None else self.stopped, self.stopped)
        self.started = None
        self.held = False
        self.awaited = 0
        self.texts = []
        return said
