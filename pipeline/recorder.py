"""Records a call as a stereo WAV: the person left, the agent right.

The caller's sound is the clock: it arrives without gaps, so its length is the time. The
agent's sound is sent ahead and placed where the carrier plays it; a `clear` takes back
what was not played.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from pipeline.audio import mulaw as codec
from pipeline.ports import Line

RATE = 8000
FLUSH_BYTES = 5 * RATE
SILENCE = b"\xff"
"""Silence in mu-law; zero bytes would be full scale."""


class Recorder:
    """Writes as it goes, so that a killed process leaves all but the last seconds behind."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  # closed by `close`, open for the whole call
        self._file.setnchannels(2)
        self._file.setsampwidth(2)
        self._file.setframerate(RATE)
        self._left = bytearray()
        self._right = bytearray()

    def caller(self, mulaw: bytes) -> None:
        self._left += mulaw
        if len(self._left) >= FLUSH_BYTES:
            self._write(len(self._left))

    def agent(self, mulaw: bytes) -> None:
        if len(self._right) < len(self._left):
            self._right += SILENCE * (len(self._left) - len(self._right))
        self._right += mulaw

    def cleared(self) -> None:
        del self._right[len(self._left) :]

    def close(self) -> None:
        self._write(len(self._left))
        self._file.close()

    def _write(self, length: int) -> None:
        left, right = bytes(self._left[:length]), bytes(self._right[:length])
        right += SILENCE * (length - len(right))
        both = np.stack([codec.decode(left), codec.decode(right)], axis=1)
        self._file.writeframes(both.astype("<i2").tobytes())
        del self._left[:length]
        del self._right[:length]


class RecordedLine:
    """A line whose agent side is recorded on its way out."""

    def __init__(self, line: Line, recorder: Recorder) -> None:
        self._line = line
        self._recorder = recorder

    def play(self, chunk: int, mulaw: bytes) -> None:
        self._recorder.agent(mulaw)
        self._line.play(chunk, mulaw)

    def clear(self) -> None:
        self._recorder.cleared()
        self._line.clear()

    async def close(self) -> None:
        await self._line.close()
