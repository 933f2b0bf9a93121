"""What is being said just now, for whoever watches the call: worked out from what passes through it.

Of the agent a sentence is told once its sound is on the way, together with those of its turn before it; what was
heard of them, the call's own turn says afterwards. Of the caller it is what the transcriber makes of the speech going
on, told a few times a second at most: it may still change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipeline.core import effects as fx
from pipeline.core import events as ev

Role = Literal["agent", "caller"]
Saying = tuple[Role, str]

EVERY_MS = 400
"""Between two states of the caller's words, as long as they only grow."""
STALE_MS = 5_000
"""Words of the caller's that have become no turn by then were none: a noise, or an "mm-hm" beside the agent."""


class Words:
    """Of one call. An empty text takes back what was told before."""

    def __init__(self) -> None:
        self._agent: dict[int, str] = {}
        self._begun: set[int] = set()
        self._stretches: list[str] = []
        self._partial = ""
        self._heard_at = 0
        self._told: Saying = ("caller", "")
        self._told_at = -EVERY_MS

    def changes(self, event: ev.Event, effects: Sequence[fx.Effect]) -> list[Saying]:
        """What is told with this step; each role at most once."""
        told = self._agent_says(event)
        self._caller_says(event)
        for effect in effects:
            match effect:
                case fx.Say(utterance, text):
                    self._agent[utterance] = text
                case fx.Hush() if self._begun and not _taken(effects, "agent"):
                    self._agent_done()
                    told = [("agent", "")]
                case fx.TurnTaken(role="agent"):
                    self._agent_done()
                    told = []
                case fx.TurnTaken():
                    self._agent_done()  # what was said beside the caller's turn is over
                    self._caller_done()
                    self._told = ("caller", "")  # the turn itself takes it back
                case _:
                    pass
        return told + self._caller_told(event, keep=isinstance(event, ev.Heard))

    # -- the agent -------------------------------------------------------------------------

    def _agent_says(self, event: ev.Event) -> list[Saying]:
        if not isinstance(event, ev.AudioQueued) or event.utterance in self._begun:
            return []
        if event.utterance not in self._agent:
            return []
        self._begun.add(event.utterance)
        return [("agent", " ".join(text for number, text in self._agent.items() if number in self._begun))]

    def _agent_done(self) -> None:
        self._agent.clear()
        self._begun.clear()

    # -- the caller ------------------------------------------------------------------------

    def _caller_says(self, event: ev.Event) -> None:
        match event:
            case ev.Heard(text=text) | ev.TurnLikelyEnded(text=text) | ev.TurnEnded(text=text):
                self._partial = text
            case ev.SegmentHeard(text=text):
                self._partial = ""
                self._stretches += [text] if text else []
            case ev.SpeechHeld() | ev.SpeechReturned() | ev.SpeechStopped():
                pass  # words are on their way
            case _:
                if event.at - self._heard_at >= STALE_MS:
                    self._caller_done()
                return
        self._heard_at = event.at

    def _caller_done(self) -> None:
        self._stretches.clear()
        self._partial = ""

    def _caller_told(self, event: ev.Event, *, keep: bool) -> list[Saying]:
        """Growing words may wait, and are told with the next step; whatever else happened to them is told now."""
        now: Saying = ("caller", " ".join([*self._stretches, self._partial]).strip())
        if now == self._told or (keep and event.at - self._told_at < EVERY_MS):
            return []
        self._told, self._told_at = now, event.at
        return [now]


def _taken(effects: Sequence[fx.Effect], role: Role) -> bool:
    return any(isinstance(effect, fx.TurnTaken) and effect.role == role for effect in effects)
