"""Which sounds stop the agent, and how soon: the detector alone, over the clips of `benchmarks/sounds.py`.

The real Silero gives its opinion of every window; the agent speaks until the detector says `Held`, is silent
from the moment that order would be heard, and goes on at `Faded` where the core would let it (the voice was
brief). Its echo follows what it really plays. Time is the frames': nothing waits, and nothing is lost to
processing, so a live call is later by what the server and the network take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.figures import Figure, percentile
from benchmarks.sounds import FRAME, Clip, Floats, make
from pipeline.audio import mulaw
from pipeline.audio.echo import Playing
from pipeline.audio.vad import WINDOW_MS, Detector, Faded, Held, Returned, Started, Stopped
from pipeline.core.terms import Limits
from pipeline.core.turns import is_fleeting
from pipeline.engines.base import WINDOW_SAMPLES
from pipeline.engines.local.silero import Due, SileroModel

GROUP = "interruptions, detector"
ORDER_WINDOWS = 3
"""From a fact to its effect on what the phone plays, about 100 ms: the network, there and back."""
BACK_MS = 300
"""A stop that is taken back no later was none."""
HELD_MS = 250
"""After the first frame of speech the detector must be sure: the rest of 300 ms is the server's."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The agent was stopped `after_ms` from the first frame of the sound; negative: before there was any.

    `back_ms`: how long after that the reply went on, because the voice was brief; None where it did not.
    """

    after_ms: int
    back_ms: int | None = None

    @property
    def stands(self) -> bool:
        return self.back_ms is None or self.back_ms > BACK_MS


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of one clip. `resumed_into`: the reply went on while the caller still spoke."""

    clip: Clip
    stops: tuple[Stop, ...]
    resumed_into: bool

    @property
    def echoes(self) -> bool:
        return self.clip.delay > 0

    @property
    def false(self) -> bool:
        return any(stop.stands for stop in self.stops)

    @property
    def held_ms(self) -> float:
        """When an interruption was first noticed; infinite when it was not, or the agent was silent already."""
        first = next(iter(self.stops), None)
        return float(first.after_ms) if first is not None and first.after_ms >= 0 else float("inf")


