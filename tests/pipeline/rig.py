"""One whole call without a network, on virtual time: the real shell between a telephone and scripted engines.

    call = act(Stage(hears=["What is new?"], answers=["Not much."]), line(3.0, speech(1.0)))
    assert call.said()[:3] == [...]

`Stage` holds what the call is made of, `act` lives through it, `Played` is what came of it. Every
call played is also checked for what must hold in all of them: its journal replays exactly, its
stamps never go backwards, its charges are its total, no task and no engine is left open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.effects import Effect, Message
from pipeline.core.errors import CarrierError
from pipeline.core.events import CallStarted, Event
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason
from pipeline.engines.base import Speaker, Thinker, Transcriber, VoiceActivity
from pipeline.engines.scripted import (
    Answer,
    LoudnessActivity,
    ScriptedSpeaker,
    ScriptedThinker,
    ScriptedTranscriber,
    Stretch,
)
from pipeline.offline import Handset
from pipeline.ports import Engines, JournalSink
from pipeline.recorder import Recorder
from pipeline.replay import replay
from pipeline.runner import LiveCall
from tests.core.story import started as core_started
from tests.pipeline.doubles import Doors, watched

BYTES_A_MS = 8
LOUD = b"\x10\x10\x90\x90" * 2
QUIET = b"\xff" * 8
RING_MS = 2_000
PHASE_MS = 7
"""Frames come beside the whole seconds, and engines take odd times: two timers due at the very same
instant run in no order that may be counted on."""

E = TypeVar("E", bound=Effect)
V = TypeVar("V", bound=Event)


# -- the caller's sound ------------------------------------------------------------------


def speech(seconds: float) -> bytes:
    """Loud enough to be voice."""
    return LOUD * round(seconds * 1000)


def line(*parts: float | bytes) -> bytes:
    """A caller's sound; a number is so many seconds of silence."""
    return b"".join(part if isinstance(part, bytes) else QUIET * round(part * 1000) for part in parts)


# -- the telephone -----------------------------------------------------------------------


class Phone(Handset):
    """A handset that remembers what reached it and when, and when which chunk began to play."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._time = clock
        self.arrived: list[tuple[Millis, int, bytes]] = []
        self.clears: list[Millis] = []
        self.begins: dict[int, float] = {}
        self._plays_until = 0.0

    def play(self, chunk: int, mulaw: bytes) -> None:
        now = self._time.seconds()
        self.arrived.append((self._time.millis(), chunk, mulaw))
        self.begins[chunk] = 1000 * max(now, self._plays_until)
        self._plays_until = max(now, self._plays_until) + len(mulaw) / (1000 * BYTES_A_MS)
        super().play(chunk, mulaw)

    def clear(self) -> None:
        now = self._time.millis()
        self.clears.append(now)
        self.begins = {chunk: begins for chunk, begins in self.begins.items() if begins <= now}
        self._plays_until = 0.0
        super().clear()


# -- what a call writes to ---------------------------------------------------------------


@dataclass
class Pages:
    """A journal in memory. With `room`, appending beyond so many steps fails as a full disk does."""

    room: int | None = None
    lines: list[str] = field(default_factory=list)
    steps: int = 0

    def append(self, event: Event, effects: Sequence[Effect]) -> None:
        if self.room is not None and self.steps >= self.room:
            raise OSError(28, "No space left on device")
        self.steps += 1
        self.lines += [journal.event_line(event), *map(journal.effect_line, effects)]


@dataclass
class Around:
    """The surroundings: keeps every step; the carrier hangs up at once unless it `refuses`."""

    phone: Phone
    refuses: bool = False
    steps: list[tuple[Event, tuple[Effect, ...]]] = field(default_factory=list)
    hang_ups: int = 0

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        self.steps.append((event, tuple(effects)))

    async def hang_up(self) -> None:
        self.hang_ups += 1
        if self.refuses:
            raise CarrierError("not now", retryable=True)
        self.phone.closed.set()


# -- the call --------------------------------------------------------------------------


@dataclass
class Stage:
    """What a call is made of. `asides` are done at so many seconds after the answer."""

    start: CallStarted = field(default_factory=core_started)
    hears: Sequence[str | Stretch] = ()
    answers: Sequence[str | Answer] | Callable[[Sequence[Message]], str | Answer] = ()
    voice_activity: VoiceActivity | None = None
    transcriber: Transcriber | None = None
    thinker: Thinker | None = None
    speaker: Speaker | None = None
    clips: Clips = field(default_factory=Clips)
    pages: JournalSink = field(default_factory=Pages)
    recorder: Recorder | None = None
    stays: float = 600.0
    """Seconds the caller stays on the line after the sound given, in silence."""
    frame_ms: int = 20
    refuses: bool = False
    asides: Mapping[float, Callable[[LiveCall], None]] = field(default_factory=dict)

    def engines(self) -> Engines:
        return Engines(
            self.voice_activity or LoudnessActivity(),
            self.transcriber or ScriptedTranscriber(self.hears, delay_ms=100, model="ear"),
            self.thinker or ScriptedThinker(self.answers, first_ms=203, piece_ms=23, model="mind"),
            self.speaker or ScriptedSpeaker(first_ms=81, model="voice"),
        )


@dataclass
class Played:
    """What came of a call. All times are milliseconds since the answer."""

    around: Around
    phone: Phone
    lines: list[str]
    doors: Doors
    left: int
    """Tasks on the loop beyond those before the call."""
    zero: Millis
    """The loop's milliseconds at the answer."""

    @property
    def answered(self) -> int:
        return next(event.at for event, _ in self.around.steps if isinstance(event, ev.Answered))

    @property
    def effects(self) -> list[tuple[int, Effect]]:
        zero = self.answered
        return [(event.at - zero, effect) for event, made in self.around.steps for effect in made]

    def all(self, kind: type[E]) -> list[E]:
        return [effect for _, effect in self.effects if isinstance(effect, kind)]

    def events(self, kind: type[V]) -> list[V]:
        return [event for event, _ in self.around.steps if isinstance(event, kind)]

    def times(self, kind: type[Effect]) -> list[int]:
        return [at for at, effect in self.effects if isinstance(effect, kind)]

    def said(self) -> list[str]:
        return [say.text for say in self.all(fx.Say)]

    def when_said(self, text: str) -> int:
        return next(at for at, say in self.effects if isinstance(say, fx.Say) and say.text == text)

    def heard(self) -> list[str]:
        """The transcript, a letter for who it was."""
        return [f"{turn.role[0]}: {turn.text}" for turn in self.all(fx.TurnTaken)]

    def when(self, kind: type[Event]) -> list[int]:
        zero = self.answered
        return [event.at - zero for event in self.events(kind)]

    @property
    def arrived(self) -> list[int]:
        """When each chunk of sound reached the telephone."""
        return [at - self.zero for at, _, _ in self.phone.arrived]

    @property
    def clears(self) -> list[int]:
        return [at - self.zero for at in self.phone.clears]

    @property
    def ended(self) -> fx.Ended:
        (ended,) = self.all(fx.Ended)
        return ended

    def audit(self) -> None:
        """What must hold in every call."""
        stamps = [event.at for event, _ in self.around.steps]
        assert stamps == sorted(stamps), "stamps went backwards"
        assert self.ended.total == sum(charge.nano for charge in self.all(fx.Charge))
        assert self.left == 0, "tasks left behind"
        assert self.doors.open == 0, "engines left open"
        assert self.doors.ever > 0
        said_again(self.around.steps)
        if self.lines:
            result = replay(self.lines)
            assert result.exact, result.difference


