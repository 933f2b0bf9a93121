"""How fast a turn was answered, stage by stage, from the caller's last audible sample on.

Collects instants as the events bring them; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.effects import TurnTimed
from pipeline.core.events import Audible, AudioQueued
from pipeline.core.money import START, Millis


@dataclass(slots=True)
class Answer:
    """One answer under way: the turn it answers, and what is known of it so far."""

    index: int
    fell_silent: Millis
    end_of_turn: Millis
    reply: int
    eager: bool
    token: Millis | None = None
    utterance: int | None = None
    audio: Millis | None = None
    audible: Audible | None = None
    chunk: AudioQueued | None = None
    played: Millis = START
    """When that chunk would be over if the carrier were here."""


class Timing:
    """At most one answer is timed at a time; one that is interrupted before it was heard is not told of."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._tokens: dict[int, Millis] = {}
        self._plays_until = START
        self._warning = 0
        self._warned_until = Millis(-1)

    def warned(self, utterance: int, now: Millis) -> None:
        """The warning is to be spoken: what is said before its end is answered after it.

        That wait tells nothing of how fast the caller is answered, and is not told.
        """
        self._warning, self._warned_until = utterance, now
        if self._answer is not None and self._answer.utterance is None:
            self._answer = None

    def asked(self, index: int, fell_silent: Millis | None, now: Millis, reply: int, *, eager: bool) -> None:
        """The caller's turn is over, its last audible sample came at `fell_silent`, and this reply answers it.

        Of a turn of which no voice was seen there is nothing to time the answer from.
        """
        token = self._tokens.pop(reply, None)
        self._tokens.clear()
        self._answer = None
        if fell_silent is not None and fell_silent > self._warned_until:
            self._answer = Answer(index, fell_silent, now, reply, eager, token)

    def token(self, reply: int, now: Millis, *, begins: bool = False) -> None:
        """The model wrote something; of a reply that was begun early, before anybody asked for it.

        `begins`: another model took over and begins anew.
        """
        if self._answer is not None and self._answer.reply == reply:
            self._answer.token = now if begins or self._answer.token is None else self._answer.token
        elif begins or reply not in self._tokens:
            self._tokens[reply] = now

    def said(self, utterance: int) -> None:
        """The first sentence of the reply is to be spoken."""
        if self._answer is not None and self._answer.utterance is None:
            self._answer.utterance = utterance

    def bought(self, utterance: int, now: Millis) -> None:
        if (answer := self._of(utterance)) is not None and answer.audio is None:
            answer.audio = now

    def audible(self, event: Audible) -> None:
        if (answer := self._of(event.utterance)) is not None and answer.audible is None:
            answer.audible = event

    def queued(self, event: AudioQueued) -> None:
        self._plays_until = Millis(max(self._plays_until, event.at) + event.ms)
        if event.utterance == self._warning:
            self._warned_until = self._plays_until
        if (answer := self._of(event.utterance)) is not None and answer.chunk is None:
            answer.chunk, answer.played = event, self._plays_until

    def reached(self, chunk: int, now: Millis) -> TurnTimed | None:
        """A mark came back: if it was that of the answer's first chunk, all is known."""
        answer = self._answer
        if answer is None or answer.chunk is None or answer.chunk.chunk != chunk:
            return None
        self._answer = None
        heard, token = answer.audible, answer.token
        if heard is None or token is None or answer.audio is None:
            return None
        # How much later than it would have played here the first chunk was played: the way there and back.
        distance = max(0, now - answer.played)
        start = answer.fell_silent
        return TurnTimed(
            index=answer.index,
            speech_end=start,
            end_of_turn_ms=answer.end_of_turn - start,
            first_token_ms=token - start,
            first_audio_ms=answer.audio - start,
            first_frame_ms=answer.chunk.at - start,
            audible_ms=heard.at + heard.ahead_ms + distance - start,
            eager=answer.eager,
        )

    def drop(self) -> None:
        """The answer was interrupted or failed."""
        self._answer = None
        self._tokens.clear()

    def cleared(self) -> None:
        """Nothing that was queued is played any more."""
        self._plays_until = START
        self.drop()

    def _of(self, utterance: int) -> Answer | None:
        answer = self._answer
        return answer if answer is not None and answer.utterance == utterance else None
