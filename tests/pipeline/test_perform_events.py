"""What becomes of an effect: each thing an engine says, as the event the core is told.

Long because it has every effect in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.effects import Message
from pipeline.core.errors import AllDown, EngineError
from pipeline.core.events import Event
from pipeline.core.money import Millis, Nanos
from pipeline.engines.base import (
    CutShort,
    Eager,
    Ear,
    EndCall,
    Hearing,
    Partial,
    Piece,
    Reply,
    Resumed,
    Segment,
    Switched,
    Thinker,
    Tokens,
    Transcriber,
    Turn,
    Used,
)
from pipeline.engines.scripted import (
    LoudnessActivity,
    ScriptedThinker,
    ScriptedTranscriber,
)
from pipeline.mouth import Mouth
from pipeline.perform import Performer
from pipeline.ports import Engines
from tests.pipeline.rig import Around, Phone
from tests.pipeline.scene import Carrier, Murmur, murmured

START = Millis(0)


# -- a performer on its own ------------------------------------------------------------------


@dataclass
class Hands:
    performer: Performer
    carrier: Carrier
    posted: list[Event]

    def perform(self, *effects: fx.Effect) -> None:
        for effect in effects:
            self.performer.perform(effect)


def act(
    script: Callable[[Hands], Awaitable[None]],
    *,
    transcriber: Transcriber | None = None,
    thinker: Thinker | None = None,
) -> list[Event]:
    """Run a script beside a performer, in virtual time; what was posted."""

    async def main() -> list[Event]:
        clock, posted = Clock(), list[Event]()

        def post(event: Callable[[Millis], Event]) -> None:
            posted.append(event(clock.millis()))

        engines = Engines(
            LoudnessActivity(),
            transcriber or ScriptedTranscriber([]),
            thinker or ScriptedThinker([]),
            Murmur(),
        )
        mouth = Mouth(engines.speaker, "nora", Clips(), clock, post)
        carrier = Carrier(clock, mouth=mouth)
        mouth.attach(carrier)
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(mouth.run())
            performer = Performer(engines, mouth, Around(Phone(clock)), tasks, post)
            await script(Hands(performer, carrier, posted))
            speaking.cancel()
            performer.stop()
        assert len(asyncio.all_tasks()) == 1
        return posted

    return run_virtual(main())


def at_zero(events: Sequence[Event]) -> list[Event]:
    assert all(event.at == 0 for event in events)
    return list(events)


# -- hearing -----------------------------------------------------------------------------


@dataclass
class Ears:
    """Each opening says what it is given, waits where it is told seconds, fails with an error, or listens on."""

    openings: Sequence[Sequence[Hearing | EngineError | float]]
    models: tuple[str, ...] = ("ear", "other")
    ends_turns: bool = True
    opened: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        self.opened += 1
        said = self.openings[self.opened - 1]
        if len(said) == 1 and isinstance(said[0], AllDown):
            raise said[0]
        yield SaidEar(said)


@dataclass
class SaidEar:
    said: Sequence[Hearing | EngineError | float]

    def feed(self, mulaw: bytes) -> None: ...

    def voice(self, speaking: bool) -> None: ...

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        for hearing in self.said:
            if isinstance(hearing, EngineError):
                raise hearing
            if isinstance(hearing, float):
                await asyncio.sleep(hearing)
            else:
                yield hearing
        await asyncio.Event().wait()


async def listen(hands: Hands) -> None:
    hands.perform(fx.Listen())
    await asyncio.sleep(1)


def test_all_that_is_heard_is_told_in_order() -> None:
    said: list[Hearing] = [
        Partial("I"),
        Eager("I think."),
        Resumed(),
        Segment("I think so"),
        Turn("I think so, yes."),
    ]
    assert at_zero(act(listen, transcriber=Ears([said]))) == [
        ev.Listening(START, "ear", True),
        ev.Heard(START, "I"),
        ev.TurnLikelyEnded(START, "I think."),
        ev.TurnResumed(START),
        ev.SegmentHeard(START, "I think so"),
        ev.TurnEnded(START, "I think so, yes."),
    ]


def test_another_engine_takes_over_and_its_way_with_turns_is_told() -> None:
    said: list[Hearing] = [Turn("One."), Switched("other", False), Segment("Two.")]
    assert at_zero(act(listen, transcriber=Ears([said])))[2:] == [
        ev.Listening(START, "other", False),
        ev.SegmentHeard(START, "Two."),
    ]


def test_what_was_heard_holds_no_control_characters() -> None:
    (heard,) = act(listen, transcriber=Ears([[Turn("One\x00 two\u2028three")]]))[1:]
    assert isinstance(heard, ev.TurnEnded)
    assert heard.text.isprintable()


def test_seconds_are_totals_of_the_call_over_all_openings_and_of_each_model() -> None:
    """An engine counts an opening's seconds from nothing; the call pays their sum, to whom they are due."""
    openings: list[list[Hearing | EngineError]] = [
        [Segment("a"), Used("ear", 3), Used("ear", 7), EngineError("lost")],
        [Segment("b"), Used("ear", 1), Switched("other", True), Used("other", 2), EngineError("lost")],
        [Segment("c"), Used("other", 4), Switched("ear", True), Used("ear", 2), Used("ear", 5)],
    ]

    async def script(hands: Hands) -> None:
        for _ in openings:
            await listen(hands)

    posted = act(script, transcriber=Ears(openings))
    assert [(event.line, event.total) for event in posted if isinstance(event, ev.EngineUsed)] == [
        ("stt:ear:second", 3),
        ("stt:ear:second", 7),
        ("stt:ear:second", 8),
        ("stt:other:second", 2),
        ("stt:other:second", 6),
        ("stt:ear:second", 10),
        ("stt:ear:second", 13),
    ]


