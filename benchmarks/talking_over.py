"""Whole calls talked over: every clip of `benchmarks/sounds.py` into the agent's answer, on virtual time.

Real are the call, Silero and Whisper; model and voice are scripted, and the voice is the clip's own agent, so
that its echo can be made of what the phone really plays. Computing takes no time here, and neither does the
network: a live call adds both. One call a clip.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from benchmarks.callers import CALLERS
from benchmarks.figures import Figure, percentile
from benchmarks.interrupting import BACK_MS
from benchmarks.replaying import PRICES, started
from benchmarks.sounds import ECHO_DB, FRAME, Clip, Floats, db, make
from pipeline.audio import mulaw
from pipeline.audio.wav import read_wav
from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core.effects import AskReply, Effect, Hush, Pause, Resume, Say
from pipeline.core.events import Event
from pipeline.core.terms import EndReason
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.silero import SileroActivity, SileroModel
from pipeline.engines.local.whisper import MODEL, WhisperModel, WhisperTranscriber
from pipeline.engines.scripted import ScriptedThinker
from pipeline.journal_file import NoJournal
from pipeline.offline import FRAME_S, Handset
from pipeline.ports import Engines
from pipeline.runner import LiveCall

GROUP = "interruptions, whole calls"
CLEAR_MS = 300
ASKS = read_wav(CALLERS / "bakery.wav")
ANSWER = (
    "That is good to hear, and there is a lot that I would like to say about it before you go on, if I may"
)
ANSWER_S = 14
OTHER_MS = 300
"""Of anything else the agent says."""
GREETED_S = 3.0
LISTENS_S = 3.0
"""How long the caller is silent after the clip: time for the words to be understood."""
PATIENCE_S = 8.0


WATCHED = (Pause, Resume, Hush, AskReply, Say)


class ClipSpeaker:
    """Says the answer as the clip's agent, and everything else in a moment."""

    models = ("scripted",)
    model = "scripted"
    sent = True

    def __init__(self, agent: bytes) -> None:
        self._answer = (agent * (ANSWER_S * mulaw.RATE // len(agent) + 1))[: ANSWER_S * mulaw.RATE]

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[ClipSpeaker]:
        yield self

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        yield self._answer if text.startswith(ANSWER[:20]) else self._answer[: OTHER_MS * 8]


class Phone(Handset):
    """A handset that gives the agent's voice back as an echo. Times are seconds of the loop."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._time = clock
        self._sound = np.zeros(0, np.float32)
        self._began = clock.seconds()

    def play(self, chunk: int, sound: bytes) -> None:
        begins = max(self._at(self._time.seconds()), len(self._sound))
        quiet = np.zeros(begins - len(self._sound), np.float32)
        self._sound = np.concatenate([self._sound, quiet, mulaw.to_float(mulaw.decode(sound))])
        super().play(chunk, sound)

    def clear(self) -> None:
        self._sound = self._sound[: self._at(self._time.seconds())]
        super().clear()

    def returned(self, until: float, delay: int) -> Floats:
        """The agent's sound in the frame that ends at `until`, `delay` samples after it was played."""
        frame = np.zeros(FRAME, np.float32)
        ends = self._at(until) - delay
        found = self._sound[max(0, ends - FRAME) : max(0, ends)]
        frame[: len(found)] = found
        return frame

    def _at(self, seconds: float) -> int:
        return round((seconds - self._began) * mulaw.RATE)


@dataclass(slots=True)
class Watch:
    """The surroundings of one call: when its orders about the voice were given, in milliseconds of the loop."""

    phone: Phone
    clock: Clock
    orders: list[tuple[int, Effect]] = field(default_factory=list)

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        now = self.clock.millis()
        self.orders += [(now, effect) for effect in effects if isinstance(effect, WATCHED)]

    async def hang_up(self) -> None:
        self.phone.closed.set()


@dataclass(frozen=True, slots=True)
class TalkedOver:
    """What a clip did to the answer. `backs`: how long each stop lasted; None: the answer never went on.

    `clear_ms` counts from the arrival of the first frame of the sound; None when nothing stopped.
    """

    clip: Clip
    clear_ms: int | None
    backs: tuple[int | None, ...]
    answered: bool

    @property
    def false(self) -> bool:
        return any(back is None or back > BACK_MS for back in self.backs)

    @property
    def late(self) -> bool:
        """The first stop alone: what a voice is taken for before its words are known."""
        return bool(self.backs) and (self.backs[0] is None or self.backs[0] > BACK_MS)


async def talk_over(clip: Clip, silero: SileroActivity, whisper: WhisperTranscriber) -> TalkedOver:
    """One call: greeting, a line, the answer, and the clip into it."""
    clock = Clock()
    phone = Phone(clock)
    watch = Watch(phone, clock)
    engines = Engines(silero, whisper, ScriptedThinker([ANSWER + "."], first_ms=100), ClipSpeaker(clip.agent))
    prices = tuple(replace(price, model=MODEL) if price.service == "stt" else price for price in PRICES)
    call = LiveCall(
        replace(started(), prices=prices),
        voice="sarah",
        engines=engines,
        clips=Clips(),
        clock=clock,
        journal=NoJournal(),
        outside=watch,
    )
    phone.call = call
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call.run())
        first = await _speak(call, phone, watch, clip, clock)
    return _seen(clip, first, watch.orders)


async def _speak(call: LiveCall, phone: Phone, watch: Watch, clip: Clip, clock: Clock) -> int:
    """The person's side; when the first frame of the clip's sound arrived."""
    noise = np.random.default_rng(len(clip.name))
    await asyncio.sleep(1.0)
    call.answered()
    call.attach(phone)
    begun, sent, first = clock.seconds(), 0, 0

    async def hear(frame: Floats) -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(max(0.0, begun + sent * FRAME_S - clock.seconds()))
        phone.tick()
        if clip.delay:
            frame = frame + np.float32(db(ECHO_DB)) * phone.returned(clock.seconds(), clip.delay)
        call.hear(mulaw.encode(mulaw.from_float(frame)))

    async def listen(seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            await hear((0.0009 * noise.standard_normal(FRAME)).astype(np.float32))

    await listen(GREETED_S)
    asks = mulaw.to_float(mulaw.decode(ASKS[: len(ASKS) // FRAME * FRAME]))
    for frame in asks.reshape(-1, FRAME):
        await hear(frame)
    waited = 0.0
    while not any(isinstance(order, Say) and order.text.startswith(ANSWER[:20]) for _, order in watch.orders):
        if (waited := waited + FRAME_S) > PATIENCE_S:
            raise RuntimeError(f"no answer to talk into: {clip.name}")
        await listen(FRAME_S)
    for number, frame in enumerate(clip.caller.reshape(-1, FRAME)):
        await hear(frame)
        if number == clip.first:
            first = clock.millis()
    await listen(LISTENS_S)
    call.dropped(EndReason.CALLER_HUNG_UP)
    call.carrier_done("completed", -int(-(clock.seconds() - begun) // 1))
    return first


def _seen(clip: Clip, first: int, orders: Sequence[tuple[int, Effect]]) -> TalkedOver:
    asked = [at for at, order in orders if isinstance(order, AskReply)]
    said = next(at for at, order in orders if isinstance(order, Say) and order.text.startswith(ANSWER[:20]))
    told = [(at, order) for at, order in orders if isinstance(order, Pause | Resume | Hush) and at > said]
    told.append((first + 3_600_000, Hush()))
    pauses = [(at, after) for (at, order), after in pairwise(told) if isinstance(order, Pause)]
    backs = [after - at if isinstance(order, Resume) else None for at, (after, order) in pauses]
    clear = next((at - first for at, _ in pauses), None)
    return TalkedOver(clip, clear, tuple(backs), any(at > first for at in asked))


async def _all(clips: Sequence[Clip]) -> list[TalkedOver]:
    hearing, seeing = Worker("hearing", limit=16), Worker("windows", limit=16)
    try:
        model = await hearing.run(WhisperModel.load)
        async with SileroActivity(SileroModel.load(), seeing).running() as activity:
            return [await talk_over(clip, activity, WhisperTranscriber(model, hearing)) for clip in clips]
    finally:
        hearing.close()
        seeing.close()


def _share(found: Iterable[bool]) -> float:
    each = list(found)
    return 100 * sum(each) / len(each) if each else math.nan


def figures(seen: Sequence[TalkedOver]) -> list[Figure]:
    true = [each for each in seen if each.clip.interrupts]
    false = [each for each in seen if not each.clip.interrupts]
    clears = [float("inf") if each.clear_ms is None or each.clear_ms < 0 else each.clear_ms for each in true]
    in_time = _share(ms <= CLEAR_MS for ms in clears)
    backs = [back for each in false for back in each.backs if back is not None]
    early = [bool(each.backs) and each.backs[0] is not None for each in true]
    clean = [each for each in false if not each.clip.delay]
    return [
        Figure(GROUP, f"first speech frame → clear within {CLEAR_MS} ms", in_time, "%", 95, "at least",
               note=f"{len(true)} calls; p50 {percentile(clears, 50):.0f}, p95 {percentile(clears, 95):.0f} ms"),
        Figure(GROUP, "interruptions that got an answer", _share(each.answered for each in true), "%",
               note=f"the reply went on for a moment first in {_share(early):.0f} %"),
        Figure(GROUP, f"false stops (not taken back within {BACK_MS} ms)", _share(each.false for each in false), "%", 2,
               note=f"of {len(false)} calls; without an echo on the line {_share(each.false for each in clean):.1f} %"),
        Figure(GROUP, "the same, when the detector had its way", _share(each.late for each in false), "%",
               note="without what the transcriber's words then led to"),
        Figure(GROUP, "clear → the reply goes on, p95", percentile(backs, 95), "ms", note=f"{len(backs)} times"),
        Figure(GROUP, "replies lost to a sound that was none", _share(each.answered for each in false), "%",
               note=f"without an echo on the line {_share(each.answered for each in clean):.1f} %"),
    ]  # fmt: skip


def measure(every: int = 3, which: str = "measuring") -> list[Figure]:
    """Blocking; about a third of a second a call. `every`: one in so many clips; odd, as every other has an echo."""
    return figures(run_virtual(_all(make(which)[::every])))


if __name__ == "__main__":
    for figure in measure(1):
        print(f"{figure.name:60} {figure.value:8.1f} {figure.unit:3} {figure.note}")
