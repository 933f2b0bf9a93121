"""Records a call as a stereo WAV: the person left, the agent right.

The caller's sound is the clock: it arrives without gaps, so its length is the time. The
agent's sound is sent ahead and placed where the carrier plays it; a `clear` takes back
what was not played.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import structlog

from pipeline.audio import mulaw as codec
from pipeline.ports import Line

log = structlog.get_logger()

RATE = 8000
FLUSH_BYTES = 5 * RATE
SILENCE = b"\xff"
"""Silence in mu-law; zero bytes would be full scale."""

CHANNELS = 2
FRAME_BYTES = 2 * CHANNELS
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


class Recorder:
    """Writes as it goes, so that a killed process leaves all but the last seconds behind.

    A disk that fails ends the recording and not the call. Raises `OSError` only when it is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = open(path, "wb", opener=_private)  # noqa: SIM115  # closed by `close`, open for the whole call
        self._written = 0
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
        del self._left[:length]
        del self._right[:length]
        if self._file.closed:
            return
        both = np.stack([codec.decode(left), codec.decode(right)], axis=1)
        try:
            self._append(both.astype("<i2").tobytes())
        except OSError as error:
            log.error("recording_lost", error=error.strerror)
            with suppress(OSError):
                self._file.close()

    def _append(self, sound: bytes) -> None:
        """Sound first, then the header that counts it: whenever it is cut off, the file is a WAV."""
        file = self._file
        if not self._written:
            file.write(_header(0))
        file.write(sound)
        file.flush()
        self._written += len(sound)
        file.seek(0)
        file.write(_header(self._written))
        file.seek(0, os.SEEK_END)


def _header(size: int) -> bytes:
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