def said_again(happened: Sequence[tuple[Event, Sequence[Effect]]]) -> int:
    """Checks that each resume sent again just what no mark had proven before its pause; how many there were."""
    unproven: list[ev.AudioQueued] = []
    due: list[str] = []
    kept: list[str] = []
    resumes = 0
    for event, made in happened:
        if isinstance(event, ev.AudioQueued):
            if due:
                assert event.digest == due.pop(0), "something else, or out of order"
            unproven.append(event)
        elif isinstance(event, ev.MarkReached):
            places = [place for place, sent in enumerate(unproven) if sent.chunk == event.chunk]
            unproven = unproven[places[0] + 1 :] if places else unproven
        for effect in made:
            match effect:
                case fx.Pause():
                    due, kept, unproven = [], [sent.digest for sent in unproven], []
                case fx.Resume():
                    due, resumes = kept, resumes + 1
                case fx.Hush():
                    due, unproven = [], []
                case _:
                    pass
    return resumes


async def play(stage: Stage, caller: bytes = b"", *, alone: bool = True) -> Played:
    """Live through one call: it rings for `RING_MS`, is answered, and ends when somebody hangs up."""
    clock, doors = Clock(), Doors()
    before = len(asyncio.all_tasks())
    phone = Phone(clock)
    around = Around(phone, stage.refuses)
    call = LiveCall(
        stage.start,
        voice="nora",
        engines=watched(stage.engines(), doors),
        clips=stage.clips,
        clock=clock,
        journal=stage.pages,
        outside=around,
        recorder=stage.recorder,
    )
    phone.call = call
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call.run())
        zero = await _hold(stage, call, phone, caller, clock)
    left = len(asyncio.all_tasks()) - before if alone else 0
    lines = stage.pages.lines if isinstance(stage.pages, Pages) else []
    return Played(around, phone, lines, doors, left, zero)


async def _hold(stage: Stage, call: LiveCall, phone: Phone, caller: bytes, clock: Clock) -> Millis:
    """The person: picks up, makes their sound, listens on; the carrier's word follows the end."""
    await asyncio.sleep(RING_MS / 1000)
    zero, begun = clock.millis(), clock.seconds() + PHASE_MS / 1000
    call.answered()
    if call.over:
        return zero  # given up while it rang
    call.attach(phone)
    asides = sorted(stage.asides.items())
    size = stage.frame_ms * BYTES_A_MS
    for number in range(-(-len(caller) // size) + int(stage.stays * 1000) // stage.frame_ms):
        if phone.closed.is_set():
            break
        while asides and asides[0][0] <= clock.seconds() - begun:
            asides.pop(0)[1](call)
        phone.tick()
        await asyncio.sleep(max(0.0, begun + (number + 1) * stage.frame_ms / 1000 - clock.seconds()))
        # A frame arrives when its last sample was spoken.
        call.hear(caller[number * size : (number + 1) * size].ljust(size, b"\xff"))
    else:
        call.dropped(EndReason.CALLER_HUNG_UP)
    call.carrier_done("completed", -int(-(clock.seconds() - begun) // 1))
    return zero


def act(stage: Stage, caller: bytes = b"") -> Played:
    """`play` on a virtual loop of its own, and audited."""
    played = run_virtual(play(stage, caller))
    played.audit()
    return played


def live(
    around: Around, clock: Clock, pages: Pages | None = None, recorder: Recorder | None = None
) -> LiveCall:
    """A call for tests that play the telephone themselves."""
    return LiveCall(
        core_started(),
        voice="nora",
        engines=Stage().engines(),
        clips=Clips(),
        clock=clock,
        journal=pages or Pages(),
        outside=around,
        recorder=recorder,
    )
