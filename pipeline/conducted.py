"""Level 2 replay: the whole shell on recorded sound and recorded engines, in the order of the journal.

The call runs as it does live, but its inbox gives out each event when the journal says so:
what comes from outside is brought about then, what the shell makes itself (voice, words,
replies, sound) is waited for and must be what was recorded. So nothing depends on how fast
this machine is, and the call is exact or the first difference is named.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.effects import Effect
from pipeline.core.errors import CallMeBackError, CarrierError, JournalError
from pipeline.core.events import Event
from pipeline.core.money import START
from pipeline.engines.replayed import (
    ReplayedActivity,
    ReplayedSpeaker,
    ReplayedThinker,
    ReplayedTranscriber,
    Traffic,
)
from pipeline.journal_file import Step, steps
from pipeline.ports import Engines
from pipeline.recorder import Recorder
from pipeline.replay import Difference, Replay, compare
from pipeline.runner import Conduct, LiveCall
from pipeline.traffic import AnyFact, Clip, Sound

PATIENCE_S = 30.0
"""Virtual seconds in which the shell must have made what was recorded."""

OUTSIDE = (
    ev.Answered,
    ev.StreamStarted,
    ev.MarkReached,
    ev.DigitPressed,
    ev.MachineDetected,
    ev.AllowanceChanged,
    ev.HangUpAsked,
    ev.LineDropped,
    ev.LineBroken,
    ev.CarrierDone,
    ev.CarrierSilent,
    ev.Tick,
)


class Astray(CallMeBackError):
    """The replay does not go as the call went: at this line of the journal."""

    def __init__(self, line: int, recorded: Event, instead: Event | None) -> None:
        super().__init__(f"line {line}")
        self.difference = Difference(
            line, journal.event_line(recorded), None if instead is None else journal.event_line(instead)
        )


@dataclass(frozen=True, slots=True)
class CallReplay:
    """`sound` is the agent's side as sent, `frames` how many chunks that was."""

    replay: Replay
    frames: int
    sound: bytes


class Score(asyncio.Queue[Event]):
    """An inbox that gives out the journal's events in the journal's order."""

    def __init__(self, recorded: Sequence[Step]) -> None:
        super().__init__()
        self._recorded = deque(recorded[1:])  # the first is given to the call when it is made
        self._made: list[Event] = []
        self._news = asyncio.Event()
        self._clock = Clock()
        self._zero = self._clock.seconds() - recorded[0].event.at / 1000
        self._permits = 0
        self._permitted = asyncio.Event()
        self.call: LiveCall | None = None
        self.phone: Phone | None = None

    # -- as an inbox -----------------------------------------------------------------------

    def empty(self) -> bool:
        """Never: there is always a next event, and no timer is wanted."""
        return False

    def put_nowait(self, item: Event) -> None:
        self._made.append(item)
        self._news.set()

    async def get(self) -> Event:
        if not self._recorded:
            await asyncio.Event().wait()
        step = self._recorded.popleft()
        wait = self._zero + step.event.at / 1000 - self._clock.seconds()
        if wait > 0:
            await asyncio.sleep(wait)
        if isinstance(step.event, ev.Tick):
            return step.event
        if isinstance(step.event, OUTSIDE):
            self._bring_about(step.event)
        elif isinstance(step.event, ev.Audible | ev.AudioQueued):
            self._permit(step.event)
        return await self._made_as(step)

    async def _made_as(self, step: Step) -> Event:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    for made in self._made:
                        if _same(made, step.event):
                            self._made.remove(made)
                            return step.event
                    self._news.clear()
                    await self._news.wait()
        raise Astray(step.line, step.event, self._instead_of(step.event))

    def _instead_of(self, event: Event) -> Event | None:
        """The oldest event of the kind that was made and never recorded; others are only early."""
        for made in self._made:
            early = any(_same(made, later.event) for later in self._recorded)
            if type(made) is type(event) and not early:
                return made
        return None

    def _bring_about(self, event: Event) -> None:
        """What the world did to the call then."""
        call = self.call
        if call is None or self.phone is None:
            raise ValueError("the score has no call")
        match event:
            case ev.Answered():
                call.answered()
            case ev.StreamStarted():
                call.attach(self.phone)
            case ev.MarkReached():
                call.played(event.chunk)
            case ev.DigitPressed():
                call.pressed(event.digit)
            case ev.MachineDetected():
                call.machine(event.kind)
            case ev.HangUpAsked():
                call.ask_hang_up(event.reason, politely=event.politely)
            case ev.LineDropped():
                call.dropped(event.reason)
            case ev.LineBroken():
                call.broken()
            case ev.CarrierDone():
                call.carrier_done(event.status, event.seconds)
            case ev.CarrierSilent():
                call.carrier_silent()
            case _:
                self.put_nowait(event)

    # -- as the measure of what is sent ------------------------------------------------------

    def _permit(self, event: Event) -> None:
        """The next chunk was sent now. One that is sent again after a pause needs no leave."""
        if not any(_same(made, event) for made in self._made):
            self._permits += 1
            self._permitted.set()

    async def room(self, seconds: float) -> None:
        while not self._permits:
            self._permitted.clear()
            await self._permitted.wait()
        self._permits -= 1

    def sent(self, seconds: float) -> float:
        return 0.0

    def cleared(self) -> None:
        self._permits = 0


