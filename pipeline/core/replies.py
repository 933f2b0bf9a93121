"""The reply being written: drawn from the purse, asked for, cut into sentences, held back, paid, dropped.

What a reply may cost is drawn before it is requested and given back as the true figures
come in. Whether a reply is wanted at all is decided in `call.py` and `speech.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.core import prompt
from pipeline.core.effects import AskReply, DropReply, EagerSettled, Effect, Message
from pipeline.core.events import CallStarted, ReplyFinished
from pipeline.core.money import Millis, Nanos
from pipeline.core.sentences import SentenceCutter
from pipeline.core.spending import Spending

EAGER_LOOKOUT = Millis(120_000)
"""A reply is begun on a guess only where the money still lasts this long after the guess and the true reply."""


class Use(StrEnum):
    """What becomes of a reply's sentences: held back until the turn is over, or on while a noise is sorted out."""

    GUESSED = "guessed"
    WAITING = "waiting"
    SPOKEN = "spoken"


@dataclass(slots=True)
class Draft:
    """One reply under way. `drawn_chars` of speech are already drawn from the purse."""

    number: int
    drawn_chars: int
    use: Use
    answers: str
    ends_call: bool
    cutter: SentenceCutter = field(default_factory=SentenceCutter)
    ready: list[str] = field(default_factory=list)
    spoken: bool = False
    finished: bool = False
    cut_short: bool = False


@dataclass(slots=True)
class Guess:
    """A reply begun early: whether it was used, and what its tokens cost, as soon as either is known."""

    committed: bool | None = None
    nano: Nanos | None = None


