"""A call told as a story: `Story` plays the shell, the engines and the carrier in virtual milliseconds.

    story = Story(started())
    story.answer().hear_out().say("What is new?").reply("Not much. And you?").run(20_000)

It performs effects naively (60 ms of sound a character, chunks of 400 ms, marks as they
would play), sends every `Tick` when it is due, and after every step checks what must
hold in any call. What a story is about is asserted by the test that tells it.

Long because what a story plays and what has to hold after each of its steps are one list.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Call, Phase
from pipeline.core.events import CallStarted
from pipeline.core.money import START, ZERO, Millis, Nanos
from pipeline.core.tariff import Price
from pipeline.core.terms import Allowance, EndReason, Layer, Limits, Manners, Phrases
from tests.core.audit import Audit

MS_PER_CHAR = 60
CHUNK_MS = 400
FADE_MS = 96
ANSWERED = Millis(3_000)

CARRIER = Price(1, "carrier", "voice", "second", 14_000_000, 60, increment=60)
STREAM = Price(2, "stream", "media", "second", 4_000_000, 60, increment=60)
AMD = Price(3, "amd", "detect", "call", 7_500_000, 1)
STT = Price(4, "stt", "ear", "second", 6_500_000, 60)
LLM_IN = Price(5, "llm", "mind", "token_in", 350_000_000, 1_000_000)
LLM_OUT = Price(6, "llm", "mind", "token_out", 750_000_000, 1_000_000)
TTS = Price(7, "tts", "voice", "char", 15_000_000, 1_000)
PRICES = (CARRIER, STREAM, AMD, STT, LLM_IN, LLM_OUT, TTS)
"""The demo's price list."""

MINUTE = Nanos(18_000_000)
"""One more carrier and stream minute."""

PHRASES = Phrases(
    disclosure="I am an artificial voice.",
    greeting="Hello there, this is Nora speaking.",
    warning="We have less than a minute left.",
    short="The money for this call is nearly used up.",
    goodbye="It was good to talk. Goodbye!",
    out_of_time="Our time is up. Goodbye!",
    still_there="Are you still there?",
    apology="Sorry, could you say that again?",
    voicemail="This is Nora. I will call again.",
    trouble="Something is wrong here. Goodbye!",
    opted_out="No more calls then. Goodbye.",
    screening="This is Nora, returning a call.",
    listening="Mm-hm.",
)


