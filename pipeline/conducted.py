"""Level 2 replay: the whole shell on recorded sound and recorded engines, in the order of the journal.

The call runs as it does live, but its inbox gives out each event when the journal says so
(`score.py`). So nothing depends on how fast this machine is, and the call is exact or the first
difference is named.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.effects import Effect
from pipeline.core.errors import CarrierError, JournalError
from pipeline.core.events import Event
from pipeline.engines.replayed import (
    ReplayedActivity,
    ReplayedSpeaker,
    ReplayedThinker,
    ReplayedTranscriber,
    Traffic,
    Turns,
)
from pipeline.journal_file import Step, steps
from pipeline.ports import Engines
from pipeline.recorder import Recorder
from pipeline.replay import Difference, Replay, compare
from pipeline.runner import Conduct, LiveCall
from pipeline.score import Astray, Score
from pipeline.traffic import AnyFact, Clip, Sound


@dataclass(frozen=True, slots=True)
class CallReplay:
    """`sound` is the agent's side as sent, `frames` how many chunks that was."""

    replay: Replay
    frames: int
    sound: bytes


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
    traffic, score, paper, phone = Traffic(facts), Score(recorded, facts), Paper(recorded), Phone()
    levels = iter(traffic.agent)
    models = tuple(dict.fromkeys(price.model for price in started.prices if price.service == "tts"))
    call = LiveCall(
        started,
        voice=next((fact.voice for fact in facts if isinstance(fact, Clip)), ""),
        engines=Engines(
            ReplayedActivity(traffic),
            ReplayedTranscriber(traffic, score.passed),
            ReplayedThinker(traffic, score.passed),
            ReplayedSpeaker(traffic, models, score.passed),
        ),
        clips=Stock(facts),
        clock=Clock(),
        journal=paper,
        outside=Nobody(),
        recorder=None if wav is None else Recorder(wav),
        conduct=Conduct(score, score, lambda: next(levels, 0), Turns(traffic, "mouth", score.passed).next),
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
