"""Any order of events keeps the promises that `story.Audit` checks after every step."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.core import events as ev
from pipeline.core.call import Call, Phase
from pipeline.core.events import CallStarted, Event
from pipeline.core.money import ZERO, Millis, Nanos
from pipeline.core.tariff import STEP_SERVICES, Price, cost
from pipeline.core.terms import EndReason, Limits, Manners
from tests.core.audit import Audit
from tests.core.story import LLM_IN, MINUTE, PHRASES, PRICES, STT, TTS, Story, minutes_paid, started

number = st.integers(0, 12)
text = st.sampled_from(
    ["", "Yes.", "What is that thing?", "One. Two. ", "on and on, " * 9, "I have to go.", "Stop calling me.",
     "Please leave a message after the tone.", "Because", "Mm-hm.", "The mailbox is full.",
     "Please say your name and why you are calling."]
)  # fmt: skip
written = text.filter(lambda words: words not in PHRASES.all)
"""The audit tells a phrase from what the model wrote by its words."""
reason = st.sampled_from(EndReason)

EVENTS: dict[type[Event], dict[str, st.SearchStrategy[object]]] = {
    ev.Answered: {},
    ev.StreamStarted: {},
    ev.SpeechStarted: {"onset_ms": st.integers(0, 300)},
    ev.SpeechHeld: {},
    ev.SpeechFaded: {"quiet_ms": st.integers(0, 200)},
    ev.SpeechReturned: {},
    ev.SpeechStopped: {"silence_ms": st.integers(0, 300), "quiet_ms": st.integers(0, 600)},
    ev.Listening: {"model": st.sampled_from([STT.model, "none"]), "ends_turns": st.booleans()},
    ev.Heard: {"text": text},
    ev.TurnLikelyEnded: {"text": text},
    ev.TurnResumed: {},
    ev.SegmentHeard: {"text": text},
    ev.TurnEnded: {"text": text, "quiet_ms": st.integers(0, 600)},
    ev.ReplyPiece: {"reply": number, "text": text},
    ev.ReplyEndsCall: {"reply": number},
    ev.ReplyCutShort: {"reply": number},
    ev.ReplyFinished: {
        "reply": number,
        "model": st.sampled_from([LLM_IN.model, ""]),
        "estimated": st.booleans(),
        "tokens_in": st.integers(0, 60),
        "tokens_cached": st.just(0),
        "tokens_out": st.integers(0, 160),
    },
    ev.SpeechBought: {"utterance": number, "model": st.sampled_from([TTS.model, ""])},
    ev.SpeechSkipped: {"utterance": number},
    ev.Audible: {
        "utterance": number,
        "ahead_ms": st.integers(0, 2_000),
    },
    ev.AudioQueued: {
        "utterance": number,
        "chunk": st.integers(0, 30),
        "ms": st.integers(0, 400),
        "digest": st.just("0"),
    },
    ev.UtteranceQueued: {"utterance": number, "ms": st.integers(0, 4_000)},
    ev.MarkReached: {"chunk": st.integers(0, 30)},
    ev.DigitPressed: {"digit": st.sampled_from("19")},
    ev.BeepHeard: {},
    ev.MachineDetected: {"kind": st.sampled_from(["human", "machine_start", "machine_end_beep", "fax"])},
    ev.EngineUsed: {"line": st.sampled_from([STT.line, "stt:none:second"]), "total": st.integers(0, 90)},
    ev.AllowanceChanged: {
        "held": st.integers(0, 200_000_000).map(Nanos),
        "reach": st.integers(0, 400_000_000).map(Nanos),
        "binds": st.sampled_from([EndReason.BUDGET, EndReason.CREDIT]),
        "warn_used": st.none() | st.integers(0, 200_000_000).map(Nanos),
    },
    ev.EngineFailed: {
        "service": st.sampled_from(["stt", "llm", "tts", "amd"]),
        "ref": number,
        "kind": st.sampled_from(["failed", "all_down"]),
    },
    ev.HangUpAsked: {"reason": reason, "politely": st.booleans()},
    ev.LineDropped: {"reason": reason},
    ev.LineBroken: {},
    ev.CarrierDone: {"status": st.just("completed"), "seconds": st.integers(0, 200)},
    ev.CarrierSilent: {},
    ev.Tick: {},
}
LAST = (ev.HangUpAsked, ev.LineDropped, ev.CarrierDone, ev.MachineDetected, ev.DigitPressed)
"""Drawn seldom, or no call would last."""


def test_every_kind_of_event_takes_part() -> None:
    kinds = {kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert kinds - set(EVENTS) == {Event, ev.CallStarted, ev.CallResumed}


def drawn(kinds: list[type[Event]]) -> st.SearchStrategy[Callable[[Millis], Event]]:
    def make(kind: type[Event]) -> st.SearchStrategy[Callable[[Millis], Event]]:
        return st.fixed_dictionaries(EVENTS[kind]).map(lambda fields: lambda at: kind(at, **fields))

    return st.sampled_from(kinds).flatmap(make)


class AnyOrder(RuleBasedStateMachine):
    """Events at random, at random times, with no regard for what can really happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Millis(0)
        self.chunk = 100

    @initialize(
        minutes=st.integers(1, 5),
        ends_turns=st.booleans(),
        manners=st.builds(Manners),
        barge_in_words=st.integers(1, 2),
        in_parts=st.booleans(),
    )
    def it_begins(
        self, minutes: int, ends_turns: bool, manners: Manners, barge_in_words: int, in_parts: bool
    ) -> None:
        limits = Limits(max_duration_ms=320_000, barge_in_words=barge_in_words)
        start = started(
            minutes_paid(minutes),
            reach=minutes_paid(minutes + 3) if in_parts else None,
            part=MINUTE if in_parts else ZERO,
            low=MINUTE,
            limits=limits,
            transcriber_ends_turns=ends_turns,
            manners=manners,
        )
        self.call = Call(start)
        self.audit = Audit(self.call)
        self._step(start)

    def _step(self, event: Event) -> None:
        before = self.call.phase
        self.audit.check(event, before, self.call.step(event))

    def _happens(self, make: Callable[[Millis], Event], wait: int = 0) -> None:
        self.now = Millis(self.now + wait)
        self._step(make(self.now))

    def _tick(self, due: Millis) -> None:
        """What is due at once afterwards is another phase's business, and there is an end to it."""
        self.now = Millis(max(self.now, due))
        seen = set()
        while True:
            assert self.call.phase not in seen, f"busy loop in {self.call.phase}"
            seen.add(self.call.phase)
            self._step(ev.Tick(self.now))
            after = self.call.next_deadline()
            if after is None or after > self.now:
                break

    @rule(wait=st.integers(0, 3_000), make=drawn([kind for kind in EVENTS if kind not in LAST]))
    def something_happens(self, wait: int, make: Callable[[Millis], Event]) -> None:
        self._happens(make, wait)

    @precondition(lambda self: self.call.phase is Phase.RINGING)
    @rule(wait=st.integers(0, 3_000))
    def it_is_answered(self, wait: int) -> None:
        self._happens(ev.StreamStarted, wait)

    @rule(wait=st.integers(0, 20_000), make=drawn([*LAST]))
    def it_may_end(self, wait: int, make: Callable[[Millis], Event]) -> None:
        if self.now > 30_000:
            self._happens(make, wait)

    @rule(ticks=st.integers(1, 30), late=st.integers(0, 200))
    def time_passes(self, ticks: int, late: int) -> None:
        for _ in range(ticks):
            due = self.call.next_deadline()
            if due is not None:
                self._tick(Millis(due + late))

    @rule(words=text, ms=st.integers(60, 2_000), gap=st.integers(0, 800), told=st.integers(0, 4))
    def the_caller_speaks(self, words: str, ms: int, gap: int, told: int) -> None:
        """As voice activity detection and a transcriber of either kind tell of it, or a part of that."""
        parts: list[tuple[Callable[[Millis], Event], int]] = [
            (lambda at: ev.SpeechStarted(at, 96), gap),
            (ev.SpeechHeld, 200),
            (lambda at: ev.SpeechFaded(at, 96), ms),
            (lambda at: ev.SpeechStopped(at, 200), 104),
            (lambda at: ev.TurnLikelyEnded(at, words), 50),
            (lambda at: ev.SegmentHeard(at, words), 50),
            (lambda at: ev.TurnEnded(at, words), 200),
        ]
        kept = {0: parts, 1: parts[:4], 2: parts[:5], 3: [*parts[:4], parts[5]], 4: [*parts[:5], parts[6]]}
        for make, wait in kept[told]:
            self._happens(make, wait)

    @rule(words=written, over=st.booleans(), wait=st.integers(0, 500))
    def the_model_writes(self, words: str, over: bool, wait: int) -> None:
        number = self.call.replies.number
        self._happens(lambda at: ev.ReplyPiece(at, number, words), wait)
        if over:
            self._happens(lambda at: ev.ReplyFinished(at, number, LLM_IN.model, False, 40, 0, 12))

    @rule(back=st.integers(0, 2), over=st.booleans(), heard=st.booleans(), wait=st.integers(0, 500))
    def the_voice_speaks(self, back: int, over: bool, heard: bool, wait: int) -> None:
        number = max(0, len(self.audit.texts) - back)
        self._happens(lambda at: ev.SpeechBought(at, number, TTS.model), wait)
        self._happens(lambda at: ev.Audible(at, number, 0))
        self.chunk += 1
        self._happens(lambda at: ev.AudioQueued(at, number, self.chunk, 400, "0"))
        if over:
            self._happens(lambda at: ev.UtteranceQueued(at, number, 400))
        if heard:
            self._happens(lambda at: ev.MarkReached(at, self.chunk), 450)

    @invariant()
    def a_deadline_is_there_until_the_end(self) -> None:
        assert (self.call.next_deadline() is None) is (self.call.phase is Phase.ENDED)

    def teardown(self) -> None:
        for _ in range(2_000):
            due = self.call.next_deadline()
            if due is None:
                break
            self._tick(due)
        assert self.audit.ended is not None, f"never ends, in {self.call.phase}"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(settings.default, max_examples=80, stateful_step_count=40)