class Replies:
    """At most one reply is under way; the tokens of a dropped one are still paid when they are known.

    `unpaid` are the replies whose tokens are not known yet.
    """

    def __init__(self, start: CallStarted, spending: Spending) -> None:
        self._start = start
        self._spending = spending
        self._last = 0
        self._draft: Draft | None = None
        self._guesses: dict[int, Guess] = {}
        self.unpaid: set[int] = set()

    def resume(self, last: int) -> None:
        """Go on numbering behind what another process told of."""
        self._last = last

    # -- what it is about ------------------------------------------------------------------

    @property
    def writing(self) -> bool:
        """The model is still at it."""
        return self._draft is not None and not self._draft.finished

    @property
    def spoken(self) -> bool:
        """Something of the present reply was sent to be spoken."""
        return self._draft is not None and self._draft.spoken

    @property
    def ends_call(self) -> bool:
        """Nothing is to be said after the present reply."""
        return self._draft is not None and self._draft.ends_call

    @property
    def last_word(self) -> bool:
        """The reply after which nothing is to be said has begun to be spoken."""
        return self.ends_call and self.spoken

    @property
    def under_way(self) -> bool:
        """More of the present reply is to come, from the model or of what was held back; or nothing came of it."""
        draft = self._draft
        return draft is not None and (not draft.finished or bool(draft.ready) or not draft.spoken)

    @property
    def number(self) -> int:
        """The latest reply asked for."""
        return self._last

    @property
    def guessed(self) -> str | None:
        """The words that a reply held back would answer, None without one."""
        draft = self._draft
        return draft.answers if draft is not None and draft.use is Use.GUESSED else None

    # -- asking ----------------------------------------------------------------------------

    def ask(
        self, history: Sequence[Message], now: Millis, *, announced: Millis | None, ends_call: bool = False
    ) -> AskReply | None:
        """Request a reply to the conversation so far; None when its worst case cannot be afforded."""
        return self._ask(history, now, announced, Use.SPOKEN, ends_call=ends_call)

    def guess(self, history: Sequence[Message], now: Millis, answers: str) -> AskReply | None:
        """Request a reply to words that may not be the last; None where money is too short for guessing."""
        spending = self._spending
        messages = [*history, Message("user", answers)]
        if not spending.lasts(Nanos(2 * self.worst(messages)), Millis(now + EAGER_LOOKOUT)):
            return None
        order = self._ask(messages, now, None, Use.GUESSED, answers=answers)
        if order is not None:
            self._guesses[order.reply] = Guess()
        return order

    def worst(self, history: Sequence[Message]) -> Nanos:
        """What a reply to this costs at most, its first words spoken."""
        limits, spending = self._start.limits, self._spending
        messages = prompt.build(self._start.layers, history, limits.prompt_max_tokens)
        return Nanos(
            spending.price_of("llm", "token_in", prompt.tokens_at_most(messages) + prompt.TOOL_TOKENS)
            + self._written_price(limits.reply_max_tokens)
            + self._voice_price
        )

    def _written_price(self, max_tokens: int) -> Nanos:
        """A vendor counts and bills what a model thinks like what it says."""
        ceiling = max_tokens + self._start.limits.reasoning_tokens
        return self._spending.price_of("llm", "token_out", ceiling)

    @property
    def _voice_price(self) -> Nanos:
        return self._spending.price_of("tts", "char", self._start.limits.reply_max_chars)

    def _ask(
        self,
        history: Sequence[Message],
        now: Millis,
        announced: Millis | None,
        use: Use,
        *,
        answers: str = "",
        ends_call: bool = False,
    ) -> AskReply | None:
        limits = self._start.limits
        worst = self.worst(history)
        if not self._spending.authorise(_reply(self._last + 1), worst, now, announced=announced):
            return None
        self._last += 1
        self._spending.move(_reply(self._last), _voice(self._last), self._voice_price)
        self.unpaid.add(self._last)
        self._draft = Draft(self._last, limits.reply_max_chars, use, answers, ends_call)
        messages = prompt.build(self._start.layers, history, limits.prompt_max_tokens)
        return AskReply(self._last, messages, limits.reply_max_tokens, self._start.temperature_pct)

    def ask_aside(self, messages: Sequence[Message], max_tokens: int) -> AskReply | None:
        """Request what nobody will hear, once the call is over; None when its worst case is more than what is left."""
        spending = self._spending
        worst = Nanos(
            spending.price_of("llm", "token_in", prompt.tokens_at_most(messages) + prompt.TOOL_TOKENS)
            + self._written_price(max_tokens)
        )
        if not spending.spare(_reply(self._last + 1), worst):
            return None
        self._last += 1
        self.unpaid.add(self._last)
        return AskReply(self._last, tuple(messages), max_tokens, 0)

    # -- what comes of it --------------------------------------------------------------------

    def piece(self, number: int, text: str) -> list[str]:
        """Text from the model; the sentences that can be spoken already."""
        if self._draft is None or not self._writes(number):
            return []
        return self._keep(self._draft.cutter.add(text))

    def finish(self, number: int) -> list[str] | None:
        """The model is done: the last sentences, or None when this is not the reply under way."""
        if self._draft is None or not self._writes(number):
            return None
        self._draft.finished = True
        return self._keep(self._draft.cutter.finish(cut_short=self._draft.cut_short))

    def cut_short(self, number: int) -> None:
        """The ceiling of tokens ended it: it breaks off, in mid-sentence as a rule."""
        if self._draft is not None and self._draft.number == number:
            self._draft.cut_short = True

    def ends(self, number: int) -> bool:
        """The model wants this to be its last reply; True when it is the one under way."""
        if self._draft is None or self._draft.number != number:
            return False
        self._draft.ends_call = True
        return True

    def hold(self) -> None:
        """Say no more of it until `release`."""
        if self._draft is not None and self._draft.use is Use.SPOKEN:
            self._draft.use = Use.WAITING

    def release(self) -> list[str]:
        """What was held back meanwhile."""
        draft = self._draft
        if draft is None:
            return []
        self._decide(draft, committed=True)
        draft.use = Use.SPOKEN
        ready, draft.ready = draft.ready, []
        return ready

    @property
    def stillborn(self) -> bool:
        """The reply is over and not a word of it is spoken or ready."""
        draft = self._draft
        if draft is None or draft.use is not Use.SPOKEN:
            return False
        return draft.finished and not draft.spoken

    def _keep(self, sentences: list[str]) -> list[str]:
        if self._draft is None or self._draft.use is Use.SPOKEN:
            return sentences
        self._draft.ready += sentences
        return []

    # -- money -----------------------------------------------------------------------------

    def pay(self, sentence: str, utterance: int, now: Millis, *, announced: Millis | None) -> bool:
        """Set the price of a sentence aside until it is bought; False when it cannot be afforded."""
        draft, spending = self._draft, self._spending
        if draft is None:
            return False
        price = spending.price_of("tts", "char", len(sentence))
        if draft.drawn_chars >= len(sentence):
            draft.drawn_chars -= len(sentence)
        elif not spending.authorise(_voice(draft.number), price, now, announced=announced):
            return False
        spending.release(_voice(draft.number), price)
        spending.draw_speech(utterance, len(sentence))
        draft.spoken = True
        return True

    def count(self, event: ReplyFinished, now: Millis) -> list[Effect]:
        """Charge the tokens of a reply, spoken or dropped, and give back what else was drawn for it."""
        spending = self._spending
        if event.reply not in self.unpaid:
            return []  # counted before
        self.unpaid.discard(event.reply)
        charges = [
            *spending.use("llm", event.model, "token_in", event.tokens_in, now),
            *spending.use("llm", event.model, "token_cached", event.tokens_cached, now),
            *spending.use("llm", event.model, "token_out", event.tokens_out, now),
        ]
        spending.release(_reply(event.reply))
        if (guess := self._guesses.get(event.reply)) is not None:
            guess.nano = Nanos(sum(charge.nano for charge in charges))
        return [*charges]

    def settled(self) -> list[Effect]:
        """What replies begun early came to, of which both is known by now: their use and their cost."""
        told: list[Effect] = []
        for reply, guess in list(self._guesses.items()):
            if guess.committed is not None and guess.nano is not None:
                told.append(EagerSettled(reply, guess.committed, guess.nano))
                del self._guesses[reply]
        return told

    # -- ways out --------------------------------------------------------------------------

    def fail(self, number: int) -> bool:
        """The model failed: True when somebody waits for this very reply."""
        if self._draft is None or not self._writes(number):
            return False
        self._draft.finished = True
        if self._draft.use is Use.GUESSED:
            self.drop()  # nobody waits for it yet; the turn's end asks anew
            return False
        return True

    def stop(self) -> list[Effect]:
        """No more of this reply is wanted; the model is told to stop if it is still writing."""
        if self._draft is None or self._draft.finished:
            return []
        self._draft.finished = True
        return [DropReply(self._draft.number)]

    def drop(self) -> list[Effect]:
        """Stop the reply and forget it, and give back what was drawn for speaking more of it."""
        stopped = self.stop()
        if self._draft is not None:
            self._spending.release(_voice(self._draft.number))
            self._decide(self._draft, committed=False)
        self._draft = None
        return stopped

    def _decide(self, draft: Draft, *, committed: bool) -> None:
        guess = self._guesses.get(draft.number)
        if guess is not None and guess.committed is None:
            guess.committed = committed

    def _writes(self, number: int) -> bool:
        return self._draft is not None and self._draft.number == number and not self._draft.finished


def _reply(number: int) -> str:
    return f"reply:{number}"


def _voice(number: int) -> str:
    return f"voice:{number}"