def test_counts_and_switches_are_no_understanding() -> None:
    """An engine that only counts is opened ever less often, as one that refuses."""
    ears = Ears([[Switched("other", True), Used("other", 1), EngineError("lost")]] * 9)

    async def script(hands: Hands) -> None:
        for _ in range(3):
            hands.perform(fx.Listen())
            await asyncio.sleep(10)

    failed = [event.at for event in act(script, transcriber=ears) if isinstance(event, ev.EngineFailed)]
    assert failed == [0, 10_500, 21_000], "at once, after half a second, after one"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EngineError("no"), "failed"),
        (EngineError("later", retryable=True), "retryable"),
        (AllDown(), "all_down"),
        (AllDown(EngineError("no")), "failed"),
        (AllDown(EngineError("later", retryable=True)), "retryable"),
    ],
)
def test_how_it_failed_is_told(error: EngineError, kind: str) -> None:
    posted = act(listen, transcriber=Ears([[Segment("a"), error]]))
    assert posted[-1] == ev.EngineFailed(START, "stt", 0, kind)


def test_no_ear_at_all_is_told_as_such() -> None:
    assert act(listen, transcriber=Ears([[AllDown()]])) == [ev.EngineFailed(START, "stt", 0, "all_down")]


# -- thinking ----------------------------------------------------------------------------


@dataclass
class Mind:
    """Writes the pieces, then fails with the error; its model and its count change as it goes along."""

    pieces: Sequence[Piece | float]
    error: EngineError | None = None
    shut: EngineError | None = None
    models: tuple[str, ...] = ("mind", "other")
    wrote: str = "other"
    counted: Tokens = field(default_factory=lambda: Tokens(40, 2, 9))

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[Reply]:
        if self.shut is not None:
            raise self.shut
        reply = MindReply(self)
        yield reply
        reply.model, reply.tokens = self.wrote, self.counted


@dataclass
class MindReply:
    mind: Mind
    model: str = "mind"
    tokens: Tokens = field(default_factory=lambda: Tokens(40, 0, 0, estimated=True))

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        for piece in self.mind.pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece
        if self.mind.error is not None:
            raise self.mind.error


ASK = fx.AskReply(7, (Message("user", "Well?"),), 160, 70)


async def ask(hands: Hands) -> None:
    hands.perform(ASK)
    await asyncio.sleep(1)


def test_a_reply_is_told_piece_by_piece_and_at_its_end_who_wrote_it() -> None:
    """Model and count are those after the context was left: only then are they final."""
    assert at_zero(act(ask, thinker=Mind(["Well", " then."]))) == [
        ev.ReplyPiece(START, 7, "Well"),
        ev.ReplyPiece(START, 7, " then."),
        ev.ReplyFinished(START, 7, "other", False, 40, 2, 9),
    ]


def test_a_count_that_is_a_guess_is_told_as_one() -> None:
    (finished,) = act(ask, thinker=Mind([], counted=Tokens(1, 2, 3, estimated=True)))
    assert finished == ev.ReplyFinished(START, 7, "other", True, 1, 2, 3)


