"""What the caller has truly heard, by the carrier's marks.

Sound is sent ahead of time, so what was sent says nothing about what was heard. A mark
that comes back proves everything up to its chunk; after a `clear` the carrier echoes the
marks of what it dropped, and those prove nothing, which is why a cut forgets them first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pipeline.core.money import START, Millis

MS_PER_CHAR = 60
"""Ordinary speech, for an utterance cut before its length is known."""


@dataclass(slots=True)
class Utterance:
    """One `Say`, `written` by the model or from stock; `aside` is said beside the caller's turn and no turn.

    `queued_ms` is with the carrier, `heard_ms` proven by marks. `sent_ms` is the most that ever was with
    the carrier, `length_ms` all its sound, once that is known; pausing changes neither. `excused`: an apology
    follows it, which stands for this one too should it fail.
    """

    number: int
    text: str
    protected: bool
    written: bool = False
    aside: bool = False
    excused: bool = False
    queued_ms: int = 0
    heard_ms: int = 0
    sent_ms: int = 0
    length_ms: int | None = None
    complete: bool = False

    @property
    def heard(self) -> str:
        """The words whose sound was played, cut at a word's end."""
        return self.words_in(self.heard_ms)

    def words_in(self, ms: int) -> str:
        """The words in the first `ms` of its sound."""
        guess = max(self.sent_ms, MS_PER_CHAR * len(self.text))
        length = guess if self.length_ms is None else self.length_ms
        reach = len(self.text) * ms // length if length else 0
        return self.text[:reach].rpartition(" ")[0] if reach < len(self.text) else self.text


class Playout:
    """The agent's turn on its way to the caller's ear: utterances in order, chunks behind them."""

    def __init__(self) -> None:
        self._utterances: dict[int, Utterance] = {}
        self._chunks: deque[tuple[int, int, int]] = deque()
        self._heard: list[str] = []
        self.paused = False
        self.started: Millis | None = None
        self.moved = START
        """When something was last asked for, queued or heard."""
        self._sounded = START
        """When sound was last queued or known to be heard, or stopped."""

    @property
    def silent(self) -> bool:
        """Nothing is queued, being rendered or playing."""
        return not self._utterances

    @property
    def protected(self) -> bool:
        """Something that may not be interrupted is still to be heard."""
        return any(utterance.protected for utterance in self._utterances.values())

    def holds(self, number: int) -> bool:
        """Whether some of this utterance is still to be heard."""
        return number in self._utterances

    @property
    def due(self) -> Millis:
        """When the last mark would be back, if the carrier loses none."""
        return Millis(self.moved + sum(ms for _, _, ms in self._chunks))

    def sounded(self, now: Millis) -> Millis:
        """Until when the agent was to be heard: now, while anything plays."""
        return Millis(min(now, self._sounded + sum(ms for _, _, ms in self._chunks)))

    def say(
        self, number: int, text: str, *, protected: bool = False, written: bool = False, aside: bool = False
    ) -> None:
        self._utterances[number] = Utterance(number, text, protected, written, aside)

    def protect(self) -> None:
        """Nothing that is still to be heard may be interrupted any more."""
        for utterance in self._utterances.values():
            utterance.protected = True

    def excuse(self) -> None:
        """What is still to be heard is followed by an apology."""
        for utterance in self._utterances.values():
            utterance.excused = True

    def queued(self, number: int, chunk: int, ms: int, at: Millis) -> None:
        """A chunk is on its way; told late, while all is paused, it was taken back meanwhile."""
        if (utterance := self._utterances.get(number)) is not None and not self.paused:
            utterance.queued_ms += ms
            utterance.sent_ms = max(utterance.sent_ms, utterance.queued_ms)
            self._chunks.append((chunk, number, ms))
            self._sounded = at
            if self.started is None and not utterance.aside:
                self.started = at

    def complete(self, number: int) -> None:
        """All sound of an utterance is queued; one without any sound is over at once."""
        if (utterance := self._utterances.get(number)) is not None and not self.paused:
            self._whole(utterance)

    def reached(self, chunk: int, at: Millis) -> bool:
        """A mark came back: whether something the model wrote was heard.

        Unknown chunks were cut before and prove nothing.
        """
        if all(known != chunk for known, _, _ in self._chunks):
            return False
        self._sounded = at
        known, written = None, False
        while known != chunk:
            known, number, ms = self._chunks.popleft()
            utterance = self._utterances.get(number)
            if utterance is not None:
                written = written or utterance.written
                utterance.heard_ms += ms
                self._finish(utterance)
        return written

    def drop(self, number: int, *, for_good: bool = False) -> bool:
        """An utterance failed: what was sent of it will be heard, the rest is not waited for.

        True when it was of the agent's turn, and not over. An excused one matters only `for_good`, when no voice
        is left.
        """
        if (utterance := self._utterances.get(number)) is None:
            return False
        utterance.text = utterance.words_in(utterance.queued_ms)
        self._whole(utterance)
        return not utterance.aside and (for_good or not utterance.excused)

    def pause(self, now: Millis) -> None:
        """The carrier was told to clear, for the time being: what was not heard is queued anew, or cut."""
        self._sounded = self.sounded(now)
        for utterance in self._utterances.values():
            utterance.queued_ms = utterance.heard_ms
            utterance.complete = False
        self._chunks.clear()
        self.paused = True

    def resume(self, now: Millis) -> None:
        """What was not heard comes anew."""
        self.paused = False
        self.moved = now

    def cut(self, now: Millis) -> None:
        """The carrier was told to clear: keep what marks have proven, forget the rest."""
        self._sounded = self.sounded(now)
        for utterance in self._utterances.values():
            if (heard := utterance.heard) and not utterance.aside:
                self._heard.append(heard)
        self._utterances.clear()
        self._chunks.clear()
        self.paused = False

    def take(self) -> str:
        """What was heard of the agent's turn so far; the next turn starts afresh."""
        text = " ".join(self._heard)
        self._heard = []
        self.started = None
        return text

    def _whole(self, utterance: Utterance) -> None:
        """Nothing of it follows what is queued."""
        utterance.complete = True
        utterance.length_ms = utterance.queued_ms
        self._finish(utterance)

    def _finish(self, utterance: Utterance) -> None:
        if utterance.complete and utterance.heard_ms >= utterance.queued_ms:
            if (heard := utterance.heard.strip()) and not utterance.aside:
                self._heard.append(heard)
            del self._utterances[utterance.number]
