"""One call: `step(event)` in, effects out; `next_deadline()` says when to send a `Tick`.

Only this module moves `phase`. It never waits, reads a clock, draws a random number, logs,
or imports from outside `pipeline.core`; `tests/test_architecture.py` checks that.

    RINGING ──Answered──▶ CONNECTING ──StreamStarted──▶ SPEAKING (the greeting)
    SPEAKING ──all heard──▶ LISTENING ──turn ended──▶ THINKING ──first sentence──▶ SPEAKING
    SPEAKING, THINKING ──barge-in──▶ LISTENING
    any of them ──goodbye──▶ CLOSING ──heard, or too late──▶ HUNG_UP ──carrier's last word──▶ ENDED

Long because every transition of the machine stands here and nowhere else.

What is decided elsewhere: when money ends the call (`budget.py`), whether the caller is
done (`turns.py`), what was heard (`playout.py`), what the model is told (`prompt.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.budget import LONGEST_NOTICE
from pipeline.core.events import EndReason
from pipeline.core.money import Millis
from pipeline.core.notice import Notice
from pipeline.core.playout import Playout
from pipeline.core.replies import Replies
from pipeline.core.spending import Spending
from pipeline.core.transcript import Transcript
from pipeline.core.turns import CallerTurn

UNSAID = -1
"""Seconds of a carrier that did not say how many."""

BACKCHANNEL_WORDS = 2
"""A turn this short, said while the agent spoke, is no question that wants an answer."""


class Phase(StrEnum):
    RINGING = "ringing"
    CONNECTING = "connecting"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    CLOSING = "closing"
    HUNG_UP = "hung_up"
    ENDED = "ended"


TALKING = (Phase.LISTENING, Phase.THINKING, Phase.SPEAKING)


@dataclass(slots=True)
class Counters:
    """Utterances so far, and how often in a row something went unanswered or wrong."""

    utterances: int = 0
    idle_prompts: int = 0
    failures: int = 0


class Call:
    """The machine. Feed it events in order of `at`; the first is `CallStarted`."""

    def __init__(self, started: ev.CallStarted) -> None:
        self.phase = Phase.RINGING
        self.start = started
        self.limits = started.limits
        self.spending = Spending(started.prices, started.allowance, started.limits)
        self.turn = CallerTurn(started.limits)
        self.playout = Playout()
        self.transcript = Transcript()
        self.replies = Replies(started, self.spending)
        self._count = Counters()
        self._notice = Notice(self.spending, started.limits.warning_patience_ms)
        self._reason: EndReason | None = None
        self._done: ev.CarrierDone | None = None
        self._since = started.at
        self._now = started.at
        self._out: list[fx.Effect] = []

    def step(self, event: ev.Event) -> list[fx.Effect]:
        """Take one event; the effects are to be performed in order."""
        if self.phase is Phase.ENDED:
            return []
        self._now = Millis(max(self._now, event.at))
        self._out = []
        if self.phase in (*TALKING, Phase.CONNECTING, Phase.CLOSING):
            self._out += self.spending.run(self._now)
        self._take(event)
        self._mind_the_time()
        return self._out

    def next_deadline(self) -> Millis | None:
        """When the shell must send a `Tick`, if nothing else happens first."""
        due = [at for at in self._deadlines() if at is not None]
        return min(due) if due else None

    # -- events ------------------------------------------------------------------------

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.CallStarted():
                self._out += [fx.Prepare(event.phrases.all), fx.Listen()]
            case ev.Answered():
                self._answer()
            case ev.StreamStarted():
                self._greet()
            case ev.SpeechStarted() | ev.SpeechHeld() | ev.SpeechStopped():
                self._voice(event)
            case ev.Heard() | ev.DigitPressed() | ev.Tick():
                pass
            case ev.SegmentHeard():
                self.turn.segment(event.text, self._now)
            case ev.TurnEnded():
                self.turn.whole(event.text, self._now)
                self._turn_over()
            case ev.ReplyPiece():
                self._speak(self.replies.piece(event.reply, event.text))
            case ev.ReplyFinished():
                self._reply_finished(event)
            case ev.AudioQueued() | ev.UtteranceQueued() | ev.MarkReached():
                self._played(event)
            case ev.MachineDetected():
                self._machine(event.kind)
            case ev.EngineUsed():
                self._out += self.spending.used_line(event.line, event.total, self._now)
            case ev.AllowanceChanged():
                self.spending.change(event.allowed, event.binds)
            case ev.EngineFailed():
                self._engine_failed(event)
            case ev.HangUpAsked():
                self._asked_to_hang_up(event.reason)
            case ev.LineDropped():
                self._hang_up(event.reason)
            case ev.CarrierDone():
                self._carrier_done(event)
            case _:
                raise TypeError(f"no such event: {event!r}")

    def _answer(self) -> None:
        if self.phase is Phase.RINGING:
            self._out += self.spending.answer(self._now)
            self._enter(Phase.CONNECTING)

    def _greet(self) -> None:
        self._answer()  # the carrier's word of the answer may be late or lost
        if self.phase is not Phase.CONNECTING:
            return
        self._enter(Phase.SPEAKING)
        phrases = self.start.phrases
        self._say(phrases.disclosure, protected=True)
        self._say(phrases.greeting)
        self._out += self.spending.use("tts", "char", len(phrases.greeting), self._now)

    def _voice(self, event: ev.SpeechStarted | ev.SpeechHeld | ev.SpeechStopped) -> None:
        match event:
            case ev.SpeechStarted():
                self.turn.voice_on(Millis(max(0, self._now - event.onset_ms)))
            case ev.SpeechHeld():
                self.turn.held = self.turn.voiced_since is not None
                self._count.idle_prompts = 0
            case _:
                ended = Millis(max(0, self._now - event.silence_ms))
                self.turn.voice_off(ended, text_follows=not self.start.transcriber_ends_turns)

    def _played(self, event: ev.AudioQueued | ev.UtteranceQueued | ev.MarkReached) -> None:
        match event:
            case ev.AudioQueued():
                self.playout.queued(event.utterance, event.chunk, event.ms, self._now)
            case ev.UtteranceQueued():
                self.playout.complete(event.utterance)
            case ev.MarkReached():
                if self.playout.reached(event.chunk):
                    self._count.failures = 0
        self.playout.moved = self._now

    def _machine(self, kind: str) -> None:
        if kind == "fax":
            self._hang_up(EndReason.FAX)
        elif kind.startswith("machine_end") and self.phase in TALKING:
            self._close(EndReason.VOICEMAIL, self.start.phrases.voicemail)
        elif kind.startswith("machine_end") and self.phase is not Phase.CLOSING:
            self._hang_up(EndReason.VOICEMAIL)

    def _engine_failed(self, event: ev.EngineFailed) -> None:
        match event.service:
            case "llm" if not self.replies.fail(event.ref):
                return
            case "tts":
                self.playout.drop(event.ref)
            case "stt" if self.phase in (Phase.RINGING, Phase.CONNECTING) and self._deaf():
                return
            case "stt" if self.phase is not Phase.HUNG_UP:
                self.turn.take()
                self._out.append(fx.Listen())
            case _:
                pass
        if self.phase in TALKING:
            self._fail()

    def _deaf(self) -> bool:
        """A call that could not hear anybody is given up before anybody speaks."""
        self._count.failures += 1
        if self._count.failures < self.limits.engine_failures:
            return False
        self._hang_up(EndReason.ENGINE_FAILURE)
        return True

    def _fail(self) -> None:
        """Something the caller waits for will not come: apologise, or give up after too many."""
        self._count.failures += 1
        if self._count.failures >= self.limits.engine_failures:
            self._close(EndReason.ENGINE_FAILURE, self.start.phrases.goodbye)
        else:
            self._say(self.start.phrases.apology)
            self._enter(Phase.SPEAKING)

    def _asked_to_hang_up(self, reason: EndReason) -> None:
        if reason is EndReason.DRAINED and self.phase in TALKING:
            self._close(reason, self.start.phrases.goodbye)
        elif self.phase is not Phase.CLOSING or reason is not EndReason.DRAINED:
            self._hang_up(reason)

    # -- turns -------------------------------------------------------------------------

    def _turn_over(self) -> None:
        """The caller's turn has ended: answer it, unless there is nothing to answer."""
        lost = self.turn.awaited > 0 and not self.turn.text
        said = self.turn.take()
        if lost:
            self._fail()
        if not said.text or self.phase not in TALKING:
            return
        beside = self.phase is Phase.SPEAKING or said.ended <= self._since
        if self.phase is Phase.SPEAKING:
            self._agent_turn_over(interrupted=False)  # what was heard before stands before
        self._out.append(self.transcript.caller(said.text, said.started, said.ended))
        if not (beside and len(said.text.split()) <= BACKCHANNEL_WORDS):
            self._ask()

    def _ask(self) -> None:
        """Ask for a reply; one that cannot be afforded becomes the warning, then the goodbye."""
        self._out += self.replies.drop()
        said, notice = self.transcript.messages, self._notice
        order = self.replies.ask(said, self._now, announced=notice.announced)
        if order is None and not notice.given:
            self._warn()
            order = self.replies.ask(said, self._now, announced=notice.announced)
        if order is None:
            self._close(self.spending.reason, self.start.phrases.out_of_time)
            return
        self._out.append(order)
        if self.phase is not Phase.SPEAKING:
            self._enter(Phase.THINKING)

    def _speak(self, sentences: list[str]) -> None:
        """Speak parts of the reply, each paid for before it is sent to be spoken."""
        for sentence in sentences:
            charges = self.replies.pay(sentence, self._now, announced=self._notice.announced)
            if charges is None:
                self._out += self.replies.stop()
                if not self.replies.spoken:
                    self._close(self.spending.reason, self.start.phrases.out_of_time)
                return
            self._out += charges
            self._say(sentence, written=True)
            if self.phase is not Phase.SPEAKING:
                self._enter(Phase.SPEAKING)

    def _reply_finished(self, event: ev.ReplyFinished) -> None:
        rest = self.replies.finish(event.reply)
        if rest is not None and self.phase in TALKING:
            self._speak(rest)
            if not self.replies.spoken and self.phase in TALKING:
                self._fail()
        self._out += self.replies.count(event, self._now)

    def _say(self, text: str, *, protected: bool = False, written: bool = False) -> None:
        self._count.utterances += 1
        self.playout.say(self._count.utterances, text, protected=protected, written=written)
        self.playout.moved = self._now
        self._out.append(fx.Say(self._count.utterances, text))

    def _hush(self) -> None:
        """Stop the agent at once; what marks have proven of its turn stays in the transcript."""
        interrupted = not self.playout.silent or self.replies.writing
        if not self.playout.silent:
            self._out.append(fx.Hush())
            self.playout.cut()
        self._out += self.replies.drop()
        self._agent_turn_over(interrupted=interrupted)

    def _agent_turn_over(self, *, interrupted: bool) -> None:
        started = self._since if self.playout.started is None else self.playout.started
        if heard := self.playout.take():
            self._out.append(self.transcript.agent(heard, started, self._now, interrupted=interrupted))

    # -- ways out ----------------------------------------------------------------------

    def _warn(self) -> None:
        cutoff = self.spending.cutoff or self._now
        self._notice.announced = Millis(min(cutoff, self._now + LONGEST_NOTICE))
        self._out.append(fx.Warned(cutoff, self.spending.purse.rest))
        self._say(self.start.phrases.warning, protected=True)
        self._enter(Phase.SPEAKING)

    def _close(self, reason: EndReason, text: str) -> None:
        """Say goodbye, then hang up when it was heard. Only while talking."""
        self._hush()
        self._reason = reason
        self._say(text, protected=True)
        self._enter(Phase.CLOSING)

    def _hang_up(self, reason: EndReason) -> None:
        if self.phase in (Phase.HUNG_UP, Phase.ENDED):
            return
        self._hush()
        self._reason = self._reason or reason
        self._out.append(fx.HangUp(self._reason))
        self._enter(Phase.HUNG_UP)

    def _carrier_done(self, event: ev.CarrierDone) -> None:
        """The carrier's word is final; it also says that somebody answered, if that word was lost."""
        if self._done is not None:
            return
        self._done = event
        if event.seconds > 0 and self.spending.answered is None:
            self._out += self.spending.answer(self._now)
        if self.phase is not Phase.HUNG_UP:
            self._hush()
            self._reason = self._reason or EndReason.CALLER_HUNG_UP
            self._enter(Phase.HUNG_UP)

    def _end(self, status: str, seconds: int) -> None:
        """Close the bill with the carrier's seconds, or with our own where it did not say."""
        answered = self.spending.answered is not None
        if seconds == UNSAID:
            seconds = (
                0 if self.spending.answered is None else -(-(self._since - self.spending.answered) // 1000)
            )
        if answered:
            self._out += self.spending.close(seconds, self._now)
        reason = self._reason if answered else None
        self._out.append(fx.Ended(reason, status, seconds, self.spending.meter.nano))
        self._enter(Phase.ENDED)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._since = self._now

    # -- time --------------------------------------------------------------------------

    def _deadlines(self) -> list[Millis | None]:
        since, limits = self._since, self.limits
        own: list[Millis | None]
        match self.phase:
            case Phase.RINGING:
                return [Millis(since + limits.ring_ms)]
            case Phase.CONNECTING:
                return [Millis(since + limits.connect_ms), self.spending.next_second]
            case Phase.HUNG_UP:
                return [Millis(since + limits.carrier_ms)]
            case Phase.ENDED:
                return []
            case Phase.CLOSING:
                return [self._closing_until, self.spending.next_second]
            case Phase.THINKING:
                own = [Millis(since + limits.thinking_ms)]
            case Phase.LISTENING:
                own = [self._turn_due or self._idle_due]
            case _:
                own = [self._marks_lost_at]
        notice = self._notice.deadline(greeted=self._greeted)
        return [*own, self.spending.next_second, self._goodbye_due, notice]

    @property
    def _greeted(self) -> bool:
        return self.transcript.turns > 0

    @property
    def _turn_due(self) -> Millis | None:
        return None if self.start.transcriber_ends_turns else self.turn.due

    @property
    def _marks_lost_at(self) -> Millis:
        return Millis(self.playout.due + self.limits.lost_mark_ms)

    @property
    def _idle_due(self) -> Millis | None:
        if self.turn.voiced_since is not None:
            return None
        return Millis(max(self._since, self.turn.stopped) + self.limits.idle_prompt_ms)

    @property
    def _goodbye_due(self) -> Millis | None:
        """A call too poor to be greeted ends at its cutoff, without a goodbye ahead of it."""
        cutoff = self.spending.cutoff
        if cutoff is None or not self._greeted:
            return cutoff
        return Millis(max(0, cutoff - self.limits.goodbye_ms))

    @property
    def _closing_until(self) -> Millis:
        """Well before the cutoff where there is time, for a hang-up on its way is still billed."""
        cutoff = self.spending.cutoff or self._since
        return Millis(min(self._since + self.limits.drain_ms, max(cutoff, self._since)))

    def _mind_the_time(self) -> None:
        """Whatever is due by now, in the order in which it matters."""
        now = self._now
        match self.phase:
            case Phase.RINGING | Phase.CONNECTING | Phase.HUNG_UP:
                self._mind_the_carrier(now)
            case Phase.CLOSING:
                self._mind_the_goodbye(now)
            case _:
                self._mind_the_money(now)
                self._mind_the_floor(now)

    def _mind_the_carrier(self, now: Millis) -> None:
        """Nobody answered, no media came, or the carrier's last word does not come."""
        limits, waited, done = self.limits, now - self._since, self._done
        match self.phase:
            case Phase.RINGING if waited >= limits.ring_ms:
                self._hang_up(EndReason.BAD_STREAM)
            case Phase.CONNECTING if now >= (self.spending.cutoff or now):
                self._hang_up(self.spending.reason)
            case Phase.CONNECTING if waited >= limits.connect_ms:
                self._hang_up(EndReason.BAD_STREAM)
            case Phase.HUNG_UP if done is not None and not self.replies.unpaid:
                self._end(done.status, done.seconds)
            case Phase.HUNG_UP if waited >= limits.carrier_ms and done is not None:
                self._end(done.status, done.seconds)
            case Phase.HUNG_UP if waited >= limits.carrier_ms:
                self._end("failed" if self.spending.answered is None else "completed", UNSAID)
            case _:
                pass

    def _mind_the_goodbye(self, now: Millis) -> None:
        if self.playout.silent or now >= self._closing_until:
            self._hang_up(self._reason or EndReason.AGENT_ENDED)

    def _mind_the_money(self, now: Millis) -> None:
        goodbye = self._goodbye_due
        if goodbye is not None and now >= goodbye:
            phrases, reason = self.start.phrases, self.spending.reason
            self._close(reason, phrases.goodbye if reason is EndReason.MAX_DURATION else phrases.out_of_time)
            return
        busy = self.turn.voiced_since is not None or self.phase is Phase.THINKING
        if self._notice.due(now, greeted=self._greeted, busy=busy):
            self._warn()

    def _mind_the_floor(self, now: Millis) -> None:
        """Who speaks next: barge-in, end of the agent's turn, end of the caller's, silence."""
        if self.phase in (Phase.SPEAKING, Phase.THINKING) and self.playout.silent:
            self._agent_silent()
        if self.phase is Phase.SPEAKING and now >= self._marks_lost_at:
            self._hush()
            self._enter(Phase.LISTENING)
        if self.phase in (Phase.SPEAKING, Phase.THINKING) and self.turn.held and not self.playout.protected:
            self._hush()
            self._enter(Phase.LISTENING)
            self._since = self.turn.voiced_since or self._now
        if self.phase is Phase.THINKING and now >= self._since + self.limits.thinking_ms:
            self._out += self.replies.drop()
            self._fail()
        if self.phase is not Phase.LISTENING:
            return
        due = self._turn_due
        if due is not None and now >= due:
            self._turn_over()
        elif due is None and (idle := self._idle_due) is not None and now >= idle:
            self._idle()

    def _agent_silent(self) -> None:
        """All was heard. While the model still writes, its next words are waited for, but not for ever."""
        if not self.replies.writing:
            self._agent_turn_over(interrupted=False)
            self._enter(Phase.LISTENING)
        elif self.phase is Phase.SPEAKING:
            if not self.replies.spoken:
                self._agent_turn_over(interrupted=False)
            self._enter(Phase.THINKING)

    def _idle(self) -> None:
        if self._count.idle_prompts >= self.limits.idle_prompts:
            self._close(EndReason.IDLE, self.start.phrases.goodbye)
            return
        self._count.idle_prompts += 1
        self._say(self.start.phrases.still_there)
        self._enter(Phase.SPEAKING)
