"""What the agent was to say and the caller did not hear, worked out from what a call asked for.

The core's transcript keeps only what was heard, since that is what the conversation goes on from. What was cut off is
for whoever reads it: live, in the ledger's transcript, and made again from the journal of a process that died.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.effects import Effect, Hush, Say, TurnTaken
from storage.notes import Note, Unheard


class CutOff:
    """Of one call, whose effects it is told in order."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._hushed = False

    def after(self, effect: Effect) -> str:
        """What this effect shows was not heard; nothing unless it is a turn of the agent's that was cut off."""
        match effect:
            case Say(text=text):
                if self._hushed:  # of what was dropped then nothing was heard, or a turn would have followed
                    self._forget()
                self._said.append(text)
            case Hush():
                self._hushed = True
            case TurnTaken(role="agent"):
                rest = self._rest(effect)
                self._forget()
                return rest
            case TurnTaken():
                self._forget()  # what was said beside the caller's turn is over
            case _:
                pass
        return ""

    def _rest(self, turn: TurnTaken) -> str:
        """What of the turn comes after the words that were heard."""
        whole = " ".join(self._said)
        return whole[len(turn.text) :].strip() if turn.interrupted and whole.startswith(turn.text) else ""

    def _forget(self) -> None:
        self._said.clear()
        self._hushed = False


def notes_of(effects: Iterable[Effect]) -> list[Note]:
    """All that is to be noted of effects that a journal tells."""
    cut_off, noted = CutOff(), list[Note]()
    for effect in effects:
        rest = cut_off.after(effect)
        if isinstance(effect, Note):
            noted.append(effect)
        if rest and isinstance(effect, TurnTaken):
            noted.append(Unheard(effect.index, rest))
    return noted