def minutes_paid(minutes: int, *, slack: int = 9_000_000) -> Nanos:
    """An allowance for exactly so many carrier minutes, with `slack` left for talking."""
    stt = -(-6_500_000 * (60 * minutes + 12) // 60)
    return Nanos(7_500_000 + minutes * MINUTE + stt + 15_000 * len(PHRASES.greeting) + slack)


PLENTY = Nanos(5_000_000_000)


ENDS_TURNS = False
"""Whether the transcriber ends turns, where a story does not say; the fixture `ends_turns` tells it both ways."""
ENDED_BY_SILENCE = pytest.mark.parametrize("ends_turns", [False], indirect=True)
ENDED_BY_TRANSCRIBER = pytest.mark.parametrize("ends_turns", [True], indirect=True)


def started(
    allowed: Nanos = PLENTY,
    *,
    binds: EndReason = EndReason.CREDIT,
    warn_used: Nanos | None = None,
    reach: Nanos | None = None,
    part: Nanos = ZERO,
    low: Nanos = ZERO,
    prices: tuple[Price, ...] = PRICES,
    limits: Limits | None = None,
    transcriber_ends_turns: bool | None = None,
    manners: Manners = Manners(eager=False),  # noqa: B008  # frozen
) -> CallStarted:
    return CallStarted(
        START,
        call_id="call-1",
        persona="nora",
        layers=(Layer("identity", "You are Nora."), Layer("manners", "Be brief.")),
        phrases=PHRASES,
        prices=prices,
        allowance=Allowance(allowed, allowed if reach is None else reach, binds, warn_used, part, low),
        limits=Limits() if limits is None else limits,
        manners=manners,
        temperature_pct=70,
        transcriber_ends_turns=ENDS_TURNS if transcriber_ends_turns is None else transcriber_ends_turns,
        seed=1,
        started_utc="2025-01-01T12:00:00+00:00",
    )


@dataclass(frozen=True)
class Written:
    """One reply as the model will write it; `fails` breaks it off, `hangs` never ends it.

    `cut_short`: it ends at its ceiling of tokens.
    """

    pieces: tuple[str, ...]
    tokens: tuple[int, int, int] = (40, 0, 12)
    first_ms: int = 300
    fails: bool = False
    hangs: bool = False
    cut_short: bool = False


E = TypeVar("E", bound=fx.Effect)
Make = Callable[[Millis], ev.Event]


class Story:
    """Nothing happens until `run` or something built on it lets the time pass."""

    def __init__(self, start: CallStarted | None = None, *, lateness: Callable[[], int] = lambda: 0) -> None:
        self.start = started() if start is None else start
        self.call = Call(self.start)
        self.audit = Audit(self.call)
        self.now = self.start.at
        self.log: list[tuple[Millis, fx.Effect]] = []
        self.steps: list[tuple[ev.Event, list[fx.Effect]]] = []
        self.replies: deque[Written] = deque()
        self.carrier_seconds: int | None = None
        self.carrier_speaks = True
        self.voice_ends = self.start.at
        """When the caller's latest voice ends."""
        self.mute = False
        """Speech to be rendered fails instead, but for what is in stock."""
        self.distance_ms = 0
        """How much later than it plays here a mark comes back."""
        self.stock: tuple[str, ...] = ()
        self.ears = True
        """Without, no transcriber ever opens."""
        self.voice_model = TTS.model
        self.voices = True
        """Without, whatever is to be spoken is neither bought nor heard."""
        self.marks_come = True
        self.tokens_come = True
        self.free = Nanos(self.start.allowance.reach - self.start.allowance.held)
        """Money that can still be had for this call."""
        self.bank_ms: int | None = 700
        """How long a question for more money takes; None while nobody answers."""
        self._unanswered = ZERO
        self._lateness = lateness
        self._queue: list[tuple[int, int, Make]] = []
        self._order = 0
        self._chunk = 0
        self._plays_until = 0
        self._unplayed: dict[int, tuple[int, int]] = {}
        self._paused: list[tuple[int, int]] | None = None
        self._lengths: dict[int, int] = {}
        self._writing: dict[int, Written] = {}
        self._carrier_told = False
        self._take(self.start)

    # -- telling -----------------------------------------------------------------------

    def post(self, make: Make, after: int = 0) -> Story:
        """Have an event arrive in `after` milliseconds."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + after, self._order, make))
        return self

    def answer(self, *, stream_ms: int = 200) -> Story:
        """Let it ring until `ANSWERED`, then pick up; sound flows a little later."""
        self.run(to=ANSWERED)
        self.post(ev.Answered).post(ev.StreamStarted, stream_ms)
        return self.run(stream_ms)

    def voice(self, ms: int) -> Story:
        """The caller's voice from now on for `ms`, as voice activity detection sees it."""
        self.post(lambda at: ev.SpeechStarted(at, 96), 96)
        if ms >= self.start.limits.barge_in_ms:
            self.post(ev.SpeechHeld, self.start.limits.barge_in_ms)
            self.post(lambda at: ev.SpeechFaded(at, FADE_MS), ms + FADE_MS)
        self.voice_ends = Millis(self.now + ms)
        return self.post(lambda at: ev.SpeechStopped(at, 200, 200), ms + 200)

    def say(self, text: str, *, at: int | None = None, ms: int | None = None) -> Story:
        """The caller says something: voice, then its text."""
        if at is not None:
            self.run(to=ANSWERED + at)
        length = MS_PER_CHAR * len(text) if ms is None else ms
        self.voice(length)
        if self.start.transcriber_ends_turns:
            return self.post(lambda at: ev.TurnEnded(at, text, 300), length + 300)
        return self.post(lambda at: ev.SegmentHeard(at, text), length + 300)

    def reply(self, *pieces: str, **how: object) -> Story:
        """What the model will write when it is next asked."""
        self.replies.append(replace(Written(pieces), **how))  # type: ignore[arg-type]
        return self

    def run(self, ms: int = 0, *, to: int | None = None) -> Story:
        """Let time pass, up to and including the instant it ends at."""
        end = Millis(self.now + ms if to is None else to)
        while self.call.phase is not Phase.ENDED and (due := self._next()) <= end:
            self._advance(due)
        self.now = Millis(max(self.now, end))
        return self

    def hear_out(self) -> Story:
        """Until the agent has said all it wants to say."""
        while not self.call.playout.silent or self.call.replies.writing:
            self._advance(self._next())
        return self

    def end(self) -> fx.Ended:
        """Until the very end."""
        while self.call.phase is not Phase.ENDED:
            self._advance(self._next())
        assert self.call.step(ev.Tick(self.now)) == []
        assert self.call.next_deadline() is None
        assert self.audit.ended is not None
        return self.audit.ended

    # -- asking ------------------------------------------------------------------------

    def phase(self) -> Phase:
        """Where the call is now; a call of its own, so that no type checker thinks it stands still."""
        return self.call.phase

    def all(self, kind: type[E]) -> list[E]:
        return [effect for _, effect in self.log if isinstance(effect, kind)]

    def times(self, kind: type[fx.Effect]) -> list[int]:
        """When, in milliseconds since the answer."""
        return [at - ANSWERED for at, effect in self.log if isinstance(effect, kind)]

    def said(self) -> list[str]:
        return [say.text for say in self.all(fx.Say)]

    def when_said(self, text: str) -> int:
        """Milliseconds since the answer of the first time the agent was told to say it."""
        return next(at - ANSWERED for at, say in self.log if isinstance(say, fx.Say) and say.text == text)

    def heard(self) -> list[str]:
        """The transcript: what was truly said and heard, a letter for who it was."""
        return [f"{turn.role[0]}: {turn.text}" for turn in self.all(fx.TurnTaken)]

    def charged(self, price: Price) -> int:
        return sum(charge.nano for charge in self.all(fx.Charge) if charge.line == price.line)

    # -- the world ---------------------------------------------------------------------

    def _next(self) -> Millis:
        arrival = self._queue[0][0] if self._queue else None
        deadline = self.call.next_deadline()
        assert deadline is not None or arrival is not None, f"stuck in {self.call.phase}"
        if deadline is None or (arrival is not None and arrival <= deadline):
            return Millis(max(self.now, arrival or 0))
        return Millis(max(self.now, deadline))

    def _advance(self, due: Millis) -> None:
        if self._queue and self._queue[0][0] <= due:
            self.now = due
            _, _, make = heapq.heappop(self._queue)
            self._take(make(self.now))
            return
        before = (self.call.phase, self.call.next_deadline())
        late = Millis(due + self._lateness())
        if self._queue:
            late = Millis(max(due, min(late, self._queue[0][0])))
        self.now = late
        self._take(ev.Tick(self.now))
        assert (self.call.phase, self.call.next_deadline()) != before, f"busy loop in {before}"

    def _take(self, event: ev.Event) -> None:
        if isinstance(event, ev.MarkReached):
            self._unplayed.pop(event.chunk, None)
        before = self.call.phase
        effects = self.call.step(event)
        self.steps.append((event, list(effects)))
        self.audit.check(event, before, effects)
        for effect in effects:
            self.log.append((self.now, effect))
            self._perform(effect)

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Listen() if self.ears:
                ends_turns = self.start.transcriber_ends_turns
                self.post(lambda at: ev.Listening(at, STT.model, ends_turns))
            case fx.Say():
                self._speak(effect)
            case fx.Hush():
                self._clear()
                self._paused = None
            case fx.Pause():
                self._paused = [*self._unplayed.values()]
                self._clear()
            case fx.Resume():
                self._speak_on()
            case fx.AskReply():
                self._write(effect.reply)
            case fx.DropReply():
                self.finish(effect.reply, 20)
            case fx.RenewHold():
                self._unanswered = effect.wanted
                if self.bank_ms is not None:
                    self.post(self._granted, self.bank_ms)
            case fx.HangUp() if self.carrier_speaks:
                self.carrier_done(after=150)
            case _:
                pass

    def bank_returns(self, ms: int = 700) -> Story:
        """Whoever answers for the money does so again, the question that waited first."""
        self.bank_ms = ms
        return self.post(self._granted, ms)

    def _granted(self, at: Millis) -> ev.Event:
        allowance, granted = self.call.spending.allowance, min(self._unanswered, self.free)
        self._unanswered, self.free = ZERO, Nanos(self.free - granted)
        held = Nanos(allowance.held + granted)
        return ev.AllowanceChanged(at, held, Nanos(held + self.free), allowance.binds, allowance.warn_used)

    def carrier_done(self, *, after: int = 0, status: str = "completed") -> Story:
        """The carrier's last word, with the seconds it has counted by then unless told otherwise."""
        seconds = self.carrier_seconds
        if seconds is None:
            answered = self.call.spending.answered
            seconds = 0 if answered is None else -(-(self.now + after - answered) // 1000)
        count = seconds
        return self.post(lambda at: ev.CarrierDone(at, status, count), after)

    def _clear(self) -> None:
        for chunk in self._unplayed:
            self.post(_mark(chunk), 20)
        self._unplayed.clear()
        self._plays_until = self.now

    def _speak_on(self) -> None:
        """What was not heard is queued anew, under new numbers."""
        kept, self._paused = self._paused or [], None
        for number in dict.fromkeys(number for number, _ in kept):
            for ms in (ms for other, ms in kept if other == number):
                self._queue_chunk(number, ms)
            self.post(_complete(number, self._lengths[number]))

    def _speak(self, say: fx.Say) -> None:
        if not self.voices:
            return
        number, left = say.utterance, MS_PER_CHAR * len(say.text)
        if self.mute and say.text not in self.stock:
            self.post(lambda at: ev.EngineFailed(at, "tts", number, "failed"), 50)
            return
        self._lengths[number] = left
        self._plays_until = max(self._plays_until, self.now)
        model = self.voice_model
        self.post(lambda at: ev.SpeechBought(at, number, model))
        self.post(_audible(number, self._plays_until - self.now))
        while left > 0:
            ms = min(left, CHUNK_MS)
            left -= ms
            self._queue_chunk(number, ms)
        self.post(_complete(number, self._lengths[number]))

    def _queue_chunk(self, number: int, ms: int) -> None:
        self._chunk += 1
        self._plays_until = max(self._plays_until, self.now) + ms
        self.post(_queued(number, self._chunk, ms))
        if self.marks_come:
            self.post(_played(self, self._chunk), self._plays_until - self.now + self.distance_ms)
            self._unplayed[self._chunk] = (number, ms)

    def _write(self, number: int) -> None:
        written = self.replies.popleft() if self.replies else Written(("All right then.",))
        self._writing[number] = written
        for place, piece in enumerate(written.pieces):
            self.post(_piece(number, piece), written.first_ms + 40 * place)
        over = written.first_ms + 40 * len(written.pieces)
        if written.fails:
            self.post(lambda at: ev.EngineFailed(at, "llm", number, "failed"), over)
        if written.cut_short:
            self.post(lambda at: ev.ReplyCutShort(at, number), over)
        if not written.hangs:
            self.finish(number, over)

    def finish(self, number: int, after: int = 0) -> None:
        """The model is done; when it was dropped before, that came first and this finds nothing to tell."""

        def finished(at: Millis) -> ev.Event:
            written = self._writing.pop(number, None)
            if written is None or not self.tokens_come:
                return ev.Heard(at, "")
            return ev.ReplyFinished(at, number, LLM_IN.model, False, *written.tokens)

        self.post(finished, after)


def _mark(chunk: int) -> Make:
    return lambda at: ev.MarkReached(at, chunk)


def _played(story: Story, chunk: int) -> Make:
    """A mark of sound that was cleared in the meantime has been echoed already."""
    return lambda at: ev.MarkReached(at, chunk) if chunk in story._unplayed else ev.Heard(at, "")


def _queued(utterance: int, chunk: int, ms: int) -> Make:
    return lambda at: ev.AudioQueued(at, utterance, chunk, ms, f"{chunk:016x}")


def _complete(utterance: int, ms: int) -> Make:
    return lambda at: ev.UtteranceQueued(at, utterance, ms)


def _audible(utterance: int, ahead_ms: int) -> Make:
    return lambda at: ev.Audible(at, utterance, ahead_ms)


def _piece(reply: int, text: str) -> Make:
    return lambda at: ev.ReplyPiece(at, reply, text)
