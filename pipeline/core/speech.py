"""The agent's side of the floor: what it says, what of it is paid for and heard, and how fast that came.

Whether it may speak, and what becomes of the call then, is decided in `call.py`; what was heard, in
`playout.py`; what a reply may cost, in `replies.py`. What is returned as effects is to be performed in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import leave
from pipeline.core.money import Millis
from pipeline.core.notice import Notice
from pipeline.core.playout import Playout
from pipeline.core.replies import Replies
from pipeline.core.spending import Spending
from pipeline.core.timing import Timing
from pipeline.core.transcript import Transcript

ASIDE_AFTER_MS = 4_000
"""A story this long is worth an "mm-hm", and so is each further stretch of it."""

Sale = ev.SpeechBought | ev.SpeechSkipped
Played = ev.Audible | ev.AudioQueued | ev.UtteranceQueued | ev.MarkReached


class Outcome(Enum):
    NOTHING = auto()
    SAID = auto()
    UNAFFORDABLE = auto()
    """There is no money for the first word of the reply."""
    STILLBORN = auto()
    """The reply is over, without a word."""
    HEARD = auto()
    """Something the model wrote has reached the caller's ear."""


@dataclass(frozen=True, slots=True)
class Spoken:
    effects: tuple[fx.Effect, ...]
    outcome: Outcome


NOTHING = Spoken((), Outcome.NOTHING)


