"""The reply being written: drawn from the purse, asked for, cut into sentences, paid, dropped.

What a reply may cost is drawn before it is requested and given back as the true figures
come in. Whether a reply is wanted at all is decided in `call.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.core import prompt
from pipeline.core.effects import AskReply, DropReply, Effect, Message
from pipeline.core.events import CallStarted, ReplyFinished
from pipeline.core.money import Millis, Nanos
from pipeline.core.sentences import SentenceCutter
from pipeline.core.spending import Spending


@dataclass(slots=True)
class Draft:
    """One reply under way. `drawn_chars` of speech are already drawn from the purse."""

    number: int
    drawn_chars: int
    cutter: SentenceCutter = field(default_factory=SentenceCutter)
    spoken: bool = False
    finished: bool = False


class Replies:
    """At most one reply is under way; the tokens of a dropped one are still paid when they are known.

    `unpaid` are the replies whose tokens are not known yet.
    """

    def __init__(self, start: CallStarted, spending: Spending) -> None:
        self._start = start
        self._spending = spending
        self._last = 0
        self._draft: Draft | None = None
        self.unpaid: set[int] = set()

    @property
    def writing(self) -> bool:
        """The model is still at it."""
        return self._draft is not None and not self._draft.finished

    @property
    def spoken(self) -> bool:
        """Something of the present reply was sent to be spoken."""
        return self._draft is not None and self._draft.spoken

    def ask(self, history: Sequence[Message], now: Millis, *, announced: Millis | None) -> AskReply | None:
        """Request a reply to the conversation so far; None when its worst case cannot be afforded."""
        limits, spending = self._start.limits, self._spending
        messages = prompt.build(self._start.layers, history, limits.prompt_max_tokens)
        worst = Nanos(
            spending.price_of("llm", "token_in", prompt.tokens_at_most(messages))
            + spending.price_of("llm", "token_out", limits.reply_max_tokens)
            + spending.price_of("tts", "char", limits.reply_max_chars)
        )
        if not spending.authorise(_ref(self._last + 1), worst, now, announced=announced):
            return None
        self._last += 1
        self.unpaid.add(self._last)
        self._draft = Draft(self._last, limits.reply_max_chars)
        return AskReply(self._last, messages, limits.reply_max_tokens, self._start.temperature_pct)

    def piece(self, number: int, text: str) -> list[str]:
        """Text from the model; the sentences that can be spoken already."""
        return self._draft.cutter.add(text) if self._draft and self._writes(number) else []

    def pay(self, sentence: str, now: Millis, *, announced: Millis | None) -> list[Effect] | None:
        """Charge a sentence about to be spoken; None when it goes beyond what can be afforded."""
        draft, spending = self._draft, self._spending
        if draft is None:
            return None
        ref, price = _ref(draft.number), spending.price_of("tts", "char", len(sentence))
        if draft.drawn_chars < len(sentence):
            if not spending.authorise(ref, price, now, announced=announced):
                return None
            draft.drawn_chars += len(sentence)
        draft.drawn_chars -= len(sentence)
        draft.spoken = True
        spending.release(ref, price)
        return [*spending.use("tts", "char", len(sentence), now)]

    def finish(self, number: int) -> list[str] | None:
        """The model is done: the last sentences, or None when this is not the reply under way."""
        if self._draft is None or not self._writes(number):
            return None
        self._draft.finished = True
        return self._draft.cutter.finish()

    def count(self, event: ReplyFinished, now: Millis) -> list[Effect]:
        """Charge the tokens of a reply, spoken or dropped, and give back what else was drawn for it."""
        spending = self._spending
        if event.reply not in self.unpaid:
            return []  # counted before
        self.unpaid.discard(event.reply)
        charges: list[Effect] = [
            *spending.use("llm", "token_in", event.tokens_in, now),
            *spending.use("llm", "token_cached", event.tokens_cached, now),
            *spending.use("llm", "token_out", event.tokens_out, now),
        ]
        spending.release(_ref(event.reply))
        return charges

    def fail(self, number: int) -> bool:
        """The model failed: True when it was this reply that it failed in."""
        if self._draft is None or not self._writes(number):
            return False
        self._draft.finished = True
        return True

    def stop(self) -> list[Effect]:
        """No more of this reply is wanted; the model is told to stop if it is still writing."""
        if self._draft is None or self._draft.finished:
            return []
        self._draft.finished = True
        return [DropReply(self._draft.number)]

    def drop(self) -> list[Effect]:
        """Stop the reply and forget it."""
        stopped = self.stop()
        self._draft = None
        return stopped

    def _writes(self, number: int) -> bool:
        return self._draft is not None and self._draft.number == number and not self._draft.finished


def _ref(number: int) -> str:
    return f"reply:{number}"