def test_a_model_that_wants_to_end_the_call_says_so_beside_its_words() -> None:
    assert at_zero(act(ask, thinker=Mind(["Bye.", EndCall()])))[:2] == [
        ev.ReplyPiece(START, 7, "Bye."),
        ev.ReplyEndsCall(START, 7),
    ]


def test_a_reply_that_its_ceiling_ended_says_so_before_it_is_over() -> None:
    assert at_zero(act(ask, thinker=Mind(["It is a", CutShort()])))[:2] == [
        ev.ReplyPiece(START, 7, "It is a"),
        ev.ReplyCutShort(START, 7),
    ]


def test_a_dropped_reply_is_told_once_more_and_no_piece_after() -> None:
    async def script(hands: Hands) -> None:
        hands.perform(ASK)
        await asyncio.sleep(0.5)
        hands.perform(fx.DropReply(7), fx.DropReply(7), fx.DropReply(8))
        await asyncio.sleep(5)

    posted = act(script, thinker=Mind(["One.", 1.0, "Two.", 1.0]))
    assert posted == [
        ev.ReplyPiece(START, 7, "One."),
        ev.ReplyFinished(Millis(500), 7, "mind", True, 40, 0, 0),
    ]


def test_a_reply_that_never_began_is_nobody_s_and_free() -> None:
    async def script(hands: Hands) -> None:
        hands.perform(ASK, fx.DropReply(7))
        await asyncio.sleep(1)

    assert act(script, thinker=Mind(["One."])) == [ev.ReplyFinished(START, 7, "", False, 0, 0, 0)]


@pytest.mark.parametrize(("error", "kind"), [(EngineError("no"), "failed"), (AllDown(), "all_down")])
def test_a_failure_is_told_before_the_end(error: EngineError, kind: str) -> None:
    assert at_zero(act(ask, thinker=Mind(["One."], error)))[1:] == [
        ev.EngineFailed(START, "llm", 7, kind),
        ev.ReplyFinished(START, 7, "mind", True, 40, 0, 0),
    ]
    assert at_zero(act(ask, thinker=Mind([], shut=error))) == [
        ev.EngineFailed(START, "llm", 7, kind),
        ev.ReplyFinished(START, 7, "", False, 0, 0, 0),
    ]


def test_two_replies_at_once_do_not_mix() -> None:
    async def script(hands: Hands) -> None:
        hands.perform(ASK)
        await asyncio.sleep(0.1)
        hands.perform(fx.AskReply(8, ASK.messages, 160, 70), fx.DropReply(7))
        await asyncio.sleep(5)

    posted = act(script, thinker=Mind([0.3, "One.", 0.3]))
    assert [event.reply for event in posted if isinstance(event, ev.ReplyPiece)] == [8]
    assert [event.reply for event in posted if isinstance(event, ev.ReplyFinished)] == [7, 8]


# -- the mouth and the rest --------------------------------------------------------------------


def test_orders_to_the_voice_reach_it() -> None:
    text = "A sentence that takes some time to say."

    async def script(hands: Hands) -> None:
        hands.perform(fx.Say(1, text))
        await asyncio.sleep(0.5)
        hands.perform(fx.Pause())
        assert not hands.carrier.ahead_s
        hands.perform(fx.Resume())
        await asyncio.sleep(3)
        hands.perform(fx.Say(2, text))
        await asyncio.sleep(0.5)
        hands.perform(fx.Hush(), fx.Resume())
        assert not hands.carrier.ahead_s
        await asyncio.sleep(3)
        heard = b"".join(sound for _, sound in hands.carrier.heard)
        assert heard.endswith(murmured(text)[:4_000])

    act(script)


def test_beeps_are_listened_for_only_when_asked() -> None:
    async def script(hands: Hands) -> None:
        assert hands.performer.beeps is None
        hands.perform(fx.ListenForBeep())
        assert hands.performer.beeps is not None

    act(script)


@pytest.mark.parametrize(
    "effect",
    [fx.OptedOut("key"), fx.EagerSettled(1, False, Nanos(0)), fx.Warned(START, Nanos(1))],
)
def test_what_is_for_others_leads_to_nothing_here(effect: fx.Effect) -> None:
    async def script(hands: Hands) -> None:
        hands.perform(effect)
        await asyncio.sleep(5)

    assert act(script) == []