# -- plausible calls: the shell of `story.py` around a random conversation -----------------


prices = st.builds(
    lambda carrier, stream, ear, out, voice: tuple(
        price if nano is None else replace(price, price_nano=nano)
        for price, nano in zip(PRICES, (carrier, stream, None, ear, None, out, voice), strict=True)
    ),
    *[st.none() | st.integers(0, 40_000_000)] * 3,
    *[st.none() | st.integers(0, 900_000_000)] * 1,
    *[st.none() | st.integers(0, 40_000_000)] * 1,
)


def admission(listed: tuple[Price, ...]) -> int:
    """The least a call is dialled with: the answer, the greeting, and the first minute's listening."""
    quantity = {"second": 72, "char": len(PHRASES.greeting), "call": 1}
    return sum(
        cost(price, 60 if price.service in STEP_SERVICES else quantity.get(price.unit, 0)) for price in listed
    )


LINES = [
    "Yes.",
    "What is that thing?",
    "Tell me a long story about the sea.",
    "",
    "Mm.",
    "So I went there, and",
]
SPARE = (
    replace(STT, model="spare", price_nano=9_000_000),
    replace(TTS, model="spare", price_nano=20_000_000),
)


def converse(story: Story, chance: Random) -> None:
    """Two to four minutes of talk in which everything may go wrong."""
    story.answer(stream_ms=chance.choice([0, 200, 3_000, 12_000]))
    for _ in range(chance.randrange(40)):
        if story.call.phase in (Phase.HUNG_UP, Phase.ENDED):
            break
        story.run(to=max(story.now, story.voice_ends + 300))
        story.mute = chance.random() < 0.05
        story.voice_model = chance.choice([TTS.model, "spare"])
        story.reply(
            *["Some words of it, and more. "] * chance.randrange(12),
            first_ms=chance.randrange(4_000),
            tokens=(chance.randrange(60), 0, chance.randrange(160)),
            fails=chance.random() < 0.1,
            hangs=chance.random() < 0.1,
        )
        utter(story, chance)
        if chance.random() < 0.1:
            story.free = Nanos(story.free + chance.randrange(30_000_000))
        if chance.random() < 0.1:
            story.bank_ms = None
        elif story.bank_ms is None and chance.random() < 0.5:
            story.bank_returns(chance.randrange(2_000))
        if chance.random() < 0.1 and not story.start.allowance.part:
            grown = Nanos(story.call.spending.allowance.held + chance.randrange(30_000_000))
            story.post(_allowed(grown), chance.randrange(2_000))
        if chance.random() < 0.1:
            story.post(_listening(chance.choice([STT.model, "spare"]), story.start.transcriber_ends_turns))
        story.run(chance.randrange(9_000))
    if chance.random() < 0.5:
        story.carrier_done(after=chance.randrange(5_000))


