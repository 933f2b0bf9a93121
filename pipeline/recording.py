"""The recording of a call as one sound: what each process that had the call wrote of it, each at its time.

The parts' journals say when the sound of each began. Between two parts, when nobody had the call, there is silence; a
process that lost the call and did not know it is heard until the next one begins. Writing is `pipeline/recorder.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import JournalError
from pipeline.core.events import StreamStarted
from pipeline.core.money import Millis
from pipeline.journal_file import SUFFIX, first, parts
from pipeline.recorder import FRAME_BYTES, HEADER, RATE, header

WAV = ".wav"
PIECE_BYTES = 64 * 1024
SILENCE = bytes(PIECE_BYTES)

Source = bytes | Path | None
"""Bytes as they are, a part's file behind its header, or silence."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One part: where its sound begins in the whole, and how many frames of it belong there."""

    path: Path
    at: int
    frames: int


@dataclass(frozen=True, slots=True)
class Recording:
    """`starts` is on the clock of the call's turns; None where no journal says it."""

    starts: Millis | None
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole as a file."""
        return HEADER.size + FRAME_BYTES * self._frames

    @property
    def _frames(self) -> int:
        last = self.pieces[-1]
        return last.at + last.frames

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The whole as a WAV file, or its bytes from `start` up to `end`, piece by piece.

        Blocking. Raises `OSError` for a part that is gone meanwhile.
        """
        done, last = 0, self.size if end is None else end
        for size, source in self._stretches():
            begin, stop = max(0, start - done), min(size, last - done)
            if begin < stop:
                yield from _stretch(source, begin, stop)
            done += size

    def _stretches(self) -> Iterator[tuple[int, Source]]:
        """What the file is made of, in order, each with its bytes."""
        yield HEADER.size, header(FRAME_BYTES * self._frames)
        done = 0
        for piece in self.pieces:
            yield FRAME_BYTES * (piece.at - done), None
            yield FRAME_BYTES * piece.frames, piece.path
            done = piece.at + piece.frames


def recording(folder: Path, call_id: str) -> Recording | None:
    """What of the call was recorded on this machine; None where that is nothing. Blocking."""
    found = [(path, frames) for path in parts(folder, call_id, WAV) if (frames := _frames(path)) > 0]
    if not found:
        return None
    begun = [_begun(path) for path, _ in found]
    starts, places = begun[0], [0]
    for (_, frames), at in zip(found, begun[1:], strict=False):
        behind = places[-1] + frames
        known = None if starts is None or at is None else (at - starts) * RATE // 1000
        places.append(behind if known is None else max(places[-1], known))
    ends = [*places[1:], places[-1] + found[-1][1]]
    pieces = [
        Piece(path, at, min(frames, end - at))
        for (path, frames), at, end in zip(found, places, ends, strict=True)
    ]
    return Recording(starts, tuple(pieces))


def _frames(path: Path) -> int:
    """Of a process that was killed the last one may be half written, and the header not tell all."""
    return max(0, path.stat().st_size - HEADER.size) // FRAME_BYTES


def _begun(wav: Path) -> Millis | None:
    """When the line of that part was first there, and with it the recorder's clock."""
    try:
        event = first(wav.with_suffix(SUFFIX), StreamStarted)
    except (OSError, JournalError):
        return None
    return None if event is None else event.at


def _stretch(source: Source, begin: int, stop: int) -> Iterator[bytes]:
    match source:
        case bytes():
            yield source[begin:stop]
        case None:
            for at in range(begin, stop, PIECE_BYTES):
                yield SILENCE[: stop - at]
        case path:
            yield from _sound(path, begin, stop - begin)


def _sound(path: Path, begin: int, left: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(HEADER.size + begin)
        while left > 0:
            data = file.read(min(left, PIECE_BYTES))
            if not data:
                raise OSError(f"{path.name} is shorter than it was")
            yield data
            left -= len(data)
