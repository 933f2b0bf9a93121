"""Engines that give again what others once gave, from a call's recorded traffic (`pipeline/traffic.py`).

They give it as soon as they are asked and were asked then; when it counts is decided by whoever
replays the call. Only a voice opens, ends and fails when it did, for what it is given to say next
depends on that. What was cut off then hangs here until it is cut off again, and so does what was
given up before the engine was asked. Of a tape that does not say when they were asked, they fail
where nothing was recorded: then the call does not go as it went.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import WINDOW_SAMPLES, CutShort, EndCall, Hearing, Piece, Tokens
from pipeline.traffic import (
    ENDED,
    HEARINGS,
    AnyFact,
    Asked,
    Ceiling,
    Failed,
    Heard,
    Opened,
    Spoke,
    Spoken,
    Timed,
    VoiceOpened,
    Windows,
    Written,
    Wrote,
)

UNRECORDED = "this was not recorded"

Passed = Callable[[Timed], Awaitable[None]]
"""Waits until it is time for this fact."""


def by_the_clock() -> Passed:
    """For a call that begins now."""
    clock = Clock()
    zero = clock.seconds()

    async def passed(fact: Timed) -> None:
        await asyncio.sleep(max(0.0, zero + fact.at_ms / 1000 - clock.seconds()))

    return passed


@dataclass(slots=True)
class Opening:
    """One transcription: what was heard, and how it failed if it did."""

    opened: Opened | None = None
    heard: list[Heard] = field(default_factory=list)
    failed: Failed | None = None


@dataclass(slots=True)
class Taken:
    """One reply or utterance: its pieces, how it ended, and how it failed if it did."""

    pieces: list[Wrote | Ceiling | Spoke] = field(default_factory=list)
    end: Written | Spoken | None = None
    failed: Failed | None = None


class Traffic:
    """The facts of one call, by seam."""

    def __init__(self, facts: Sequence[AnyFact]) -> None:
        self.probabilities: list[float] = []
        self.agent: list[int] = []
        self.ears: dict[int, Opening] = defaultdict(Opening)
        self.minds: dict[int, Taken] = defaultdict(Taken)
        self.voices: dict[int, Taken] = defaultdict(Taken)
        self.voice_openings: dict[int, VoiceOpened | Failed] = {}
        self.asked: dict[tuple[str, int], Asked] = {}
        for fact in facts:
            self._sort(fact)

    def _sort(self, fact: AnyFact) -> None:
        match fact:
            case Windows():
                self.probabilities += fact.probabilities
                self.agent += fact.agent
            case Opened():
                self.ears[fact.of].opened = fact
            case Heard():
                self.ears[fact.of].heard.append(fact)
            case Wrote() | Ceiling():
                self.minds[fact.of].pieces.append(fact)
            case Written():
                self.minds[fact.of].end = fact
            case Spoke():
                self.voices[fact.of].pieces.append(fact)
            case Spoken():
                self.voices[fact.of].end = fact
            case Failed(seam="ear"):
                self.ears[fact.of].failed = fact
            case Failed(seam="mind"):
                self.minds[fact.of].failed = fact
            case Asked():
                self.asked[fact.seam, fact.of] = fact
            case VoiceOpened() | Failed(seam="voice-open"):
                self.voice_openings[fact.of] = fact
            case Failed():
                self.voices[fact.of].failed = fact
            case _:
                pass  # the caller's sound and the clips are no engine's


def _error(failed: Failed) -> EngineError:
    if failed.all_down:
        return AllDown()
    return EngineError("as recorded", retryable=failed.retryable)


async def _hang() -> None:
    await asyncio.Event().wait()


class Turns:
    """Who asks next is given what comes next, once it was asked for."""

    def __init__(self, traffic: Traffic, seam: str, passed: Passed | None) -> None:
        self._asked = traffic.asked
        self._seam = seam
        self._passed = passed or by_the_clock()
        self._latest = 0
        self._one = asyncio.Lock()

    async def next(self) -> int:
        async with self._one:  # in the order of asking; who gives up leaves the turn to the next
            if self._asked:
                asked = self._asked.get((self._seam, self._latest + 1))
                await (_hang() if asked is None else self._passed(asked))
            self._latest += 1
            return self._latest


# -- voice activity ------------------------------------------------------------------------


class ReplayedTrack:
    def __init__(self, probabilities: Sequence[float], on_window: Callable[[float], None]) -> None:
        self._probabilities = iter(probabilities)
        self._on_window = on_window
        self._bytes = 0

    def feed(self, mulaw: bytes) -> None:
        self._bytes += len(mulaw)
        while self._bytes >= WINDOW_SAMPLES:
            self._bytes -= WINDOW_SAMPLES
            probability = next(self._probabilities, None)
            if probability is not None:
                self._on_window(probability)


@dataclass(frozen=True, slots=True)
class ReplayedActivity:
    traffic: Traffic

    @contextmanager
    def open(self, on_window: Callable[[float], None]) -> Iterator[ReplayedTrack]:
        yield ReplayedTrack(self.traffic.probabilities, on_window)


# -- speech to text ------------------------------------------------------------------------


class ReplayedEar:
    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._closed = asyncio.Event()

    def feed(self, mulaw: bytes) -> None:
        """What is heard is known already."""

    def voice(self, speaking: bool) -> None:
        """What is heard is known already."""

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        for fact in self._opening.heard:
            if fact.kind == ENDED:
                return
            yield HEARINGS[fact.kind](*fact.fields)
        if self._opening.failed is not None:
            raise _error(self._opening.failed)
        await self._closed.wait()

    def close(self) -> None:
        self._closed.set()


class ReplayedTranscriber:
    def __init__(self, traffic: Traffic, passed: Passed | None = None) -> None:
        self._ears = traffic.ears
        self._turns = Turns(traffic, "ear", passed)
        opened = (one.opened for _, one in sorted(traffic.ears.items()) if one.opened is not None)
        first = next(opened, None)
        self._models = tuple(first.models) if first is not None else ("replayed",)
        self._ends_turns = first is not None and first.ends_turns

    @property
    def models(self) -> tuple[str, ...]:
        return self._models

    @property
    def ends_turns(self) -> bool:
        return self._ends_turns

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ReplayedEar]:
        opening = self._ears.get(await self._turns.next())
        if opening is None:
            raise EngineError(UNRECORDED)
        if opening.opened is None and opening.failed is not None:
            raise _error(opening.failed)
        ear = ReplayedEar(opening)
        try:
            yield ear
        finally:
            ear.close()


# -- language model ------------------------------------------------------------------------


class ReplayedReply:
    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        end = taken.end if isinstance(taken.end, Written) else None
        self.model = "" if end is None else end.model
        self.tokens = Tokens(0, 0, 0) if end is None else Tokens(*end.tokens)
        self._cut = end is None or end.cut

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        for fact in self._taken.pieces:
            if isinstance(fact, Wrote):
                yield EndCall() if fact.text is None else fact.text
            elif isinstance(fact, Ceiling):
                yield CutShort()
        if self._taken.failed is not None:
            raise _error(self._taken.failed)
        if self._cut:
            await _hang()


class ReplayedThinker:
    """The n-th request gets the n-th recorded reply."""

    def __init__(self, traffic: Traffic, passed: Passed | None = None) -> None:
        self._minds = traffic.minds
        self._turns = Turns(traffic, "mind", passed)

    @property
    def models(self) -> tuple[str, ...]:
        return ("replayed",)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[ReplayedReply]:
        taken = self._minds.get(await self._turns.next())
        if taken is None:
            raise EngineError(UNRECORDED)
        if taken.end is None and taken.failed is not None:
            raise _error(taken.failed)
        yield ReplayedReply(taken)


# -- text to speech ------------------------------------------------------------------------


class ReplayedVoice:
    """Each text in the order in which it was spoken; the same text again is the next take of it."""

    def __init__(
        self, takes: dict[str, deque[Taken]], asked: dict[tuple[str, int], Asked], passed: Passed
    ) -> None:
        self._takes = takes
        self._asked = asked
        self._passed = passed
        self.model = "replayed"
        self.sent = False

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        self.sent = False
        takes = self._takes.get(text)
        if not takes:
            if self._asked:
                await _hang()
            raise EngineError(UNRECORDED)
        if (end := takes[0].end) is not None and (asked := self._asked.get(("voice", end.of))) is not None:
            await self._passed(asked)
        taken = takes.popleft()
        if isinstance(taken.end, Spoken):
            self.model = taken.end.model
            self.sent = taken.end.sent
        for fact in taken.pieces:
            if isinstance(fact, Spoke):
                yield fact.mulaw
        if taken.failed is not None:
            await self._passed(taken.failed)
            raise _error(taken.failed)
        if isinstance(taken.end, Spoken):
            await (_hang() if taken.end.cut else self._passed(taken.end))


class ReplayedSpeaker:
    """Make it as the call begins. The n-th opening succeeds or fails as it did."""

    def __init__(self, traffic: Traffic, models: tuple[str, ...], passed: Passed | None = None) -> None:
        self._models = models
        self._openings = traffic.voice_openings
        self._asked = traffic.asked
        self._next = 0
        self._passed = passed or by_the_clock()
        self._takes: dict[str, deque[Taken]] = defaultdict(deque)
        for _, taken in sorted(traffic.voices.items()):
            if isinstance(taken.end, Spoken):
                self._takes[taken.end.text].append(taken)

    @property
    def models(self) -> tuple[str, ...]:
        return self._models

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[ReplayedVoice]:
        self._next += 1
        opening = self._openings.get(self._next)
        if opening is None:  # it was given up with the call
            await _hang()
            return
        await self._passed(opening)
        if isinstance(opening, Failed):
            raise _error(opening)
        yield ReplayedVoice(self._takes, self._asked, self._passed)
