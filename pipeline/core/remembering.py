"""Remembering a call once it is over: between the carrier's last word and the closing of the bill.

The model that spoke is asked for what is worth keeping. That is bought like every reply, beforehand and from what is
left of the call's own money, so it is part of the call's bill; nobody waits for it on the telephone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipeline.core import memory_order
from pipeline.core.effects import DropReply, Effect, Learned, Message, Unlearned
from pipeline.core.events import ReplyPiece
from pipeline.core.money import Millis
from pipeline.core.replies import Replies
from pipeline.core.terms import EndReason, Remember

GRACE = Millis(1_000)
"""How long the tokens of an answer that came too late are waited for."""
LONGEST_ANSWER = 20_000
"""Characters beyond which an answer is not read on."""
UNWORTHY = (
    EndReason.VOICEMAIL,
    EndReason.FAX,
    EndReason.OPTED_OUT,
    EndReason.BAD_STREAM,
    EndReason.SERVER_LOST,
)
"""Ends of calls that nobody had a conversation in, or wants to hear of again."""


class Remembering:
    """What is asked for and what has come of it."""

    def __init__(self, wanted: Remember | None, replies: Replies) -> None:
        self._wanted = wanted
        self._replies = replies
        self._number = 0
        self._answer = ""
        self._dropped = False
        self._failed = False
        self._due = Millis(0)

    def ask(self, history: Sequence[Message], reason: EndReason | None, now: Millis) -> list[Effect]:
        """The order, why there is none, or nothing where there is nothing to remember."""
        wanted = self._wanted
        if wanted is None or reason is None or reason in UNWORTHY:
            return []
        if not any(message.role == "user" for message in history):
            return []
        messages = memory_order.order(history, wanted.known, date.fromisoformat(wanted.said_on))
        asked = self._replies.ask_aside(messages, wanted.max_tokens)
        if asked is None:
            return [Unlearned("money")]
        self._number = asked.reply
        self._due = Millis(now + wanted.patience_ms)
        return [asked]

    def forgo(self) -> None:
        """There is nobody any more who could ask the model."""
        self._wanted = None

    @property
    def asked(self) -> bool:
        return self._number > 0

    @property
    def deadline(self) -> Millis:
        """When to look at the time again."""
        return self._due

    def piece(self, event: ReplyPiece) -> None:
        if event.reply == self._number and len(self._answer) < LONGEST_ANSWER:
            self._answer += event.text

    def fail(self, number: int) -> None:
        """The model failed; what it wrote before still costs, and that is still to come."""
        self._failed = self._failed or number == self._number

    @property
    def answered(self) -> bool:
        """The model is done, and its tokens are known."""
        return self._number not in self._replies.unpaid

    def late(self, now: Millis) -> list[Effect]:
        """The time is up: stop the model, and wait only for its tokens."""
        if now < self._due or self._dropped:
            return []
        self._dropped = True
        self._due = Millis(self._due + GRACE)
        return [DropReply(self._number)]

    def over(self, now: Millis) -> bool:
        return self.answered or (self._dropped and now >= self._due)

    def result(self) -> Effect:
        """What came of it. Half an answer counts as none: its last line may say the opposite of what was meant."""
        if self._dropped:
            return Unlearned("late")
        if self._failed or self._wanted is None:
            return Unlearned("failed")
        return Learned(self._wanted.said_on, memory_order.read(self._answer))
