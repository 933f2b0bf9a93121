"""The shell around one call: one inbox, one timer.

Take an event, stamp it, step, write event and effects to the journal, perform the effects;
what they lead to comes back as events. Everything that happens in a call passes through
`LiveCall.run`, in one order, and that order is the journal's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from pipeline.audio.mulaw import is_loud
from pipeline.audio.vad import Detector, Faded, Held, Returned, Started, Stopped
from pipeline.audio.windows import Windows
from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Call, Phase
from pipeline.core.errors import BadStream
from pipeline.core.events import CallStarted, Event
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason
from pipeline.engines.base import VoiceTrack
from pipeline.journal_file import NoJournal
from pipeline.mouth import Mouth, at_once
from pipeline.outgoing import BYTES_PER_MS
from pipeline.pacer import Pace
from pipeline.perform import Performer
from pipeline.ports import Engines, JournalSink, Line, NoGaps, Pulse, Surroundings
from pipeline.recorder import RecordedLine, Recorder
from pipeline.taped import TapedClips, taped
from pipeline.traffic import Tape

log = structlog.get_logger()

INBOX_EVENTS = 2_000
"""More than this waiting means that the process cannot keep up; the call is then ended."""

NO_GAPS = NoGaps()

NO_TOKENS: dict[str, Any] = {
    "model": "",
    "estimated": False,
    **dict.fromkeys(("tokens_in", "tokens_cached", "tokens_out"), 0),
}
"""What a reply comes to that nobody was asked for."""

GAP_S = 0.25
"""How soon it is looked again whether a gap is accounted for, where time itself waits for that."""

KEPT = (
    *(ev.ReplyFinished, ev.EngineUsed, ev.Listening, ev.SpeechBought, ev.SpeechSkipped, ev.EngineFailed),
    *(ev.AllowanceChanged, ev.CarrierDone),
)
"""Events that say what is to be paid; they come once a sentence, a second or a call and are never thrown away."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a replay puts in the place of time: the order of events, the sending of sound, the echo's loudness,
    and when the agent begins to speak or to render."""

    inbox: asyncio.Queue[Event]
    pace: Pace
    agent: Callable[[], int]
    speaks: Callable[[], Awaitable[object]]


class LiveCall:
    """One call in this process. All methods but `run` return at once and may be called at any time.

    `connected_ms`: the caller rang us, and the line has been up for so long; None where somebody is to be rung.
    Without `keys` none is listened to: what a caller keys in for the menu before the call is not the call's to hear.
    """

    def __init__(
        self,
        started: CallStarted,
        *,
        voice: str,
        engines: Engines,
        clips: Clips,
        clock: Clock,
        journal: JournalSink,
        outside: Surroundings,
        recorder: Recorder | None = None,
        tape: Tape | None = None,
        conduct: Conduct | None = None,
        pulse: Pulse = NO_GAPS,
        connected_ms: int | None = None,
        keys: bool = True,
    ) -> None:
        self.id = started.call_id
        self._started = started
        self._tape = tape
        if tape is not None:
            engines, clips = taped(engines, tape), TapedClips(clips, tape)
        self._engines = engines
        self._clock = clock
        self._pulse = pulse
        self._journal = journal
        self._outside = outside
        self._recorder = recorder
        self._inbox = asyncio.Queue() if conduct is None else conduct.inbox
        self._keys = keys
        self._zero = Millis(clock.millis() - started.at - (connected_ms or 0))
        if tape is not None:
            tape.begin(connected_ms or 0)
        self._latest = started.at
        if connected_ms is not None:  # the carrier's minutes count from then
            self._put(ev.Answered(started.at))
        self._unwritten = False
        self._deadline: Millis | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._mouth = Mouth(
            engines.speaker,
            voice,
            clips,
            clock,
            self._post,
            None if conduct is None else conduct.pace,
            conduct.speaks if conduct is not None else at_once if tape is None else tape.speaks,
        )
        self._agent = self._mouth.loudness if conduct is None else conduct.agent

        self._hands: Performer | None = None
        self._line: Line | None = None
        self._phase = Phase.RINGING
        self._track: VoiceTrack | None = None
        self._detector = Detector(started.limits.barge_in_ms)
        self._windows = Windows()
        self._loud_at: float | None = None
        self._heard_at: Millis | None = None
        self._rejoined = False

    # -- what the world tells the call -------------------------------------------------

    @property
    def over(self) -> bool:
        """The call hangs up or has ended: nobody is to be connected to it any more."""
        return self._phase in (Phase.HUNG_UP, Phase.REMEMBERING, Phase.ENDED)

    def answered(self) -> None:
        self._post(ev.Answered)

    def attach(self, line: Line) -> None:
        """The media socket proved itself: sound may flow both ways. Raises `BadStream` for a second one.

        After `broken` another one may come.
        """
        if self._line is not None or self.over:
            raise BadStream("the call has its socket, or needs none any more")
        if self._recorder is not None:
            line = RecordedLine(line, self._recorder)
            self._heard_at = self._clock.millis() if self._heard_at is None else self._heard_at
        self._line = line
        if self._hands is not None:
            self._hands.line = line
        self._mouth.attach(line)
        self._post(ev.StreamStarted)

    def hear(self, mulaw: bytes) -> None:
        """Caller audio, in order."""
        if self._recorder is not None:
            self._record(self._recorder, mulaw)
        if self._tape is not None:
            self._tape.caller(mulaw)
        if is_loud(mulaw):
            self._loud_at = self._clock.seconds()
        if (track := self._track) is not None:
            self._transcribe(self._windows.feed(mulaw, self._loudness))
            track.feed(mulaw)
        if (hands := self._hands) is not None and hands.beeps is not None and hands.beeps.feed(mulaw):
            self._post(ev.BeepHeard)

    def _record(self, recorder: Recorder, mulaw: bytes) -> None:
        """As long as the call: the time without a line is in the recording, and not in what engines hear."""
        now = self._clock.millis()
        if self._rejoined and self._heard_at is not None:
            self._rejoined = False
            recorder.gap(now - self._heard_at - len(mulaw) // BYTES_PER_MS)
        self._heard_at = now
        recorder.caller(mulaw)

    def played(self, chunk: int) -> None:
        self._post(partial(ev.MarkReached, chunk=chunk))

    def pressed(self, digit: str) -> None:
        if self._keys:
            self._post(partial(ev.DigitPressed, digit=digit))

    def machine(self, kind: str) -> None:
        self._post(partial(ev.MachineDetected, kind=kind))

    def carrier_done(self, status: str, seconds: int) -> None:
        self._post(partial(ev.CarrierDone, status=status, seconds=seconds))

    def carrier_silent(self) -> None:
        self._post(ev.CarrierSilent)

    def dropped(self, reason: EndReason) -> None:
        self._post(partial(ev.LineDropped, reason=reason))

    def allowed(self, held: Nanos, reach: Nanos, binds: EndReason, warn_used: Nanos | None) -> None:
        """The answer to `RenewHold`."""
        self._post(partial(ev.AllowanceChanged, held=held, reach=reach, binds=binds, warn_used=warn_used))

    def broken(self) -> None:
        """The media socket is gone without a word, or is about to be replaced."""
        line, self._line = self._line, None
        if line is None:
            return
        self._rejoined = True
        self._mouth.detach()
        if self._hands is not None:
            self._hands.let_go(line)
        self._post(ev.LineBroken)

    def ask_hang_up(self, reason: EndReason, *, politely: bool = False) -> None:
        self._post(partial(ev.HangUpAsked, reason=reason, politely=politely))

    # -- the loop ----------------------------------------------------------------------

    async def run(self) -> None:
        """Live through the call. Returns when the carrier has ended it and all is accounted for."""
        try:
            await self._live()
        finally:
            if self._recorder is not None:  # whoever hears of the end finds all of the recording
                await asyncio.to_thread(self._recorder.close)

    async def _live(self) -> None:
        call = Call(self._started)
        with ExitStack() as opened:
            opened.callback(self._arm, None)
            if (tape := self._tape) is not None:
                opened.callback(lambda: tape.finish(whole=call.phase is Phase.ENDED))
            self._track = opened.enter_context(self._engines.voice_activity.open(self._window))
            async with asyncio.TaskGroup() as tasks:
                mouth = tasks.create_task(self._mouth.run())
                self._hands = Performer(
                    self._engines, self._mouth, self._outside, tasks, self._post, self._quiet_ms
                )
                self._hands.line = self._line
                self._step(call, self._hands, self._started)
                while call.phase is not Phase.ENDED:
                    self._step(call, self._hands, await self._next(call))
                mouth.cancel()
                self._hands.stop()
                if self._line is not None:
                    await self._line.close()

    def _step(self, call: Call, hands: Performer, event: Event) -> None:
        if (tape := self._tape) is not None:
            tape.moments.step()
        if isinstance(event, ev.MarkReached):
            # Only now, in the journal's order: what the core takes for heard is what the mouth does.
            self._mouth.played(event.chunk)
        effects = call.step(event)
        self._phase = call.phase
        try:
            self._journal.append(event, effects)
        except OSError as error:
            self.journal_lost(error)
        self._outside.happened(event, effects)
        for effect in effects:
            if not (self._unwritten and self._refused(effect)):
                hands.perform(effect)
        if self._phase is Phase.REMEMBERING:
            hands.deafen()
        if tape is not None:
            tape.moments.step()

    async def _next(self, call: Call) -> Event:
        if self._inbox.empty():
            self._arm(call.next_deadline())
        event = await self._inbox.get()
        if self._tape is not None:
            self._tape.moments.taken()
        await self._pulse.steady()
        return event

    def _arm(self, deadline: Millis | None) -> None:
        """The one timer; most events leave the deadline where it is, and then it is left alone."""
        if deadline == self._deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._deadline, self._timer = deadline, None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(
                (self._zero + deadline) / 1000, self._tick, deadline
            )

    def _tick(self, deadline: Millis) -> None:
        if self._pulse.counted(Millis(self._zero + deadline)) < self._zero + deadline:
            self._timer = asyncio.get_running_loop().call_later(GAP_S, self._tick, deadline)
            return
        self._deadline = self._timer = None
        if self._inbox.empty():  # what arrived as the time ran out comes first, and may move the deadline
            self._put(ev.Tick(self._stamp(deadline)))

    def _stamp(self, at_least: int = 0) -> Millis:
        now = self._pulse.counted(self._clock.millis())
        self._latest = Millis(max(self._latest, now - self._zero, at_least))
        return self._latest

    def _post(self, event: Callable[[Millis], Event]) -> None:
        if self._phase is Phase.ENDED:
            return
        if self._inbox.qsize() >= INBOX_EVENTS:
            self._overrun()
        self._put(event(self._stamp()))

    def _put(self, event: Event) -> None:
        if self._tape is not None:
            self._tape.moments.posted()
        self._inbox.put_nowait(event)

    def _overrun(self) -> None:
        """News make room for the order to hang up; what costs money, one press of each key and the carrier's last
        word stay."""
        keys: set[str] = set()
        kept: list[bool] = []
        for event in [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]:
            pressed = isinstance(event, ev.DigitPressed) and event.digit not in keys
            kept.append(pressed or isinstance(event, KEPT))
            if kept[-1]:
                self._inbox.put_nowait(event)
            if isinstance(event, ev.DigitPressed):
                keys.add(event.digit)
        if self._tape is not None:
            self._tape.moments.thrown(kept)
        self._put(ev.HangUpAsked(self._stamp(), EndReason.ENGINE_FAILURE))
        log.error("inbox_overrun", call=self.id)

    def journal_lost(self, error: OSError) -> None:
        """Without a journal nothing more is asked for: what was charged stands, and the call says goodbye."""
        if self._unwritten:
            return
        log.error("journal_lost", call=self.id, error=error.strerror)
        self._journal, self._unwritten = NoJournal(), True
        self.ask_hang_up(EndReason.ENGINE_FAILURE, politely=True)

    def _refused(self, effect: fx.Effect) -> bool:
        """What would have to be bought is not, for it is written nowhere; what was rendered before is said."""
        match effect:
            case fx.AskReply():
                self._post(partial(ev.ReplyFinished, reply=effect.reply, **NO_TOKENS))
            case fx.Say() if not self._mouth.has(effect.text):
                self._post(partial(ev.SpeechSkipped, utterance=effect.utterance))
            case fx.Listen():
                pass
            case _:
                return False
        return True

    def _window(self, probability: float) -> None:
        """Voice activity's opinion of the latest 32 ms; facts go to the core, boundaries to the ear."""
        sound, agent = self._windows.take()
        facts = self._detector.window(probability, sound, agent)
        self._transcribe(self._windows.judged(echo=self._detector.echo))
        for fact in facts:
            match fact:
                case Started(onset_ms):
                    self._bound(speaking=True)
                    self._post(partial(ev.SpeechStarted, onset_ms=onset_ms))
                case Held():
                    self._post(ev.SpeechHeld)
                case Faded(quiet_ms):
                    self._post(partial(ev.SpeechFaded, quiet_ms=quiet_ms))
                case Returned():
                    self._post(ev.SpeechReturned)
                case Stopped(silence_ms):
                    self._bound(speaking=False)
                    self._post(partial(ev.SpeechStopped, silence_ms=silence_ms, quiet_ms=self._quiet_ms()))

    def _transcribe(self, mulaw: bytes) -> None:
        if mulaw and self._hands is not None and self._hands.ear is not None:
            self._hands.ear.feed(mulaw)

    def _loudness(self) -> int:
        return self._agent() if self._tape is None else self._tape.level(self._agent())

    def _quiet_ms(self) -> int:
        """How long the caller has been inaudible; 0 before they were heard."""
        return 0 if self._loud_at is None else round((self._clock.seconds() - self._loud_at) * 1000)

    def _bound(self, *, speaking: bool) -> None:
        if self._hands is not None and self._hands.ear is not None:
            self._hands.ear.voice(speaking)
