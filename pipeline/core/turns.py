"""Is the caller done? Collects what the caller says until a silence, or the transcriber, ends the turn.

Decides nothing about the agent: whether a barge-in stops it is `call.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core import cues
from pipeline.core.money import START, Millis
from pipeline.core.terms import Limits

MARGIN_MS = 32
"""A window of voice activity detection: so exactly is known when a voice was over."""
WORD_MS = 200
"""Nobody says a word in less, but for the last one, of which the end may be too soft to be counted."""


@dataclass(frozen=True, slots=True)
class Said:
    """A finished caller turn."""

    text: str
    started: Millis
    ended: Millis
    fell_silent: Millis | None = field(default=None, compare=False)
    """When the last audible sample of it came; None when no voice was seen."""


def is_fleeting(
    limits: Limits, voiced_since: int, held_since: int, back_since: int | None, quiet_since: int
) -> bool:
    """Whether a voice that went quiet was too short for more than a noise or an "mhm". All times in milliseconds.

    One that is held late was doubtful until then; one that comes back has to do so for a while.
    """
    doubtful = max(0, held_since - voiced_since - limits.barge_in_ms)
    if quiet_since - voiced_since - doubtful < limits.brief_ms:
        return True
    return back_since is not None and quiet_since - back_since < limits.barge_in_ms


@dataclass(slots=True)
class CallerTurn:
    """The caller's turn as far as it has come.

    `voiced_since` is set while the caller's voice is on; `held` once that voice is long enough to be
    a barge-in, `barged` if any voice of the turn was; `lull` is how long the voice had been on when it
    last went quiet, `fleeting` whether that was too soon after it stopped the agent to be more than a
    noise; `awaited` counts stretches of speech whose text has not come yet.
    """

    limits: Limits
    voiced_since: Millis | None = None
    held: bool = False
    barged: bool = False
    lull: int | None = None
    fleeting: bool = False
    held_since: Millis | None = None
    back_since: Millis | None = None
    voiced_ms: int = 0
    started: Millis | None = None
    stopped: Millis = START
    fell_silent: Millis | None = None
    awaited: int = 0
    texts: list[str] = field(default_factory=list)
    unfinished: bool = False

    def voice_on(self, onset: Millis) -> None:
        self.voiced_since = onset
        self.held = self.fleeting = False
        self.lull = self.held_since = self.back_since = None
        if self.started is None:
            self.started = onset

    def hold(self, now: Millis) -> None:
        """The voice is long enough to be speech and no click."""
        self._stop_agent()
        self.held_since = now

    def come_back(self, now: Millis) -> None:
        """The voice goes on after it faded."""
        self._stop_agent()
        self.back_since = now

    def _stop_agent(self) -> None:
        if self.voiced_since is not None:
            self.held = self.barged = True
            self.lull, self.fleeting = None, False

    def fade(self, quiet_since: Millis) -> None:
        """A held voice went quiet, perhaps between two words."""
        if self.voiced_since is not None:
            self.held = False
            self._lull(quiet_since, self.voiced_since)

    def _lull(self, quiet_since: Millis, voiced_since: Millis) -> None:
        self.lull = quiet_since - voiced_since
        held_since = voiced_since if self.held_since is None else self.held_since
        self.fleeting = is_fleeting(self.limits, voiced_since, held_since, self.back_since, quiet_since)

    def voice_off(self, ended: Millis, quiet_since: Millis, *, text_follows: bool) -> None:
        if self.voiced_since is not None:
            if self.lull is None:
                self._lull(ended, self.voiced_since)
            self.voiced_ms += self.lull or 0
        self.stopped = max(ended, self.voiced_since or START)
        # What is heard longer than that after the voice is a noise.
        self.fell_silent = min(quiet_since, Millis(self.stopped + MARGIN_MS))
        self.voiced_since = None
        self.held = False
        self.awaited += text_follows and self.started is not None

    def segment(self, text: str, now: Millis) -> None:
        """The text of one stretch; words that come after their turn was given up begin a turn of their own."""
        self.awaited = max(0, self.awaited - 1)
        if text.strip():
            self.texts.append(text.strip())
            self.unfinished = cues.unfinished(self.text)
            self._begun_by(now)

    def with_rest(self, text: str) -> str:
        """The turn if `text` is the rest of it: all of it, unless another transcriber began it by stretches."""
        return " ".join([*self.texts, text.strip()]).strip()

    def over(self, text: str, now: Millis, quiet_since: Millis) -> None:
        """The transcriber ended the turn, perhaps before the voice was seen to stop."""
        if self.voiced_since is not None:
            self.stopped, self.fell_silent = now, quiet_since
        self.texts = [self.with_rest(text)]
        self.awaited = 0
        self._begun_by(now)

    def _begun_by(self, now: Millis) -> None:
        if self.started is None:
            self.started = self.stopped = now
            self.fell_silent = None

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def lasted(self) -> int | None:
        """Milliseconds of voice in the turn; None while there is one, or before there was any."""
        if self.started is None or self.lull is None:
            return None
        return self.voiced_ms if self.voiced_since is None else self.voiced_ms + self.lull

    @property
    def brief(self) -> bool:
        """All that was heard of the turn was over too soon to be more than a noise."""
        return self.lasted is not None and self.lasted < self.limits.brief_ms

    @property
    def heard_out(self) -> bool:
        """The voice is off, and the words of all that was said are there, if there are any."""
        return self.voiced_since is None and self.lull is not None and not self.awaited

    def holds(self, text: str) -> bool:
        """Whether the voice had the time for so many words; if not, something else was heard with it."""
        return self.lasted is None or len(text.split()) <= 1 + self.lasted // WORD_MS

    @property
    def settled(self) -> bool:
        """The voice is off, and the words of all that was said are there."""
        return self.voiced_since is None and not self.awaited and bool(self.texts)

    @property
    def due(self) -> Millis | None:
        """When the turn ends or is given up on, if nothing more is heard."""
        if self.started is None or self.voiced_since is not None:
            return None
        if self.awaited:
            return Millis(self.stopped + self.limits.thinking_ms)
        wait = self.limits.unfinished_ms if self.unfinished else self.limits.end_of_turn_ms
        return Millis(self.stopped + wait)

    def take(self) -> Said:
        """End the turn and start afresh. The text is empty when there were no words in it."""
        started = self.stopped if self.started is None else self.started
        said = Said(self.text, started, self.stopped, self.fell_silent)
        self.started = None
        self.lull = self.held_since = self.back_since = None
        self.voiced_ms = 0
        self.fleeting = False
        self.held = self.barged = self.unfinished = False
        self.awaited = 0
        self.texts = []
        return said