@dataclass(slots=True)
class _Line:
    """One clip being played, the agent's side included."""

    clip: Clip
    detector: Detector
    at: int = 0
    """The window that comes next."""
    said: int = 0
    """Samples of the agent's that were played; `played` tells which of them at each sample of the line."""
    played: list[Floats] = field(default_factory=list)
    speaks: bool = True
    changes: list[tuple[int, bool]] = field(default_factory=list)
    playing: Playing = field(default_factory=Playing)
    began_ms: int = 0
    stops: list[Stop] = field(default_factory=list)
    stopped_ms: int = 0
    held_ms: int = 0
    resumed: list[int] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return (self.at + 1) * WINDOW_SAMPLES > len(self.clip.caller)

    def sound(self) -> Floats:
        """The caller's side of the next window."""
        if self.changes and self.changes[0][0] <= self.at:
            self.speaks = self.changes.pop(0)[1]
        start = self.at * WINDOW_SAMPLES
        self._speak(start)
        # Of the agent's echo what was played `delay` ago.
        returned = np.concatenate([np.zeros(self.clip.delay, np.float32), *self.played[-8:]])
        offset = start - max(0, self.at - 7) * WINDOW_SAMPLES
        caller = self.clip.caller[start : start + WINDOW_SAMPLES]
        mixed: Floats = caller + returned[offset : offset + WINDOW_SAMPLES]
        return mixed

    def _speak(self, start: int) -> None:
        if not self.speaks:
            self.played.append(np.zeros(WINDOW_SAMPLES, np.float32))
            return
        part = np.arange(self.said, self.said + WINDOW_SAMPLES) % len(self.clip.returned)
        self.played.append(self.clip.returned[part])
        agent = np.frombuffer(self.clip.agent, np.uint8)[part].tobytes()
        self.playing.play(1000 * start / mulaw.RATE, agent)
        self.said += WINDOW_SAMPLES

    def judged(self, probability: float, sound: bytes, brief_ms: int) -> None:
        """The window's facts, at the arrival of the frame that completes it."""
        ends = (self.at + 1) * WINDOW_SAMPLES
        now = -(-ends // FRAME) * FRAME * 1000 // mulaw.RATE
        loudest = self.playing.loudest(1000 * ends / mulaw.RATE)
        for fact in self.detector.window(probability, sound, loudest):
            match fact:
                case Started(onset_ms):
                    self.began_ms = now - onset_ms
                case Held() | Returned():
                    if isinstance(fact, Held):
                        self.held_ms = now
                    first = (self.clip.first + 1) * FRAME * 1000 // mulaw.RATE
                    self.stops.append(Stop(now - first))
                    self.stopped_ms = now
                    self._change(speaks=False)
                case Faded(quiet_ms) if self._fleeting(now - quiet_ms, brief_ms):
                    self.stops[-1] = Stop(self.stops[-1].after_ms, now - self.stopped_ms)
                    self.resumed.append(now)
                    self._change(speaks=True)
                case Stopped():
                    self._change(speaks=True)
        self.at += 1

    def _fleeting(self, quiet_since: int, brief_ms: int) -> bool:
        limits = replace(Limits(), brief_ms=brief_ms)
        back_ms = self.stopped_ms if self.stopped_ms > self.held_ms else None
        return is_fleeting(limits, self.began_ms, self.held_ms, back_ms, quiet_since)

    def _change(self, *, speaks: bool) -> None:
        self.changes.append((self.at + ORDER_WINDOWS, speaks))

    def heard(self) -> Heard:
        last = (self.clip.last + 1) * FRAME * 1000 // mulaw.RATE
        return Heard(self.clip, tuple(self.stops), any(at < last for at in self.resumed))


def listen(
    clips: Iterable[Clip],
    silero: SileroModel,
    detector: Callable[[], Detector] = lambda: Detector(Limits().barge_in_ms),
    brief_ms: int = Limits().brief_ms,
) -> list[Heard]:
    """Play every clip, all of them side by side."""
    lines = [_Line(clip, detector()) for clip in clips]
    going = list(enumerate(lines))
    fresh = True
    while going:
        sound = mulaw.encode(mulaw.from_float(np.concatenate([line.sound() for _, line in going])))
        pieces = [sound[at : at + WINDOW_SAMPLES] for at in range(0, len(sound), WINDOW_SAMPLES)]
        dues = [Due(slot, piece, fresh) for (slot, _), piece in zip(going, pieces, strict=True)]
        for (_, line), piece, found in zip(going, pieces, silero.run(dues), strict=True):
            line.judged(found[0], piece, brief_ms)
        fresh = False
        going = [(slot, line) for slot, line in going if not line.over]
    return [line.heard() for line in lines]


def _share(part: Sequence[bool]) -> float:
    return 100 * sum(part) / len(part) if part else float("nan")


def _level(heard: Heard) -> str:
    found = re.search(r"at (-\d+) dB", heard.clip.name)
    return found[1] if found else ""


def figures(heard: Sequence[Heard]) -> list[Figure]:
    true = [each for each in heard if each.clip.interrupts]
    false = [each for each in heard if not each.clip.interrupts]
    after = [each.held_ms for each in true]
    in_time = [ms <= HELD_MS for ms in after]
    kinds = sorted({each.clip.kind for each in false})
    stood = {kind: sum(each.false for each in false if each.clip.kind == kind) for kind in kinds}
    halted = [each for each in false if each.stops]
    backs = [stop.back_ms or 0 for each in halted for stop in each.stops if not stop.stands]
    quiet = [each.held_ms <= HELD_MS for each in true if each.echoes and _level(each) in ("-32", "-29")]
    return [
        Figure(GROUP, f"interruptions noticed within {HELD_MS} ms", _share(in_time), "%", 95, "at least",
               note=f"{len(true)} clips; p50 {percentile(after, 50):.0f} ms"),
        Figure(GROUP, "first speech frame → held, p95", percentile(after, 95), "ms", HELD_MS,
               note=f"{_share([ms <= HELD_MS + WINDOW_MS for ms in after]):.1f} % within {HELD_MS + WINDOW_MS} ms"),
        Figure(GROUP, "the same, without an echo on the line",
               _share([each.held_ms <= HELD_MS for each in true if not each.echoes]), "%"),
        Figure(GROUP, f"the same, with the agent's echo, {len(quiet)} quiet callers left out",
               _share([each.held_ms <= HELD_MS for each in true
                       if each.echoes and _level(each) not in ("-32", "-29")]), "%",
               note=f"of the quiet ones, -29 and -32 dB: {_share(quiet):.0f} %"),
        Figure(GROUP, "reply went on while the caller still spoke", _share([each.resumed_into for each in true]), "%",
               note="stopped again 64 ms after the voice is back"),
        Figure(GROUP, "false stops", _share([each.false for each in false]), "%", 2,
               note=f"of {len(false)} clips; " + ", ".join(f"{kind} {n}" for kind, n in stood.items() if n)),
        Figure(GROUP, "stops taken back", _share([not each.false for each in halted]), "%",
               note=f"of {len(halted)}; the latest {max(backs, default=0)} ms after"),
    ]  # fmt: skip


def measure(which: str = "measuring") -> list[Figure]:
    """Blocking; about ten seconds."""
    return figures(listen(make(which), SileroModel.load()))


if __name__ == "__main__":
    for figure in measure():
        print(f"{figure.name:70} {figure.value:8.1f} {figure.unit:3} {figure.note}")
