"""Voice activity by Silero: one run of the model for all calls of the process, every 32 ms.

A run costs a tenth of a millisecond for one call and grows far slower than the number of
calls, so batching is what makes a hundred calls fit on one core. Results equal those of
a track run alone. What the probabilities mean is decided in `pipeline/audio/vad.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import structlog
from numpy.typing import NDArray

from pipeline.audio import mulaw
from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.base import WINDOW_SAMPLES
from pipeline.engines.beside import beside
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.weights import SILERO
from pipeline.surprises import SURPRISES

CONTEXT_SAMPLES = 32
"""The end of the window before, which the model wants in front of each window."""
BEAT_SECONDS = 0.032
WINDOWS_A_RUN = 16
"""Most windows of one call in one run: a call that is behind catches up without holding up the rest."""
BACKLOG_BYTES = 30 * mulaw.RATE
"""Beyond this a call that is behind loses its oldest sound."""

_log = structlog.get_logger(__name__)

Floats = NDArray[np.float32]


class Session(Protocol):
    """The part of an onnxruntime session that is used."""

    def run(self, names: None, feed: dict[str, object]) -> Sequence[Floats]: ...


@dataclass(frozen=True, slots=True)
class Due:
    """What one track has for the next run; `fresh` on its first."""

    slot: int
    sound: bytes
    fresh: bool


class SileroModel:
    """The model and the state of every track. Lives in the worker thread; holds no locks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rate = np.array(mulaw.RATE, np.int64)
        self._state: Floats = np.zeros((2, 8, 128), np.float32)
        self._context: Floats = np.zeros((8, CONTEXT_SAMPLES), np.float32)

    @classmethod
    def load(cls) -> SileroModel:
        """Blocking. Raises `EngineError`."""
        path = SILERO.locate()
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("onnxruntime is missing: pip install 'callmeback[local]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = cls(cast("Session", session))
        model.run([Due(0, mulaw.silence(32), fresh=True)])
        return model

    def run(self, due: Sequence[Due]) -> list[list[float]]:
        """The probabilities of each track's windows; `sound` is whole windows."""
        self._make_room(max(track.slot for track in due) + 1)
        fresh = [track.slot for track in due if track.fresh]
        self._state[:, fresh] = 0.0
        self._context[fresh] = 0.0
        # Longest first, so that the tracks of every step are the head of the list.
        order = sorted(range(len(due)), key=lambda index: -len(due[index].sound))
        slots = [due[index].slot for index in order]
        sizes = [len(due[index].sound) for index in order]
        # All sound in one array, cut into windows; `first` is where each track's begin.
        sound = mulaw.to_float(mulaw.decode(b"".join(due[index].sound for index in order)))
        windows = sound.reshape(-1, WINDOW_SAMPLES)
        first = np.cumsum([0, *sizes[:-1]]) // WINDOW_SAMPLES
        found: list[list[float]] = [[] for _ in due]
        for step in range(sizes[0] // WINDOW_SAMPLES):
            going = sum(size > step * WINDOW_SAMPLES for size in sizes)
            probabilities = self._step(slots[:going], windows[first[:going] + step])
            for index, probability in zip(order, probabilities.tolist(), strict=False):
                found[index].append(probability)
        return found

    def _step(self, slots: list[int], windows: Floats) -> Floats:
        probabilities, state = self._session.run(
            None,
            {
                "input": np.concatenate([self._context[slots], windows], 1),
                "state": np.ascontiguousarray(self._state[:, slots]),
                "sr": self._rate,
            },
        )
        self._state[:, slots] = state
        self._context[slots] = windows[:, -CONTEXT_SAMPLES:]
        return probabilities[:, 0]

    def _make_room(self, slots: int) -> None:
        short = slots - self._context.shape[0]
        if short > 0:
            short += slots
            self._state = np.concatenate([self._state, np.zeros((2, short, 128), np.float32)], 1)
            self._context = np.concatenate([self._context, np.zeros((short, CONTEXT_SAMPLES), np.float32)])


class SileroTrack:
    """Voice activity of one call."""

    def __init__(self, slot: int, on_window: Callable[[float], None], wake: asyncio.Event) -> None:
        self._slot = slot
        self._on_window = on_window
        self._wake = wake
        self._sound = bytearray()
        self._fresh = True
        self._open = True

    def feed(self, mulaw: bytes) -> None:
        if not self._open:
            return
        self._sound += mulaw
        if len(self._sound) > BACKLOG_BYTES:
            del self._sound[: len(self._sound) - BACKLOG_BYTES]
        if self.waiting:
            self._wake.set()

    @property
    def waiting(self) -> bool:
        """Whether there is a whole window."""
        return len(self._sound) >= WINDOW_SAMPLES

    def take(self) -> Due | None:
        """The windows for the next run, None when there is not a whole one."""
        size = min(len(self._sound) // WINDOW_SAMPLES, WINDOWS_A_RUN) * WINDOW_SAMPLES
        if not size:
            return None
        due = Due(self._slot, bytes(self._sound[:size]), self._fresh)
        del self._sound[:size]
        self._fresh = False
        return due

    def give(self, probabilities: Sequence[float]) -> None:
        for probability in probabilities:
            if self._open:
                self._on_window(probability)

    def close(self) -> None:
        self._open = False
        self._sound.clear()


class SileroActivity:
    """Voice activity of every call of the process. `running` must be open while tracks are."""

    def __init__(self, model: SileroModel, worker: Worker) -> None:
        self._model = model
        self._worker = worker
        self._tracks: dict[int, SileroTrack] = {}
        self._clock = Clock()
        self._wake = asyncio.Event()
        self.failures = 0
        """Runs that failed (their windows count as silence) and calls that failed on their windows."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SileroActivity]:
        """Beat, until left. Opened once, by whoever owns the models."""
        async with beside(self._beat()):
            yield self

    @contextmanager
    def open(self, on_window: Callable[[float], None]) -> Iterator[SileroTrack]:
        slot = next(slot for slot in range(len(self._tracks) + 1) if slot not in self._tracks)
        track = SileroTrack(slot, on_window, self._wake)
        self._tracks[slot] = track
        try:
            yield track
        finally:
            track.close()
            del self._tracks[slot]

    async def _beat(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            due = self._clock.seconds() + BEAT_SECONDS
            await self._run()
            await asyncio.sleep(max(0.0, due - self._clock.seconds()))

    async def _run(self) -> None:
        behind = [(track, due) for track in self._tracks.values() if (due := track.take()) is not None]
        if not behind:
            return
        dues = [due for _, due in behind]
        try:
            found = await self._worker.run(lambda: self._model.run(dues))
        except EngineError as error:
            # The calls go on without voice activity rather than end: their idle prompts still work.
            self.failures += 1
            _log.error("voice_activity_failed", tracks=len(dues), error=str(error))
            found = [[0.0] * (len(due.sound) // WINDOW_SAMPLES) for due in dues]
        for (track, _), probabilities in zip(behind, found, strict=True):
            try:
                track.give(probabilities)
            except Exception:  # edge: of one call's listener; the others must not pay for its fault
                self.failures += 1
                SURPRISES.labels("voice activity").inc()
                _log.exception("voice_activity_listener_failed")
        if any(track.waiting for track, _ in behind):
            self._wake.set()