def utter(story: Story, chance: Random) -> None:
    """A line of the caller's, with whatever a transcriber and voice activity detection may make of it."""
    line, ms = chance.choice(LINES), chance.randrange(60, 5_000)
    if chance.random() < 0.4:
        story.post(lambda at: ev.Heard(at, line), chance.randrange(ms))
    if story.start.transcriber_ends_turns and chance.random() < 0.6:
        story.post(lambda at: ev.TurnLikelyEnded(at, line), ms + 100)
        if chance.random() < 0.4:
            story.post(ev.TurnResumed, ms + 200)
    story.say(line, ms=ms)


def _listening(model: str, ends_turns: bool) -> Callable[[Millis], Event]:
    return lambda at: ev.Listening(at, model, ends_turns)


def _allowed(grown: Nanos) -> Callable[[Millis], Event]:
    return lambda at: ev.AllowanceChanged(at, grown, grown, EndReason.CREDIT, None)


def calls(listed: tuple[Price, ...], extra: int, chance: Random) -> CallStarted:
    part = Nanos(chance.choice([0, MINUTE, 5 * MINUTE]))
    held = admission(listed) + (0 if part else extra)
    return started(
        Nanos(held),
        reach=Nanos(held + (extra if part else 0)),
        part=part,
        low=Nanos(chance.choice([0, MINUTE])) if part else ZERO,
        prices=listed,
        limits=Limits(max_duration_ms=240_000, barge_in_words=chance.choice([1, 2])),
        transcriber_ends_turns=chance.random() < 0.5,
        manners=Manners(eager=chance.random() < 0.7, backchannels=chance.random() < 0.5),
    )


@settings(max_examples=120)
@given(prices, st.integers(0, 150_000_000), st.integers(0, 2**32), st.booleans())
def test_no_conversation_spends_more_than_is_allowed(
    listed: tuple[Price, ...], extra: int, seed: int, late: bool
) -> None:
    chance = Random(seed)
    start = calls(listed, extra, chance)
    story = Story(start, lateness=(lambda: chance.randrange(300)) if late else lambda: 0)
    converse(story, chance)
    end = story.end()
    assert end.reason is not None
    assert not story.call.spending.unsold or story.call.replies.unpaid
    assert story.call.spending.purse.pending == 0 or story.call.replies.unpaid
    assert story.audit.settled == set(story.audit.guesses) - story.call.replies.unpaid


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_with_several_engines_of_a_kind_neither(seed: int) -> None:
    chance = Random(seed)
    listed = (*PRICES, *SPARE)
    story = Story(calls(listed, chance.randrange(150_000_000), chance))
    converse(story, chance)
    assert story.end().total <= story.call.spending.allowance.held