MEASURED: dict[type[Event], tuple[str, ...]] = {
    ev.Audible: ("ahead_ms",),
    ev.SpeechStopped: ("quiet_ms",),
    ev.TurnEnded: ("quiet_ms",),
}
"""What an event says of how long things took, which is for the record to say."""


def _same(made: Event, recorded: Event) -> bool:
    """Whether the shell made what was recorded."""
    return type(made) is type(recorded) and _timeless(made) == _timeless(recorded)


def _timeless(event: Event) -> Event:
    return replace(event, at=START, **dict.fromkeys(MEASURED.get(type(event), ()), 0))


class Phone:
    """The line of a replayed call: keeps what is sent."""

    def __init__(self) -> None:
        self.frames = 0
        self.sound = bytearray()

    def play(self, chunk: int, mulaw: bytes) -> None:
        self.frames += 1
        self.sound += mulaw

    def clear(self) -> None:
        """What was sent stands; what was heard of it is in the journal."""

    async def close(self) -> None:
        """There is no socket."""


class Paper:
    """The journal of the replay, held against the recorded one step by step."""

    def __init__(self, recorded: Sequence[Step]) -> None:
        self._recorded = iter(recorded)
        self.steps = 0
        self.difference: Difference | None = None

    def append(self, event: Event, effects: Sequence[Effect]) -> None:
        step = next(self._recorded)
        self.steps += 1
        if self.difference is None:
            self.difference = compare(step, [journal.effect_line(effect) for effect in effects])
        if self.difference is not None:
            raise Astray(step.line, step.event, None)


class Nobody:
    """The surroundings of a replayed call: what it led to then is done already."""

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        """The journal is held against the recorded one; nothing else is wanted."""

    async def hang_up(self) -> None:
        raise CarrierError("this call is over")


class Stock(Clips):
    """The phrases of a replayed call: what it renders itself, and what it found, after as many tries as then.

    Not by the time, which says little: a live call runs a millisecond behind now and then. Only of a
    tape that is older than the count of tries nothing better is known.
    """

    def __init__(self, facts: Sequence[AnyFact]) -> None:
        super().__init__()
        self._found = {(fact.model, fact.text): fact for fact in facts if isinstance(fact, Clip)}
        self._misses: Counter[tuple[str, str]] = Counter()
        self._clock = Clock()
        self._zero = self._clock.millis()

    def get(self, engine: str, voice: str, text: str) -> bytes | None:
        found = self._found.get((engine, text))
        if found is not None and self._is_there(found):
            return found.mulaw
        clip = super().get(engine, voice, text)
        if clip is None:
            self._misses[engine, text] += 1
        return clip

    def _is_there(self, found: Clip) -> bool:
        if found.misses is None:
            return self._clock.millis() - self._zero >= found.at_ms
        return self._misses[found.model, found.text] >= found.misses


def replay_call(lines: Sequence[str], facts: Sequence[AnyFact], *, wav: Path | None = None) -> CallReplay:
    """Run a recorded call again, offline. Raises `JournalError` when this is no journal of a whole call."""
    recorded = list(steps(lines))
    if not recorded or not isinstance(recorded[0].event, ev.CallStarted):
        raise JournalError("a journal begins with CallStarted")
    return run_virtual(_replay(recorded, recorded[0].event, facts, wav))


async def _replay(
    recorded: list[Step], started: ev.CallStarted, facts: Sequence[AnyFact], wav: Path | None
) -> CallReplay:
    traffic, score, paper, phone = Traffic(facts), Score(recorded), Paper(recorded), Phone()
    levels = iter(traffic.agent)
    models = tuple(dict.fromkeys(price.model for price in started.prices if price.service == "tts"))
    call = LiveCall(
        started,
        voice=next((fact.voice for fact in facts if isinstance(fact, Clip)), ""),
        engines=Engines(
            ReplayedActivity(traffic),
            ReplayedTranscriber(traffic),
            ReplayedThinker(traffic),
            ReplayedSpeaker(traffic, models),
        ),
        clips=Stock(facts),
        clock=Clock(),
        journal=paper,
        outside=Nobody(),
        recorder=None if wav is None else Recorder(wav),
        conduct=Conduct(score, score, lambda: next(levels, 0)),
    )
    score.call, score.phone = call, phone
    difference = None
    try:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen_in(call, facts))
            await call.run()
            listening.cancel()
    except* Astray as astray:
        difference = paper.difference or next(_leaves(astray)).difference
    return CallReplay(
        Replay(paper.steps, recorded[-1].event.at, difference), phone.frames, bytes(phone.sound)
    )


async def _listen_in(call: LiveCall, facts: Sequence[AnyFact]) -> None:
    """The caller's sound, when it came."""
    clock = Clock()
    zero = clock.seconds()
    for fact in facts:
        for at_ms, mulaw in fact.pieces() if isinstance(fact, Sound) else ():
            wait = zero + at_ms / 1000 - clock.seconds()
            if wait > 0:
                await asyncio.sleep(wait)
            call.hear(mulaw)


def _leaves(group: BaseExceptionGroup[Astray]) -> Iterator[Astray]:
    for inner in group.exceptions:
        if isinstance(inner, BaseExceptionGroup):
            yield from _leaves(inner)
        else:
            yield inner
