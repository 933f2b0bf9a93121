"""One call: `step(event)` in, effects out; `next_deadline()` says when to send a `Tick`.

Only this module moves `phase`. It never waits, reads a clock, draws a random number, logs,
or imports from outside `pipeline.core`; `tests/test_architecture.py` checks that.

    RINGING ──Answered──▶ CONNECTING ──StreamStarted──▶ SPEAKING (the greeting)
    SPEAKING ──all heard──▶ LISTENING ──turn ended──▶ THINKING ──first sentence──▶ SPEAKING
    SPEAKING, THINKING ──a voice──▶ INTERRUPTED ──words──▶ LISTENING, ──a noise, "mm-hm"──▶ back
    any of them ──a machine's greeting──▶ MACHINE ──beep──▶ CLOSING
    any of them ──goodbye──▶ CLOSING ──heard, or too late──▶ HUNG_UP ──carrier's last word──▶ ENDED

Long because every transition of the machine stands here and nowhere else.

What is decided elsewhere: when money ends the call (`budget.py`), whether the caller is
done (`turns.py`), what a caller's words mean for the call (`cues.py`), what was heard
(`playout.py`), what the model is told (`prompt.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pipeline.core import cues
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.budget import LONGEST_NOTICE
from pipeline.core.money import Millis
from pipeline.core.notice import Notice
from pipeline.core.playout import Playout
from pipeline.core.replies import Replies
from pipeline.core.spending import Spending
from pipeline.core.terms import EndReason
from pipeline.core.timing import Timing
from pipeline.core.transcript import Transcript
from pipeline.core.turns import CallerTurn, Said

UNSAID = -1
"""Seconds of a carrier that did not say how many."""

SCREENED_TURNS = 4
"""Machines and call screeners speak first: later nothing is taken for one."""
ASIDE_AFTER_MS = 4_000
"""A story this long is worth an "mm-hm", and so is each further stretch of it."""


class Phase(StrEnum):
    RINGING = "ringing"
    CONNECTING = "connecting"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    INTERRUPTED = "interrupted"
    MACHINE = "machine"
    CLOSING = "closing"
    HUNG_UP = "hung_up"
    ENDED = "ended"


TALKING = (Phase.LISTENING, Phase.THINKING, Phase.SPEAKING, Phase.INTERRUPTED)
PAID = (*TALKING, Phase.CONNECTING, Phase.MACHINE, Phase.CLOSING)


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
        self._timing = Timing()
        self._ends_turns = started.transcriber_ends_turns
        self._screened: Millis | None = None
        self._asides: Millis | None = None
        self._opted_out = False
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
        if self.phase in PAID:
            self._out += self.spending.run(self._now)
        self._take(event)
        self._mind_the_time()
        self._out += self.replies.settled()
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
            case (
                ev.SpeechStarted()
                | ev.SpeechHeld()
                | ev.SpeechFaded()
                | ev.SpeechReturned()
                | ev.SpeechStopped()
            ):
                self._voice(event)
            case (
                ev.Listening()
                | ev.Heard()
                | ev.SegmentHeard()
                | ev.TurnLikelyEnded()
                | ev.TurnResumed()
                | ev.TurnEnded()
            ):
                self._understood(event)
            case ev.ReplyPiece() | ev.ReplyEndsCall() | ev.ReplyFinished():
                self._replied(event)
            case ev.SpeechBought() | ev.SpeechSkipped():
                self._sold(event)
            case ev.Audible() | ev.AudioQueued() | ev.UtteranceQueued() | ev.MarkReached():
                self._played(event)
            case ev.MachineDetected() | ev.BeepHeard():
                self._machine(event)
            case ev.DigitPressed():
                if event.digit == "9":
                    self._opt_out("key")
            case ev.Tick():
                pass
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
        self.spending.draw_speech(self._count.utterances, len(phrases.greeting))

    def _voice(
        self,
        event: ev.SpeechStarted | ev.SpeechHeld | ev.SpeechFaded | ev.SpeechReturned | ev.SpeechStopped,
    ) -> None:
        match event:
            case ev.SpeechStarted():
                self.turn.voice_on(Millis(max(0, self._now - event.onset_ms)))
                if not self._ends_turns:
                    self._unguess()
            case ev.SpeechHeld():
                self.turn.hold()
                self._count.idle_prompts = 0
            case ev.SpeechFaded():
                self.turn.fade(Millis(max(0, self._now - event.quiet_ms)))
            case ev.SpeechReturned():
                self.turn.hold()
            case _:
                ended = Millis(max(0, self._now - event.silence_ms))
                self.turn.voice_off(ended, text_follows=not self._ends_turns)

    def _understood(
        self,
        event: ev.Listening | ev.Heard | ev.SegmentHeard | ev.TurnLikelyEnded | ev.TurnResumed | ev.TurnEnded,
    ) -> None:
        match event:
            case ev.Listening():
                self.spending.listening(event.model, self._now)
                self._ends_turns = event.ends_turns
            case ev.Heard():
                self._words(event.text)
            case ev.SegmentHeard():
                self.turn.segment(event.text, self._now)
                self._words(self.turn.text)
                if self.phase not in TALKING and cues.opt_out(event.text):
                    self._opt_out("voice")
                elif self.turn.settled and cues.unfinished(self.turn.text):
                    self._listen_on()
                elif self.turn.settled:
                    self._guess(self.turn.text)
            case ev.TurnLikelyEnded():
                self._words(event.text)
                self._guess(self.turn.with_rest(event.text))
            case ev.TurnResumed():
                self._unguess()
                self._listen_on()
            case _:
                self._words(event.text)
                self.turn.over(event.text, self._now)
                self._turn_over()

    def _played(self, event: ev.Audible | ev.AudioQueued | ev.UtteranceQueued | ev.MarkReached) -> None:
        match event:
            case ev.Audible():
                self._timing.audible(event)
            case ev.AudioQueued():
                self.playout.queued(event.utterance, event.chunk, event.ms, self._now)
                self._timing.queued(event)
            case ev.UtteranceQueued():
                self.playout.complete(event.utterance)
            case _:
                if self.playout.reached(event.chunk):
                    self._count.failures = 0
                if (timed := self._timing.reached(event.chunk, self._now)) is not None:
                    self._out.append(timed)
        self.playout.moved = self._now

    def _sold(self, event: ev.SpeechBought | ev.SpeechSkipped) -> None:
        """An utterance's characters are charged once, to the model that gave its first sound, or never."""
        if isinstance(event, ev.SpeechBought):
            self._timing.bought(event.utterance, self._now)
            self._out += self.spending.buy_speech(event.utterance, event.model, self._now)
        else:
            self.spending.drop_speech(event.utterance)

    # -- machines and opting out -------------------------------------------------------

    def _machine(self, event: ev.MachineDetected | ev.BeepHeard) -> None:
        kind = "machine_end_beep" if isinstance(event, ev.BeepHeard) else event.kind
        if kind == "fax":
            self._hang_up(EndReason.FAX)
        elif kind == "human" and self.phase is Phase.MACHINE:
            self._enter(Phase.LISTENING)
        elif kind.startswith("machine_end") and self.phase in (*TALKING, Phase.MACHINE):
            self._leave_message()
        elif kind.startswith("machine_end") and self.phase is not Phase.CLOSING:
            self._hang_up(EndReason.VOICEMAIL)
        elif kind == "machine_start" and self.phase in TALKING:
            self._wait_for_beep()

    def _wait_for_beep(self) -> None:
        """A machine speaks its greeting: be quiet until it listens."""
        if self.start.manners.voicemail == "hang_up":
            self._hang_up(EndReason.VOICEMAIL)
            return
        self._hush()
        self.turn.take()
        self._out.append(fx.ListenForBeep())
        self._enter(Phase.MACHINE)

    def _leave_message(self) -> None:
        if self.start.manners.voicemail == "hang_up":
            self._hang_up(EndReason.VOICEMAIL)
        else:
            self._close(EndReason.VOICEMAIL, self.start.phrases.voicemail)

    def _opt_out(self, how: Literal["key", "voice"]) -> None:
        """The number is not rung again, whatever becomes of this call; a goodbye under way is not cut."""
        if self._opted_out or self.phase is Phase.RINGING:
            return
        self._opted_out = True
        self._out.append(fx.OptedOut(how))
        if self.phase in (*TALKING, Phase.MACHINE):
            self._close(EndReason.OPTED_OUT, self.start.phrases.opted_out)
        elif self.phase is Phase.CONNECTING:
            self._hang_up(EndReason.OPTED_OUT)

    def _engine_failed(self, event: ev.EngineFailed) -> None:
        if event.service == "stt":
            self.spending.deaf(self._now)
        match event.service:
            case "llm" if not self.replies.fail(event.ref):
                return
            case "tts":
                self.spending.drop_speech(event.ref)
                if not self.playout.drop(event.ref):
                    return
            case "stt" if self.phase in (Phase.RINGING, Phase.CONNECTING) and self._deaf():
                return
            case "stt" if self.phase is not Phase.HUNG_UP:
                self.turn.take()
                self._out.append(fx.Listen())
                if self.phase in (Phase.THINKING, Phase.SPEAKING):
                    return  # nobody waits to be heard
            case _:
                pass
        if self.phase in TALKING and event.kind == "all_down" and event.service != "stt":
            self._close(EndReason.ENGINE_FAILURE, self.start.phrases.trouble)
        elif self.phase in TALKING:
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
        self._timing.drop()
        leaving = self.replies.ends_call
        self._out += self.replies.drop()
        if leaving:
            self._close(EndReason.AGENT_ENDED, self.start.phrases.goodbye)
        elif self._count.failures >= self.limits.engine_failures:
            self._close(EndReason.ENGINE_FAILURE, self.start.phrases.trouble)
        else:
            self._yield_floor()
            self._say(self.start.phrases.apology)
            self._enter(Phase.SPEAKING)

    def _asked_to_hang_up(self, reason: EndReason) -> None:
        if reason is EndReason.DRAINED and self.phase in (*TALKING, Phase.MACHINE):
            self._close(reason, self.start.phrases.goodbye)
        elif self.phase is not Phase.CLOSING or reason is not EndReason.DRAINED:
            self._hang_up(reason)

    # -- turns -------------------------------------------------------------------------

    def _turn_over(self) -> None:
        """The caller's turn has ended: answer it, unless there is nothing to answer."""
        lost = self.turn.awaited > 0 and not self.turn.text
        said = self.turn.take()
        if self.phase is Phase.INTERRUPTED and not self._interrupts(said.text):
            if said.text:
                self._note(said)
            self._speak_on()
            return
        if lost:
            self._fail()
        if self.phase not in TALKING:
            if cues.opt_out(said.text):
                self._opt_out("voice")
            return
        if not said.text:
            self._unguess()
            return
        if self._screened_by(said):
            return
        beside = self.phase in (Phase.SPEAKING, Phase.THINKING) or said.ended <= self._since
        self._yield_floor()
        if self.phase is Phase.SPEAKING:
            self._agent_turn_over(interrupted=False)  # what was heard before stands before
        self._note(said)
        if cues.opt_out(said.text):
            self._opt_out("voice")
        elif not (beside and cues.backchannel(said.text)):
            self._ask(said.text)
        else:
            self._unguess()

    def _note(self, said: Said) -> None:
        self._out.append(self.transcript.caller(said.text, said.started, said.ended))

    def _screened_by(self, said: Said) -> bool:
        """A call screener asks who calls: it is told, once."""
        asked = self.transcript.turns <= SCREENED_TURNS and cues.screening(said.text)
        if not asked or self._screened is not None:
            return False
        self._hush()
        self._note(said)
        self._screened = self._now
        self._say(self.start.phrases.screening)
        self._enter(Phase.SPEAKING)
        return True

    def _ask(self, text: str) -> None:
        """Have `text` answered; a reply that cannot be afforded becomes the warning, then the goodbye."""
        index, leaving = self.transcript.turns - 1, cues.farewell(text)
        if self.replies.guessed == text and not leaving and self._notice.announced is None:
            self._timing.asked(index, self._now, self.replies.number, eager=True)
            self._take_up()
            return
        self._out += self.replies.drop()
        said, notice = self.transcript.messages, self._notice
        order = self.replies.ask(said, self._now, announced=notice.announced, ends_call=leaving)
        if order is None and not notice.given and not leaving:
            self._warn()
            order = self.replies.ask(said, self._now, announced=notice.announced)
        if order is None and leaving:
            self._close(EndReason.AGENT_ENDED, self.start.phrases.goodbye)
        elif order is None:
            self._close(self.spending.reason, self.start.phrases.out_of_time)
        else:
            self._timing.asked(index, self._now, order.reply, eager=False)
            self._out.append(order)
            if self.phase is not Phase.SPEAKING:
                self._enter(Phase.THINKING)

    # -- replies begun early ---------------------------------------------------------------

    def _guess(self, text: str) -> None:
        """The caller is probably done: begin the reply, and hold it back."""
        wanted = self.start.manners.eager and self.phase is Phase.LISTENING and not self._notice.given
        if not wanted or not text or self.replies.guessed == text or cues.farewell(text):
            return
        self._out += self.replies.drop()
        order = self.replies.guess(self.transcript.messages, self._now, text)
        if order is not None:
            self._out.append(order)

    def _unguess(self) -> None:
        """What was begun answers something else than what comes now."""
        if self.replies.guessed is not None:
            self._out += self.replies.drop()

    def _take_up(self) -> None:
        """Speak what was held back, and let the rest follow."""
        if self.phase is not Phase.SPEAKING:
            self._enter(Phase.THINKING)
        self._speak(self.replies.release())
        self._mind_the_stillborn()

    def _mind_the_stillborn(self) -> None:
        if self.replies.stillborn and self.phase in (Phase.THINKING, Phase.SPEAKING):
            self._fail()

    # -- interruptions ---------------------------------------------------------------------

    def _interrupts(self, text: str) -> bool:
        """Whether these words, said into the agent's voice, take the floor."""
        if len(text.split()) < self.limits.barge_in_words:
            return cues.opt_out(text) or cues.farewell(text)
        return bool(text) and not cues.backchannel(text)

    def _words(self, text: str) -> None:
        """Words are known before the turn is over: they may decide what a voice beside the agent's was."""
        if self.turn.barged and self._interrupts(text):
            if self.phase in (Phase.SPEAKING, Phase.THINKING) and not self.playout.protected:
                self._interrupt()
            self._yield_floor()
        early = self.phase in TALKING and self.transcript.turns <= SCREENED_TURNS
        if (early or self.phase is Phase.MACHINE) and cues.mailbox_full(text):
            self._hang_up(EndReason.VOICEMAIL)
        elif early and cues.machine(text):
            self._wait_for_beep()

    def _interrupt(self) -> None:
        """A voice beside the agent's: be quiet at once, and keep the rest until it is known what it was."""
        if not self.playout.silent:
            self._out.append(fx.Pause())
            self.playout.pause()
        self._timing.cleared()
        self.replies.hold()
        self._enter(Phase.INTERRUPTED)

    def _yield_floor(self) -> None:
        """It was an interruption: the caller has the floor."""
        if self.phase is not Phase.INTERRUPTED:
            return
        self._hush()
        self._enter(Phase.LISTENING)
        self._since = self.turn.voiced_since or self.turn.started or self._now

    def _speak_on(self) -> None:
        """It was none: go on from the last mark."""
        if self.playout.paused:
            self._out.append(fx.Resume())
            self.playout.resume(self._now)
            self._enter(Phase.SPEAKING)
        elif not self.replies.under_way:
            self._agent_silent()
            return
        self._take_up()

    def _listen_on(self) -> None:
        """The caller paused in a long story and goes on: show that somebody listens."""
        if not self.start.manners.backchannels or self.phase is not Phase.LISTENING:
            return
        began = max(self.turn.started or self._now, self._asides or Millis(0))
        if self._now - began >= ASIDE_AFTER_MS and self.playout.silent:
            self._asides = self._now
            self._count.utterances += 1
            self.playout.say(self._count.utterances, self.start.phrases.listening, aside=True)
            self._out.append(fx.Say(self._count.utterances, self.start.phrases.listening))

    def _speak(self, sentences: list[str]) -> None:
        """Speak parts of the reply, each paid for before it is sent to be spoken."""
        for sentence in sentences:
            number = self._count.utterances + 1
            if not self.replies.pay(sentence, number, self._now, announced=self._notice.announced):
                self._out += self.replies.stop()
                if not self.replies.spoken:
                    self._close(self.spending.reason, self.start.phrases.out_of_time)
                return
            self._timing.said(number)
            self._say(sentence, protected=self.replies.ends_call, written=True)
            if self.phase is not Phase.SPEAKING:
                self._enter(Phase.SPEAKING)

    def _replied(self, event: ev.ReplyPiece | ev.ReplyEndsCall | ev.ReplyFinished) -> None:
        match event:
            case ev.ReplyPiece():
                self._timing.token(event.reply, self._now)
                self._speak(self.replies.piece(event.reply, event.text))
            case ev.ReplyEndsCall():
                if self.replies.ends(event.reply):
                    self.playout.protect()
            case _:
                self._reply_finished(event)

    def _reply_finished(self, event: ev.ReplyFinished) -> None:
        rest = self.replies.finish(event.reply)
        if rest is not None and self.phase in TALKING:
            self._speak(rest)
            self._mind_the_stillborn()
        self._out += self.replies.count(event, self._now)

    def _say(self, text: str, *, protected: bool = False, written: bool = False) -> None:
        self._count.utterances += 1
        self.playout.say(self._count.utterances, text, protected=protected, written=written)
        self.playout.moved = self._now
        self._out.append(fx.Say(self._count.utterances, text))

    def _hush(self) -> None:
        """Stop the agent at once; what marks have proven of its turn stays in the transcript."""
        interrupted = not self.playout.silent or self.replies.writing
        if self.playout.paused or not self.playout.silent:
            self._out.append(fx.Hush())
            self.playout.cut()
        self._out += self.replies.drop()
        self._timing.cleared()
        self._agent_turn_over(interrupted=interrupted)

    def _agent_turn_over(self, *, interrupted: bool) -> None:
        started = self._since if self.playout.started is None else self.playout.started
        if heard := self.playout.take():
            self._out.append(self.transcript.agent(heard, started, self._now, interrupted=interrupted))

    # -- ways out ----------------------------------------------------------------------

    def _warn(self) -> None:
        self._yield_floor()
        self._unguess()
        cutoff = self.spending.cutoff or self._now
        self._notice.announced = Millis(min(cutoff, self._now + LONGEST_NOTICE))
        self._out.append(fx.Warned(cutoff, self.spending.purse.rest))
        self._say(self.start.phrases.warning, protected=True)
        self._enter(Phase.SPEAKING)

    def _close(self, reason: EndReason, text: str) -> None:
        """Say goodbye, then hang up when it was heard. Only while somebody can hear it."""
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
        self._out += self.replies.settled()
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
            case Phase.INTERRUPTED:
                own = [self._noise_due]
            case Phase.MACHINE:
                return [self._message_due, self.spending.next_second, self._goodbye_due]
            case _:
                own = [self._marks_lost_at]
        notice = self._notice.deadline(greeted=self._greeted)
        return [*own, self.spending.next_second, self._goodbye_due, notice]

    @property
    def _greeted(self) -> bool:
        return self.transcript.turns > 0

    @property
    def _turn_due(self) -> Millis | None:
        # Words from a transcriber that ends no turns may be left where another has taken over.
        return None if self._ends_turns and not self.turn.texts else self.turn.due

    @property
    def _noise_due(self) -> Millis | None:
        """When a voice that stopped the agent counts as a noise, if no words come of it."""
        if self.turn.voiced_since is not None:
            return None
        return self._turn_due or Millis(max(self._since, self.turn.stopped) + self.limits.end_of_turn_ms)

    @property
    def _message_due(self) -> Millis:
        """When the message is left on a machine without its beep."""
        latest = Millis(self._since + self.limits.beep_ms)
        if self.turn.voiced_since is not None:
            return latest
        quiet = max(self._since, self.turn.stopped) + self.limits.machine_quiet_ms
        return Millis(min(latest, quiet))

    @property
    def _marks_lost_at(self) -> Millis:
        return Millis(self.playout.due + self.limits.lost_mark_ms)

    @property
    def _idle_due(self) -> Millis | None:
        if self.turn.voiced_since is not None:
            return None
        idle = max(self._since, self.turn.stopped) + self.limits.idle_prompt_ms
        screened = 0 if self._screened is None else self._screened + self.limits.screening_ms
        return Millis(max(idle, screened))

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
            case Phase.MACHINE:
                self._mind_the_machine(now)
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
            case Phase.HUNG_UP if done is not None and not self.replies.unpaid and not self.spending.unsold:
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

    def _mind_the_machine(self, now: Millis) -> None:
        """Nobody is told of money, and a machine is not waited for beyond it."""
        goodbye = self._goodbye_due
        if goodbye is not None and now >= goodbye:
            self._hang_up(self.spending.reason)
        elif now >= self._message_due:
            self._leave_message()

    def _mind_the_money(self, now: Millis) -> None:
        goodbye = self._goodbye_due
        if goodbye is not None and now >= goodbye:
            phrases, reason = self.start.phrases, self.spending.reason
            self._close(reason, phrases.goodbye if reason is EndReason.MAX_DURATION else phrases.out_of_time)
            return
        busy = self.turn.voiced_since is not None or self.phase in (Phase.THINKING, Phase.INTERRUPTED)
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
            self._interrupt()
        if self.phase is Phase.INTERRUPTED:
            self._sort_out(now)
        if self.phase is Phase.THINKING and now >= self._since + self.limits.thinking_ms:
            self._fail()
        if self.phase is not Phase.LISTENING:
            return
        due = self._turn_due
        if due is not None and now >= due:
            self._turn_over()
        elif due is None and (idle := self._idle_due) is not None and now >= idle:
            self._idle()

    def _sort_out(self, now: Millis) -> None:
        """Interrupted: a voice that was brief, or of which no words came in time, took no floor."""
        if self.turn.lull is not None and self.turn.lull < self.limits.brief_ms:
            self._speak_on()
        elif (due := self._noise_due) is not None and now >= due:
            self._turn_over()

    def _agent_silent(self) -> None:
        """All was heard. While the model still writes, its next words are waited for, but not for ever."""
        if not self.replies.writing:
            self._agent_turn_over(interrupted=False)
            over = self.replies.ends_call
            self._out += self.replies.drop()
            if over:
                self._hang_up(EndReason.AGENT_ENDED)
            else:
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
        self._unguess()
        self._say(self.start.phrases.still_there)
        self._enter(Phase.SPEAKING)
