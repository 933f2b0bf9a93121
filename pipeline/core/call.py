"""One call: `step(event)` in, effects out; `next_deadline()` says when to send a `Tick`.

Only this module moves `phase`. It never waits, reads a clock, draws a random number, logs,
or imports from outside `pipeline.core`; `tests/test_architecture.py` checks that.

    RINGING ──Answered──▶ CONNECTING ──StreamStarted──▶ SPEAKING (the greeting)
    SPEAKING ──all heard──▶ LISTENING ──turn ended──▶ THINKING ──first sentence──▶ SPEAKING
    SPEAKING, THINKING ──a voice──▶ INTERRUPTED ──words──▶ LISTENING, ──a noise, "mm-hm"──▶ back
    any of them ──a machine's greeting──▶ MACHINE ──beep──▶ CLOSING
    any but MACHINE ──the socket breaks──▶ BROKEN ──StreamStarted──▶ SPEAKING (an apology)
    any of them ──goodbye──▶ CLOSING ──heard, or too late──▶ HUNG_UP ──carrier's last word──▶ REMEMBERING ──▶ ENDED

Long because every transition of the machine stands here and nowhere else.

What is decided elsewhere: what the caller did (`hearing.py`), what the agent says and what of it is
heard (`speech.py`), when what is due (`dues.py`), when money ends the call (`budget.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import leave
from pipeline.core.budget import LONGEST_NOTICE
from pipeline.core.dues import Dues
from pipeline.core.hearing import Hearing, Verdict
from pipeline.core.money import Millis, Nanos
from pipeline.core.notice import Notice, words
from pipeline.core.phases import ANSWERING, PAID, RENEWING, TALKING, Phase
from pipeline.core.remembering import Remembering
from pipeline.core.speech import Outcome, Speech, Spoken
from pipeline.core.spending import Spending
from pipeline.core.terms import EndReason
from pipeline.core.turns import Said

__all__ = ["UNSAID", "Call", "Phase"]

UNSAID = -1
"""Seconds of a carrier that did not say how many."""


class Call:
    """The machine. Feed it events in order of `at`; the first is `CallStarted`."""

    def __init__(self, started: ev.CallStarted) -> None:
        self.phase = Phase.RINGING
        self.start = started
        self.limits = started.limits
        self.spending = Spending(started.prices, started.allowance, started.limits)
        self._notice = Notice(self.spending, started.limits.warning_patience_ms)
        self._speech = speech = Speech(started, self.spending, self._notice)
        self.playout, self.replies, self.transcript = speech.playout, speech.replies, speech.transcript
        self._hearing = Hearing(started)
        self.turn = self._hearing.turn
        self._dues = Dues(
            self.limits, self.spending, self._notice, self._hearing, self.playout, self.transcript
        )
        self._idle_prompts = 0  # in a row that nobody answered
        self._failures = 0  # in a row, with nothing of the model's heard between
        self._opted_out = False
        self._remembering = Remembering(started.remember, self.replies)
        self._reason: EndReason | None = None
        self._ended: fx.Ended | None = None  # as far as it is known before the call is remembered
        self._done: ev.CarrierDone | None = None
        self._away = EndReason.CALLER_HUNG_UP  # what a socket that does not come back means
        self._since = started.at
        self._silent = started.at  # when the carrier did not say again that the call is over
        self._now = started.at
        self._out: list[fx.Effect] = []
        if isinstance(started, ev.CallResumed):
            self._resume(started.resumed)

    def _resume(self, known: ev.Resumed) -> None:
        """Another process died with this call: what it bought is bought and what it said is said."""
        self.spending.resume(known, self._now)
        self.transcript.resume(known.said)
        self.replies.resume(known.reply)
        self._notice.announced = known.announced
        self._away = EndReason.SERVER_LOST
        self.phase = Phase.BROKEN

    def step(self, event: ev.Event) -> list[fx.Effect]:
        """Take one event; the effects are to be performed in order."""
        if self.phase is Phase.ENDED:
            return []
        self._now = Millis(max(self._now, event.at))
        self._out = []
        if self.phase in PAID:
            self._out += self.spending.run(self._now)
        if self.phase is Phase.REMEMBERING:
            self._remember(event)
            return self._out
        self._take(event)
        self._mind_the_time()
        if self.phase in RENEWING:
            self._out += self.spending.renew(self._now)
        self._out += self.replies.settled()
        return self._out

    @property
    def announced(self) -> Millis | None:
        """The cutoff the caller was warned of."""
        return self._notice.announced

    @property
    def unconfirmed(self) -> Nanos:
        """What was asked for at most and is not known to have been bought."""
        return self.spending.purse.pending

    @property
    def largest_lump(self) -> Nanos:
        """What a reply to the conversation so far, and its voice, cost at most."""
        return self.replies.worst(self.transcript.messages)

    def next_deadline(self) -> Millis | None:
        """When the shell must send a `Tick`, if nothing else happens first."""
        if self.phase is Phase.REMEMBERING:
            return self._remembering.deadline
        return self._dues.next(self.phase, self._waits_since, parting=self._parting)

    @property
    def _waits_since(self) -> Millis:
        """No bill is closed over a leg that may go on: as long as the carrier is asked, its word is waited for."""
        return max(self._since, self._silent) if self.phase is Phase.HUNG_UP else self._since

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._since = self._now

    # -- events ------------------------------------------------------------------------

    def _take(self, event: ev.Event) -> None:
        match event:
            # First: three events of four are one of these.
            case ev.Audible() | ev.AudioQueued() | ev.UtteranceQueued() | ev.MarkReached():
                self._spoken(self._speech.played(event, self._now))
            case ev.ReplyPiece():
                self._spoken(self._speech.piece(event, self._now))
            case ev.CallResumed(phrases=phrases):
                self._out += [fx.Prepare(tuple(dict.fromkeys((phrases.dropped, *phrases.all)))), fx.Listen()]
            case ev.CallStarted():
                self._out += [fx.Prepare(event.phrases.all), fx.Listen()]
            case ev.Answered():
                self._answer()
            case ev.StreamStarted():
                self._greet()
            case ev.Listening():
                self.spending.listening(event.model, self._now)
                self._hearing.ends_turns = event.ends_turns
            case (
                ev.SpeechStarted()
                | ev.SpeechHeld()
                | ev.SpeechFaded()
                | ev.SpeechReturned()
                | ev.SpeechStopped()
            ):
                self._hear(self._hearing.voice(event, self._now))
            case ev.Heard() | ev.SegmentHeard() | ev.TurnLikelyEnded() | ev.TurnResumed() | ev.TurnEnded():
                self._words(self._hearing.words(event, self._now))
                self._hear(self._hearing.so_far(event, self._now, self.phase, parting=self._parting))
            case ev.ReplyEndsCall():
                self._speech.ends(event.reply)
            case ev.ReplyCutShort():
                self.replies.cut_short(event.reply)
            case ev.ReplyFinished():
                if (rest := self.replies.finish(event.reply)) is not None:
                    self._spoken(self._speech.speak(rest, self._now))
                self._out += self.replies.count(event, self._now)
            case ev.SpeechBought() | ev.SpeechSkipped():
                self._out += self._speech.sold(event, self._now)
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
                self.spending.change(event.held, event.reach, event.binds, event.warn_used, self._now)
                if self.phase in PAID:
                    self._out += self.spending.run(self._now)  # what had to wait for it
            case ev.EngineFailed():
                self._engine_failed(event)
            case ev.HangUpAsked():
                self._asked_to_hang_up(event)
            case ev.LineDropped():
                self._hang_up(event.reason)
            case ev.LineBroken():
                self._break_off()
            case ev.CarrierDone():
                self._carrier_done(event)
            case ev.CarrierSilent():
                self._silent = self._now
            case _:
                raise TypeError(f"no such event: {event!r}")

    def _answer(self) -> None:
        if self.phase is Phase.RINGING:
            self._out += self.spending.answer(self._now)
            self._enter(Phase.CONNECTING)

    def _greet(self) -> None:
        self._answer()  # the carrier's word of the answer may be late or lost
        if self.phase is Phase.BROKEN and self.transcript.heard(self.start.phrases.disclosure):
            self._rejoin()
        elif self.phase in (Phase.CONNECTING, Phase.BROKEN):
            self._enter(Phase.SPEAKING)
            self._out += self._speech.greet(self._now)

    def _break_off(self) -> None:
        """The socket is gone. A conversation waits for it; a goodbye or a message on a machine does not."""
        if self.phase in TALKING:
            self._hush()
            self._away = EndReason.CALLER_HUNG_UP
            self._enter(Phase.BROKEN)
        elif self.phase not in (Phase.RINGING, Phase.BROKEN):
            self._hang_up(EndReason.CALLER_HUNG_UP)

    def _rejoin(self) -> None:
        """The socket is back: say so, and answer what was left unanswered."""
        self._out.append(self._speech.say(self.start.phrases.dropped, self._now, protected=True))
        self._enter(Phase.SPEAKING)
        self._speech.answers_from(None)
        if unanswered := self.transcript.unanswered:
            self._ask(leaving=leave.farewell(unanswered))

    def _hear(self, verdict: Verdict) -> None:
        """What came of the caller's side."""
        match verdict:
            case Verdict.NOTHING:
                pass
            case Verdict.SPEAKS:
                self._idle_prompts = 0
            case Verdict.WENT_ON:
                self._out += self._speech.unguess()
            case Verdict.RESUMED:
                self._out += self._speech.unguess()
                self._listen_on()
            case Verdict.PAUSES:
                self._listen_on()
            case Verdict.PROBABLY_DONE if self.phase is Phase.LISTENING:
                self._out += self._speech.guess(self._hearing.probably, self._now)
            case Verdict.OVER:
                self._turn_over()
            case Verdict.OPTS_OUT:
                self._opt_out("voice")
            case Verdict.FULL_MAILBOX:
                self._hang_up(EndReason.VOICEMAIL)
            case Verdict.MACHINE:
                self._wait_for_beep()

    def _spoken(self, spoken: Spoken) -> None:
        """What came of the agent's own side."""
        self._out += spoken.effects
        match spoken.outcome:
            case Outcome.NOTHING:
                pass
            case Outcome.SAID if self.phase is not Phase.SPEAKING:
                self._enter(Phase.SPEAKING)
            case Outcome.UNAFFORDABLE:
                self._out_of_money()
            case Outcome.STILLBORN:
                self._fail()
            case Outcome.HEARD:
                self._failures = 0

    def _say(self, text: str) -> None:
        """Say a phrase and go on as the speaker."""
        self._out.append(self._speech.say(text, self._now))
        self._enter(Phase.SPEAKING)

    def _hush(self) -> None:
        # A warning cut off in the step that began it was heard by nobody: it is not told of either.
        self._out = [effect for effect in self._out if not isinstance(effect, fx.Warned)]
        self._out += self._speech.hush(self._now, self._since)

    # -- machines and opting out -------------------------------------------------------

    def _machine(self, event: ev.MachineDetected | ev.BeepHeard) -> None:
        """The carrier's verdict counts until a person has talked, a tone only where a machine is waited for."""
        if isinstance(event, ev.BeepHeard):
            if self.phase is Phase.MACHINE:
                self._leave_message()
            return
        kind = event.kind
        if kind != "human" and self.phase is not Phase.MACHINE and self._hearing.is_person(self.transcript):
            return
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
        elif self.phase in (Phase.CONNECTING, Phase.BROKEN):
            self._hang_up(EndReason.OPTED_OUT)

    # -- failures ----------------------------------------------------------------------

    def _engine_failed(self, event: ev.EngineFailed) -> None:
        if event.service == "stt":
            self.spending.deaf(self._now)
        match event.service:
            case "llm" if not self.replies.fail(event.ref):
                return
            case "tts" if not self._speech.lost(event.ref, for_good=event.kind == "all_down"):
                return
            case "stt" if self.phase in (Phase.RINGING, Phase.CONNECTING) and self._deaf():
                return
            case "stt" if self.phase is not Phase.HUNG_UP:
                self.turn.take()
                self._out.append(fx.Listen())
                if self.phase in ANSWERING:
                    return  # nobody waits to be heard
            case _:
                pass
        if self.phase in TALKING and event.kind == "all_down" and event.service != "stt":
            self._close(EndReason.ENGINE_FAILURE, self.start.phrases.trouble)
        elif self.phase in TALKING:
            self._fail()

    def _deaf(self) -> bool:
        """A call that could not hear anybody is given up before anybody speaks."""
        self._failures += 1
        if self._failures < self.limits.engine_failures:
            return False
        self._hang_up(EndReason.ENGINE_FAILURE)
        return True

    def _fail(self) -> None:
        """Something the caller waits for will not come: apologise, or give up after too many."""
        self._failures += 1
        leaving = self.replies.ends_call
        self._out += self._speech.give_up()
        if leaving:
            self._close(EndReason.AGENT_ENDED, self.start.phrases.goodbye)
        elif self._failures >= self.limits.engine_failures:
            self._close(EndReason.ENGINE_FAILURE, self.start.phrases.trouble)
        else:
            self._yield_floor()
            self._say(self.start.phrases.apology)

    # -- turns -------------------------------------------------------------------------

    def _turn_over(self) -> None:
        """The caller's turn has ended: answer it, unless there is nothing to answer."""
        over = self._hearing.turn_over(self._now, self.phase, self._since, self.transcript)
        if self.phase is Phase.BROKEN:  # nobody can be answered just now
            if over.said.text:
                self._note(over.said)
            if over.verdict is Verdict.OPTS_OUT:
                self._opt_out("voice")
            return
        if self._parting and over.verdict is not Verdict.OPTS_OUT:
            self._overhear(over.said)
            return
        match over.verdict:
            case Verdict.NOTHING:
                self._out += self._speech.unguess()
            case Verdict.NOISE:
                if over.said.text:
                    self._note(over.said)
                self._speak_on()
            case Verdict.LOST:
                self._fail()
            case Verdict.SCREENER:
                self._hush()
                self._note(over.said)
                self._say(self.start.phrases.screening)
            case Verdict.OPTS_OUT if self.phase not in TALKING:
                self._opt_out("voice")
            case verdict:
                self._yield_floor()
                if self.phase is Phase.SPEAKING:  # what was heard before stands before
                    self._out += self._speech.turn_over(self._now, self._since)
                self._note(over.said)
                self._answer_turn(over.said.text, verdict)

    @property
    def _parting(self) -> bool:
        """The agent says its last word: that is heard to its end, unless no more calls are wanted."""
        return self.phase in ANSWERING and self.replies.last_word

    def _overhear(self, said: Said) -> None:
        """It is written down, and nothing follows from it."""
        if said.text:
            self._out += self._speech.turn_over(self._now, self._since)  # what was heard before stands before
            self._note(said)

    def _answer_turn(self, text: str, verdict: Verdict) -> None:
        if verdict is Verdict.OPTS_OUT:
            self._opt_out("voice")
        elif verdict is Verdict.TAKES_LEAVE and self.phase in ANSWERING and self.replies.ends_call:
            pass  # the last word is on its way
        elif verdict is Verdict.LISTENS:
            self._out += self._speech.unguess()
        elif self._speech.guessed(text, self._now):
            self._take_up()
        else:
            self._ask(leaving=verdict is Verdict.TAKES_LEAVE)

    def _note(self, said: Said) -> None:
        self._out.append(self.transcript.caller(said.text, said.started, said.ended))
        self._speech.answers_from(said.fell_silent, began=said.started)

    def _ask(self, *, leaving: bool) -> None:
        """Have it answered. The first reply that cannot be afforded becomes the warning, the next one the goodbye.

        Next is what the caller began to say after the warning: to all before, the warning is the answer.
        """
        self._out += self.replies.drop()
        late = self._due(self._dues.goodbye)  # with the first turn, perhaps only now
        order = None if late else self._speech.ask(self._now, leaving=leaving)
        if order is None and not late and not self._notice.given and not leaving:
            self._announce()
            order = self._speech.ask(self._now, leaving=False)
            self._warn(in_place_of_answer=order is None)
            if order is None:
                return
        if order is None and leaving:
            self._close(EndReason.AGENT_ENDED, self.start.phrases.goodbye)
        elif order is None:
            if late or not self._speech.warned_meanwhile:
                self._out_of_money()
        else:
            self._out.append(order)
            if self.phase is not Phase.SPEAKING:
                self._enter(Phase.THINKING)

    def _listen_on(self) -> None:
        if self.phase is Phase.LISTENING:
            self._out += self._speech.listen_on(self.turn.started, self._now)

    def _marks_lost(self) -> None:
        """What was sent will not be known to have been heard; it is taken for over."""
        over = self.replies.ends_call
        self._hush()
        if over:
            self._hang_up(EndReason.AGENT_ENDED)
        else:
            self._enter(Phase.LISTENING)

    def _agent_silent(self) -> None:
        """All was heard. While the model still writes, its next words are waited for, but not for ever."""
        if not self.replies.writing:
            self._out += self._speech.turn_over(self._now, self._since)
            over = self.replies.ends_call
            self._out += self.replies.drop()
            if over:
                self._hang_up(EndReason.AGENT_ENDED)
            else:
                self._enter(Phase.LISTENING)
        elif self.phase is Phase.SPEAKING:
            if not self.replies.spoken:
                self._out += self._speech.turn_over(self._now, self._since)
            self._enter(Phase.THINKING)

    # -- interruptions -----------------------------------------------------------------

    def _words(self, text: str) -> None:
        """Words are known before the turn is over: they may decide what a voice beside the agent's was."""
        if self._hearing.interrupts(text):
            if self._interruptible:
                self._interrupt()
            self._yield_floor()
        self._hear(self._hearing.greets(text, self.phase, self.transcript))

    @property
    def _interruptible(self) -> bool:
        return self.phase in ANSWERING and not self.playout.protected and not self._parting

    def _interrupt(self) -> None:
        """A voice beside the agent's."""
        self._out += self._speech.pause(self._now)
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
            self._out.append(self._speech.resume(self._now))
            self._enter(Phase.SPEAKING)
        elif not self.replies.under_way:
            self._agent_silent()
            return
        self._take_up()

    def _take_up(self) -> None:
        """Speak what was held back, and let the rest follow."""
        if self.phase is not Phase.SPEAKING:
            self._enter(Phase.THINKING)
        self._spoken(self._speech.speak(self.replies.release(), self._now))

    # -- ways out ----------------------------------------------------------------------

    def _announce(self) -> None:
        """From the warning on nothing is bought that brings the cutoff nearer."""
        self._yield_floor()
        self._out += self._speech.unguess()
        cutoff = self.spending.cutoff or self._now
        self._notice.announced = Millis(min(cutoff, self._now + LONGEST_NOTICE))
        self._out.append(fx.Warned(cutoff, self.spending.purse.rest))

    def _warn(self, *, in_place_of_answer: bool = False) -> None:
        phrases, cutoff = self.start.phrases, self.spending.cutoff or self._now
        # Where it is money for answers that is short, the time that is left says nothing.
        told = phrases.short if in_place_of_answer else ""
        told = told or words(phrases, cutoff - self._now)
        self._out.append(self._speech.warn(told, self._now))
        self._enter(Phase.SPEAKING)

    def _close(self, reason: EndReason, text: str) -> None:
        """Say goodbye, then hang up when it was heard. Only while somebody can hear it."""
        self._hush()
        self._reason = reason
        self._out.append(self._speech.say(text, self._now, protected=True))
        self._enter(Phase.CLOSING)

    def _out_of_money(self) -> None:
        """Say goodbye for whatever it is that ends the paid time."""
        phrases, reason = self.start.phrases, self.spending.reason
        match reason:
            case EndReason.MAX_DURATION:
                self._close(reason, phrases.goodbye)
            case EndReason.ENGINE_FAILURE:
                self._close(reason, phrases.trouble)
            case _:
                self._close(reason, phrases.out_of_time)

    def _asked_to_hang_up(self, asked: ev.HangUpAsked) -> None:
        phrases = self.start.phrases
        words = {EndReason.DRAINED: phrases.goodbye, EndReason.OPTED_OUT: phrases.opted_out}
        polite = asked.reason is EndReason.DRAINED or asked.politely
        if polite and self.phase in (*TALKING, Phase.MACHINE):
            self._close(asked.reason, words.get(asked.reason, phrases.trouble))
        elif self.phase is not Phase.CLOSING or not polite:
            self._hang_up(asked.reason)

    def _hang_up(self, reason: EndReason) -> None:
        if reason is EndReason.SERVER_LOST:
            self._remembering.forgo()  # whatever the call ended for before
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

    def _end(self, done: ev.CarrierDone | None) -> None:
        """Close the bill with the carrier's seconds, or with our own where it did not say; then remember the call."""
        answered = self.spending.answered
        status = ("failed" if answered is None else "completed") if done is None else done.status
        seconds = UNSAID if done is None else done.seconds
        if seconds == UNSAID:
            seconds = 0 if answered is None else -(-(self._since - answered) // 1000)
        self._out += self.spending.close(seconds, self._now)
        self._out += self.replies.settled()
        reason = None if answered is None else self._reason
        self._ended = fx.Ended(reason, status, seconds, self.spending.meter.nano)
        self._out += self._remembering.ask(self.transcript.messages, reason, self._now)
        if self._remembering.asked:
            self._enter(Phase.REMEMBERING)
        else:
            self._close_books(self._ended)

    def _remember(self, event: ev.Event) -> None:
        """Nothing but the model's answer is waited for, and not for long."""
        match event:
            case ev.ReplyPiece():
                self._remembering.piece(event)
            case ev.ReplyFinished():
                self._out += self.replies.count(event, self._now)
            case ev.EngineFailed(service="llm"):
                self._remembering.fail(event.ref)
            case _:
                pass
        self._out += self._remembering.late(self._now)
        if self._ended is not None and self._remembering.over(self._now):
            self._out.append(self._remembering.result())
            self._close_books(self._ended)

    def _close_books(self, ended: fx.Ended) -> None:
        self._out.append(replace(ended, total=self.spending.meter.nano))
        self._enter(Phase.ENDED)

    # -- time --------------------------------------------------------------------------

    def _mind_the_time(self) -> None:
        """Whatever is due by now, in the order in which it matters."""
        match self.phase:
            case Phase.RINGING | Phase.CONNECTING | Phase.BROKEN | Phase.HUNG_UP:
                self._mind_the_carrier()
            case Phase.CLOSING:
                if self.playout.silent or self._now >= self._dues.closed_by(self._since):
                    self._hang_up(self._reason or EndReason.AGENT_ENDED)
            case Phase.MACHINE:
                self._mind_the_machine()
            case _:
                self._mind_the_money()
                self._mind_the_floor()

    def _mind_the_carrier(self) -> None:
        """Nobody answered, no media came or came back, or the carrier's last word does not come."""
        late = self._now >= self._dues.patience(self.phase, self._waits_since)
        match self.phase:
            case Phase.CONNECTING | Phase.BROKEN if self._now >= (self.spending.cutoff or self._now):
                self._hang_up(self.spending.reason)
            case Phase.RINGING | Phase.CONNECTING if late:
                self._hang_up(EndReason.BAD_STREAM)
            case Phase.BROKEN if late:
                self._hang_up(self._away)
            case Phase.HUNG_UP:
                settled = self._done and not self.replies.unpaid and not self.spending.unsold
                if settled or late:
                    self._end(self._done)

    def _mind_the_machine(self) -> None:
        """Nobody is told of money, and a machine is not waited for beyond it."""
        if self._due(self._dues.goodbye):
            self._hang_up(self.spending.reason)
        elif self._now >= self._dues.message(self._since):
            self._leave_message()

    def _mind_the_money(self) -> None:
        if self._due(self._dues.goodbye):
            self._out_of_money()
            return
        if self._parting:
            return  # nothing is said behind the last word
        busy = self.turn.voiced_since is not None or self.phase in (Phase.THINKING, Phase.INTERRUPTED)
        if self._notice.due(self._now, greeted=self._dues.greeted, busy=busy):
            self._announce()
            self._warn()

    def _mind_the_floor(self) -> None:
        """Who speaks next: barge-in, end of the agent's turn, end of the caller's, silence."""
        if self._due(self._dues.endless):
            self._hearing.forsake(self._now)
        if self.phase in ANSWERING and self.playout.silent:
            self._agent_silent()
        if self.phase is Phase.SPEAKING and self._now >= self._dues.marks_lost:
            self._marks_lost()
        if self.turn.held and self._interruptible:
            self._interrupt()
        if self.phase is Phase.INTERRUPTED:
            self._sort_out()
        if self.phase is Phase.THINKING and self._now >= self._dues.patience(self.phase, self._since):
            self._fail()
        if self.phase is not Phase.LISTENING:
            return
        if (turn := self._dues.turn) is None:
            if self._due(self._dues.idle(self._since)):
                self._idle()
        elif self._now >= turn:
            self._turn_over()

    def _due(self, at: Millis | None) -> bool:
        return at is not None and self._now >= at

    def _sort_out(self) -> None:
        """Interrupted: a voice that was brief, or whose words are none that take the floor, took none."""
        if self.turn.fleeting:
            self._speak_on()
        elif self._hearing.heard_out or self._due(self._dues.noise(self._since)):
            self._turn_over()

    def _idle(self) -> None:
        if self._idle_prompts >= self.limits.idle_prompts:
            self._close(EndReason.IDLE, self.start.phrases.goodbye)
            return
        self._idle_prompts += 1
        self._out += self._speech.unguess()
        self._say(self.start.phrases.still_there)