class Speech:
    """Utterances are numbered from 1 on. `since`, where it is asked for, is when the present phase began."""

    def __init__(self, started: ev.CallStarted, spending: Spending, notice: Notice) -> None:
        self.playout = Playout()
        self.replies = Replies(started, spending)
        self.transcript = Transcript()
        self._manners = started.manners
        self._phrases = started.phrases
        self._spending = spending
        self._notice = notice
        self._timing = Timing()
        self._utterances = 0
        self._aside: Millis | None = None
        self._fell_silent: Millis | None = None
        self._began: Millis | None = None
        self._warning = 0
        self._warned: Millis | None = None

    # -- saying ----------------------------------------------------------------------------

    def say(self, text: str, now: Millis, *, protected: bool = False, written: bool = False) -> fx.Say:
        self._utterances += 1
        self.playout.say(self._utterances, text, protected=protected, written=written)
        self.playout.moved = now
        return fx.Say(self._utterances, text)

    def warn(self, text: str, now: Millis) -> fx.Say:
        warning = self.say(text, now, protected=True)
        self._warning = warning.utterance
        self._timing.warned(warning.utterance, now)
        return warning

    @property
    def warned_meanwhile(self) -> bool:
        """Whether the warning was still to be heard out when the caller began to say what is to be answered."""
        if self.playout.holds(self._warning):
            return True
        return self._warned is not None and self._began is not None and self._began < self._warned

    def greet(self, now: Millis) -> list[fx.Effect]:
        """Of all phrases only the greeting is paid for."""
        disclosure = self.say(self._phrases.disclosure, now, protected=True)
        greeting = self.say(self._phrases.greeting, now)
        self._spending.draw_speech(greeting.utterance, len(greeting.text))
        return [disclosure, greeting]

    def listen_on(self, began: Millis | None, now: Millis) -> list[fx.Effect]:
        """The caller pauses in a long story, or goes on with it: show that somebody listens."""
        since = max(began or now, self._aside or Millis(0))
        if not self._manners.backchannels or now - since < ASIDE_AFTER_MS or not self.playout.silent:
            return []
        self._aside = now
        self._utterances += 1
        self.playout.say(self._utterances, self._phrases.listening, aside=True)
        return [fx.Say(self._utterances, self._phrases.listening)]

    def speak(self, sentences: list[str], now: Millis) -> Spoken:
        """Speak parts of the reply, each paid for before it is sent to be spoken."""
        told: list[fx.Effect] = []
        for sentence in sentences:
            number = self._utterances + 1
            if not self.replies.pay(sentence, number, now, announced=self._notice.announced):
                outcome = _said(told) if self.replies.spoken else Outcome.UNAFFORDABLE
                return Spoken((*told, *self.replies.stop()), outcome)
            self._timing.said(number)
            told.append(self.say(sentence, now, protected=self.replies.ends_call, written=True))
        return Spoken(tuple(told), Outcome.STILLBORN if self.replies.stillborn else _said(told))

    # -- replies ---------------------------------------------------------------------------

    def answers_from(self, fell_silent: Millis | None, *, began: Millis | None = None) -> None:
        """When the first word, and the last audible sample, came of what is to be answered, if there was one."""
        self._fell_silent, self._began = fell_silent, began

    def ask(self, now: Millis, *, leaving: bool) -> fx.AskReply | None:
        """Have the conversation so far answered; None when the reply cannot be afforded."""
        said, announced = self.transcript.messages, self._notice.announced
        order = self.replies.ask(said, now, announced=announced, ends_call=leaving)
        if order is not None:
            self._timing.asked(self.transcript.turns - 1, self._fell_silent, now, order.reply, eager=False)
        return order

    def guess(self, text: str, now: Millis) -> list[fx.Effect]:
        """The caller is probably done: begin the reply to `text`, and hold it back."""
        wanted = self._manners.eager and not self._notice.given
        if not wanted or not text or self.replies.guessed == text or leave.farewell(text):
            return []
        told = self.replies.drop()
        order = self.replies.guess(self.transcript.messages, now, text)
        return told if order is None else [*told, order]

    def guessed(self, text: str, now: Millis) -> bool:
        """Whether the reply begun early answers just this, so that it is the answer."""
        if self.replies.guessed != text or self._notice.given:
            return False
        self._timing.asked(self.transcript.turns - 1, self._fell_silent, now, self.replies.number, eager=True)
        return True

    def unguess(self) -> list[fx.Effect]:
        """What was begun early answers something else than what comes now."""
        return [] if self.replies.guessed is None else self.replies.drop()

    def piece(self, event: ev.ReplyPiece, now: Millis) -> Spoken:
        self._timing.token(event.reply, now, begins=not event.text)
        return self.speak(self.replies.piece(event.reply, event.text), now)

    def ends(self, reply: int) -> None:
        """The model wants this to be its last reply, and then nothing of it may be interrupted."""
        if self.replies.ends(reply):
            self.playout.protect()

    def give_up(self) -> list[fx.Effect]:
        """The reply will not come. What of it waits to be spoken fails for the same reason, if it does."""
        self._timing.drop()
        self.playout.excuse()
        return self.replies.drop()

    # -- sound -----------------------------------------------------------------------------

    def played(self, event: Played, now: Millis) -> Spoken:
        """What became of the sound of an utterance."""
        self.playout.moved = now
        match event:
            case ev.Audible():
                self._timing.audible(event)
            case ev.AudioQueued():
                self.playout.queued(event.utterance, event.chunk, event.ms, now)
                self._timing.queued(event)
            case ev.UtteranceQueued():
                warns = self.playout.holds(self._warning)
                self.playout.complete(event.utterance)
                self._note_warned(warns, now)
            case _:
                warns = self.playout.holds(self._warning)
                heard = self.playout.reached(event.chunk, now)
                self._note_warned(warns, now)
                timed = self._timing.reached(event.chunk, now)
                return Spoken(() if timed is None else (timed,), Outcome.HEARD if heard else Outcome.NOTHING)
        return NOTHING

    def _note_warned(self, warns: bool, now: Millis) -> None:
        """The warning may be over now, if it was not before: its end may also be known behind its last mark."""
        if warns and not self.playout.holds(self._warning):
            self._warned = now

    def sold(self, event: Sale, now: Millis) -> list[fx.Effect]:
        """An utterance's characters are charged once, to the model that gave its first sound, or never."""
        if isinstance(event, ev.SpeechBought):
            self._timing.bought(event.utterance, now)
            return [*self._spending.buy_speech(event.utterance, event.model, now)]
        self._spending.drop_speech(event.utterance)
        return []

    def lost(self, utterance: int, *, for_good: bool) -> bool:
        """No voice gives it: True when it was of the agent's turn, not over, and no apology stands for it.

        `for_good`: no voice is left, for which none does.
        """
        self._spending.drop_speech(utterance)
        return self.playout.drop(utterance, for_good=for_good)

    # -- stopping --------------------------------------------------------------------------

    def pause(self, now: Millis) -> list[fx.Effect]:
        """Be quiet at once, and keep the rest until it is known what stopped the agent."""
        told: list[fx.Effect] = []
        if not self.playout.silent:
            told.append(fx.Pause())
            self.playout.pause(now)
        self._timing.cleared()
        self.replies.hold()
        return told

    def resume(self, now: Millis) -> fx.Resume:
        """Go on from the last mark."""
        self.playout.resume(now)
        return fx.Resume()

    def hush(self, now: Millis, since: Millis) -> list[fx.Effect]:
        """Stop the agent at once; what marks have proven of its turn stays in the transcript."""
        told: list[fx.Effect] = []
        interrupted = not self.playout.silent or self.replies.writing
        if self.playout.paused or not self.playout.silent:
            told.append(fx.Hush())
            self.playout.cut(now)
        told += self.replies.drop()
        self._timing.cleared()
        return told + self.turn_over(now, since, interrupted=interrupted)

    def turn_over(self, now: Millis, since: Millis, *, interrupted: bool = False) -> list[fx.Effect]:
        """What was heard of the agent's turn is a turn of the conversation.

        It ended when its sound did: what stopped it is known for an interruption only later.
        """
        started = since if self.playout.started is None else self.playout.started
        ended = Millis(max(started, self.playout.sounded(now)))
        heard = self.playout.take()
        return [self.transcript.agent(heard, started, ended, interrupted=interrupted)] if heard else []


def _said(told: list[fx.Effect]) -> Outcome:
    return Outcome.SAID if told else Outcome.NOTHING
