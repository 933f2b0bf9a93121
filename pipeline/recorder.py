"""Records a call as a stereo WAV: the person left, the agent right.

The caller's sound is the clock: it arrives without gaps, so its length is the time. Where a
broken line is replaced there is one, and it is told how long it was. The agent's sound is sent
ahead and placed where the carrier plays it; a `clear` takes back what was not played.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.audio import mulaw as codec
from pipeline.disk import DiskThread
from pipeline.ports import Line

RATE = 8000
FLUSH_BYTES = 5 * RATE
BEHIND = 120
"""Flushes that may wait for a slow disk: ten minutes of a call, which offline are less than a second."""
CLOSING_S = 2.0
"""How long the end of a call waits for the disk; what is written later is still whole."""
SILENCE = b"\xff"
"""Silence in mu-law; zero bytes would be full scale."""

CHANNELS = 2
FRAME_BYTES = 2 * CHANNELS
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


class Recorder:
    """Writes as it goes, in a thread, so that a killed process leaves all but the last seconds behind.

    A disk that fails or falls behind ends the recording and not the call. Raises `OSError` only when it is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = open(path, "wb", opener=_private)  # noqa: SIM115  # closed by the thread
        self._disk = DiskThread("recording", self._write, self._end, behind=BEHIND)
        self._written = 0
        self._left = bytearray()
        self._right = bytearray()
        self._closed = False

    def caller(self, mulaw: bytes) -> None:
        self._left += mulaw
        if len(self._left) >= FLUSH_BYTES:
            self._flush()

    def gap(self, ms: int) -> None:
        """Nobody was on the line for so long; nothing for less than a millisecond. What the agent was to say then
        was not heard."""
        self.cleared()
        self.caller(SILENCE * (RATE * max(0, ms) // 1000))

    def agent(self, mulaw: bytes) -> None:
        if len(self._right) < len(self._left):
            self._right += SILENCE * (len(self._left) - len(self._right))
        self._right += mulaw

    def cleared(self) -> None:
        del self._right[len(self._left) :]

    def close(self) -> None:
        """Returns when all is written, unless the disk hangs. Blocking, so not for where calls live."""
        if not self._closed:
            self._flush()
            self._closed = True
            self._disk.finish()
        self._disk.join(CLOSING_S)

    def _flush(self) -> None:
        """Both sides, as far as the caller was heard."""
        length = len(self._left)
        both = bytes(self._left), bytes(self._right[:length])
        self._left.clear()
        del self._right[:length]
        if not self._closed:
            self._disk.take(both)

    # -- in the thread ---------------------------------------------------------------------

    def _write(self, both: tuple[bytes, bytes]) -> None:
        left, right = both
        right += SILENCE * (len(left) - len(right))
        samples = np.stack([codec.decode(left), codec.decode(right)], axis=1)
        self._append(samples.astype("<i2").tobytes())

    def _append(self, sound: bytes) -> None:
        """Sound first, then the header that counts it: whenever it is cut off, the file is a WAV."""
        file = self._file
        if not self._written:
            file.write(header(0))
        file.write(sound)
        file.flush()
        self._written += len(sound)
        file.seek(0)
        file.write(header(self._written))
        file.seek(0, os.SEEK_END)

    def _end(self) -> None:
        with suppress(OSError):  # of a full disk, which has been told
            self._file.close()


def header(size: int) -> bytes:
    """Of a file with so many bytes of sound."""
    form = (b"fmt ", 16, 1, CHANNELS, RATE, RATE * FRAME_BYTES, FRAME_BYTES, 16)
    return HEADER.pack(b"RIFF", HEADER.size - 8 + size, b"WAVE", *form, b"data", size)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
