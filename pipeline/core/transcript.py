"""The conversation as it was heard: turns for people, messages for the model."""

from __future__ import annotations

from pipeline.core.effects import Message, TurnTaken
from pipeline.core.money import Millis


class Transcript:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.turns = 0

    def caller(self, text: str, started: Millis, ended: Millis) -> TurnTaken:
        self.messages.append(Message("user", text))
        return self._turn(TurnTaken(self.turns, "caller", text, started, ended))

    def agent(self, text: str, started: Millis, ended: Millis, *, interrupted: bool) -> TurnTaken:
        self.messages.append(Message("assistant", text))
        return self._turn(TurnTaken(self.turns, "agent", text, started, ended, interrupted))

    def _turn(self, turn: TurnTaken) -> TurnTaken:
        self.turns += 1
        return turn
