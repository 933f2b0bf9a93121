"""What must hold in every call, whatever happens in it. Fed with each step by whoever runs the call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Call, Phase
from pipeline.core.memory_order import ORDER
from pipeline.core.money import START

AFTER_THE_END = (
    *(fx.DropReply, fx.Charge, fx.Ended, fx.TurnTaken, fx.EagerSettled, fx.OptedOut),
    *(fx.Learned, fx.Unlearned),
)


@dataclass
class Audit:
    """What must hold in every call, checked effect by effect."""

    call: Call
    bounded: bool = True
    """False once something outside the core's power let the total pass the allowance."""
    seq: int = 0
    total: int = 0
    quantity: dict[str, int] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    turns: list[fx.TurnTaken] = field(default_factory=list)
    timed: set[int] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    """What was said, by utterance."""
    sold: set[int] = field(default_factory=set)
    """Utterances of which it is known whether they are paid for."""
    guesses: dict[int, str] = field(default_factory=dict)
    """Replies begun early, and what they answer."""
    uncommitted: int = 0
    settled: set[int] = field(default_factory=set)
    paused: bool = False
    warned: int = 0
    opted_out: bool = False
    hung_up: bool = False
    ended: fx.Ended | None = None

    def __post_init__(self) -> None:
        if isinstance(start := self.call.start, ev.CallResumed):
            known = start.resumed
            self.seq, self.total = known.seq, self.call.spending.meter.nano
            self.quantity = {bought.line: bought.quantity for bought in known.bought}
            roles: dict[str, Literal["caller", "agent"]] = {"user": "caller", "assistant": "agent"}
            self.turns = [
                fx.TurnTaken(place, roles[message.role], message.content, START, START)
                for place, message in enumerate(known.said)
            ]

    @property
    def stock(self) -> set[str]:
        """What costs nothing to say."""
        phrases = self.call.start.phrases
        return {*phrases.all} - {phrases.greeting}

    def check(self, event: ev.Event, before: Phase, effects: list[fx.Effect]) -> None:
        """`before` is the phase that the event met."""
        match event:
            case ev.ReplyFinished():
                self.unanswered.discard(event.reply)
            case ev.EngineFailed() if event.service == "llm":
                self.unanswered.discard(event.ref)  # its tokens are still to come
            case ev.AllowanceChanged() | ev.EngineUsed():  # a hold that shrinks, a vendor that counts more
                spending = self.call.spending
                self.bounded = self.bounded and spending.answered is not None and spending.held_rest >= 0
            case _:
                pass
        self._check_speech_charges(event, effects)
        for place, effect in enumerate(effects):
            assert self.ended is None, f"{effect} after the end"
            if self.hung_up:
                assert isinstance(effect, AFTER_THE_END) or _for_memory(effect), effect
            self._note(effect, effects[:place])
        self._check_state(before, effects)
        spending = self.call.spending
        assert spending.meter.nano == self.total
        assert spending.purse.pending >= 0
        if self.bounded and self.ended is None and not isinstance(event, ev.CarrierDone):
            assert self.total <= spending.allowance.held, f"overspent at {event}"

    def _check_speech_charges(self, event: ev.Event, effects: list[fx.Effect]) -> None:
        """Speech is charged when a voice has it, once an utterance, by its characters."""
        charged = [effect for effect in effects if isinstance(effect, fx.Charge) and effect.line[:3] == "tts"]
        if isinstance(event, ev.SpeechBought):
            for charge in charged:
                text = self.texts[event.utterance - 1]
                assert text not in self.stock
                assert event.utterance not in self.sold, "sold twice"
                assert charge.to_qty - charge.from_qty == len(text)
                assert charge.line == f"tts:{event.model}:char"
        elif not isinstance(event, ev.EngineUsed | ev.CarrierDone):
            assert not charged, event
        if isinstance(event, ev.SpeechBought | ev.SpeechSkipped) and event.utterance <= len(self.texts):
            self.sold.add(event.utterance)
        if isinstance(event, ev.EngineFailed) and event.service == "tts" and event.ref <= len(self.texts):
            self.sold.add(event.ref)

    def _check_state(self, before: Phase, effects: list[fx.Effect]) -> None:
        after = self.call.phase
        assert self.paused is self.call.playout.paused
        assert not self.paused or after is Phase.INTERRUPTED
        if self.paused and fx.Pause() in effects:
            assert not self.call.playout.protected
        assert self.call.replies.guessed is None or after is Phase.LISTENING, "nobody decides on this guess"
        if before is after is Phase.CLOSING:
            assert not any(isinstance(effect, fx.Hush | fx.Pause | fx.Say) for effect in effects)
        if self.opted_out:
            assert after in (Phase.CLOSING, Phase.HUNG_UP, Phase.ENDED)

    def _note(self, effect: fx.Effect, ahead: list[fx.Effect]) -> None:
        """`ahead` are the effects of the same step before this one."""
        match effect:
            case fx.Charge():
                assert effect.seq == self.seq + 1
                assert effect.from_qty == self.quantity.get(effect.line, 0) != effect.to_qty
                self.seq, self.quantity[effect.line] = effect.seq, effect.to_qty
                self.total += effect.nano
            case fx.AskReply():
                self._note_reply(effect, ahead)
            case fx.DropReply():
                self.unanswered.remove(effect.reply)
                self.uncommitted = 0 if effect.reply == self.uncommitted else self.uncommitted
            case fx.EagerSettled():
                assert effect.reply in self.guesses
                assert effect.reply not in self.settled, "settled twice"
                self.settled.add(effect.reply)
                callers = [turn.text for turn in self.turns if turn.role == "caller"]
                assert not effect.committed or self.guesses[effect.reply] in callers
            case fx.Say() | fx.Hush() | fx.Pause() | fx.Resume():
                self._note_speech(effect)
            case fx.TurnTaken():
                assert effect.index == len(self.turns)
                assert effect.text.strip()
                assert effect.started <= effect.ended
                self.turns.append(effect)
                if effect.role == "caller":
                    self.uncommitted = 0
            case fx.TurnTimed():
                assert self.turns[effect.index].role == "caller"
                assert effect.index not in self.timed
                self.timed.add(effect.index)
            case fx.Warned():
                self.warned += 1
                assert self.warned == 1
            case fx.OptedOut():
                assert not self.opted_out
                self.opted_out = True
            case fx.HangUp():
                self.hung_up = True
            case fx.Ended():
                assert effect.total == self.total
                assert not self.unanswered, "a reply was neither finished nor dropped"
                self.ended = effect
            case _:
                pass

    def _note_reply(self, order: fx.AskReply, ahead: list[fx.Effect]) -> None:
        """A reply that is asked for before the caller's turn is in the transcript is a guess."""
        assert not self.unanswered or self.unanswered < {order.reply}
        self.unanswered.add(order.reply)
        if _for_memory(order):
            assert self.call.phase is Phase.REMEMBERING
            return
        asked = any(
            (isinstance(effect, fx.TurnTaken) and effect.role == "caller")
            or (isinstance(effect, fx.Say) and effect.text == self.call.start.phrases.dropped)
            for effect in ahead
        )
        self.uncommitted = 0
        if not asked:
            self.guesses[order.reply] = order.messages[-1].content
            self.uncommitted = order.reply

    def _note_speech(self, effect: fx.Say | fx.Hush | fx.Pause | fx.Resume) -> None:
        match effect:
            case fx.Say():
                assert effect.utterance == len(self.texts) + 1
                assert not self.paused, "said into a pause"
                assert not self.uncommitted or effect.text in self.stock, (
                    "a guess is spoken before its turn is over"
                )
                self.texts.append(effect.text)
            case fx.Pause():
                assert not self.paused
                self.paused = True
            case fx.Resume():
                assert self.paused
                self.paused = False
            case _:
                self.paused = False


def _for_memory(effect: fx.Effect) -> bool:
    """The one request that is made once everything else is over."""
    return isinstance(effect, fx.AskReply) and effect.messages[0].content.startswith(ORDER)
