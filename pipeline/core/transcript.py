"""The conversation as it was heard: turns for people, messages for the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile

from pipeline.core.effects import Message, TurnTaken
from pipeline.core.money import Millis


class Transcript:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.turns = 0
        self.answered = 0
        """Turns of the caller whose answer was heard to its end."""

    def resume(self, said: Sequence[Message]) -> None:
        """Every message is a turn: what the model is told besides never comes here."""
        self.messages, self.turns = list(said), len(said)
        self.answered = sum(
            (before.role, after.role) == ("user", "assistant") for before, after in pairwise(said)
        )

    def heard(self, text: str) -> bool:
        """Whether the caller has heard the agent say all of this."""
        return any(message.role == "assistant" and text in message.content for message in self.messages)

    @property
    def unanswered(self) -> str:
        """All that the caller said since the agent was last heard; "" for nothing."""
        turns = takewhile(lambda message: message.role == "user", reversed(self.messages))
        return " ".join(reversed([message.content for message in turns]))

    @property
    def callers(self) -> list[str]:
        """The caller's turns."""
        return [message.content for message in self.messages if message.role == "user"]

    def caller(self, text: str, started: Millis, ended: Millis) -> TurnTaken:
        self.messages.append(Message("user", text))
        return self._turn(TurnTaken(self.turns, "caller", text, started, ended))

    def agent(self, text: str, started: Millis, ended: Millis, *, interrupted: bool) -> TurnTaken:
        self.answered += bool(self.unanswered) and not interrupted
        self.messages.append(Message("assistant", text))
        return self._turn(TurnTaken(self.turns, "agent", text, started, ended, interrupted))

    def _turn(self, turn: TurnTaken) -> TurnTaken:
        self.turns += 1
        return turn
