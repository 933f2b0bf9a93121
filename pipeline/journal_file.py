"""The journal of one call as a file: append only, a checksum per line, readable after kill -9.

A line is eight hexadecimal digits of CRC-32, a space, and the text of `core/journal.py`.
One step of the call is one write to the operating system, so a killed process loses no
step; `sync` carries it to the disk. A last line torn by a power cut is left out on reading.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.core import journal
from pipeline.core.effects import Charge, Effect
from pipeline.core.errors import JournalError
from pipeline.core.events import Event

E = TypeVar("E", bound=Event)

SUFFIX = ".journal"
_SURROGATES = "surrogatepass"
"""A model may split an emoji between two pieces; half of one must not take the call down."""


def frame(text: str) -> bytes:
    """A line as it stands in the file."""
    body = text.encode(errors=_SURROGATES)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def part_name(call_id: str, epoch: int) -> str:
    """The name of a call's files, without their endings: each process that has the call begins new ones."""
    return call_id if epoch == 1 else f"{call_id}.{epoch}"


def parts(folder: Path, call_id: str, suffix: str = SUFFIX) -> list[Path]:
    """The files of a call on this machine, oldest first. Each part of a journal replays by itself."""
    found = numbered(folder, call_id, suffix)
    return [found[epoch] for epoch in sorted(found)]


def numbered(folder: Path, call_id: str, suffix: str = SUFFIX) -> dict[int, Path]:
    """The files of a call on this machine, by the epoch of the process that wrote each."""
    first = folder / f"{call_id}{suffix}"
    found = {1: first} if first.exists() else {}
    for path in folder.glob(f"{call_id}.*{suffix}"):
        epoch = path.name[len(call_id) + 1 : -len(suffix)]
        if epoch.isascii() and epoch.isdigit():
            found[int(epoch)] = path
    return found


class JournalFile:
    """The writing end. Whoever opens it closes it. Only `sync` and `close` may be called from other threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd: int | None = os.open(path, flags, 0o600)
        self._lock = threading.Lock()
        self.path = path
        self.owes_sync = False

    def append(self, event: Event, effects: Sequence[Effect]) -> None:
        """Write one step. Raises `OSError` when the disk is full; then nothing may be bought."""
        if self._fd is None:
            raise ValueError("the journal is closed")
        lines = [
            frame(journal.event_line(event)),
            *(frame(journal.effect_line(effect)) for effect in effects),
        ]
        data = b"".join(lines)
        written = os.write(self._fd, data)
        while written < len(data):
            written += os.write(self._fd, data[written:])
        self.owes_sync = self.owes_sync or any(isinstance(effect, Charge) for effect in effects)

    def sync(self) -> None:
        """Carry what was written to the disk; may take milliseconds, so call it from a thread.

        Raises `OSError`; what is owed stays owed then.
        """
        with self._lock:
            if self._fd is None or not self.owes_sync:
                return
            self.owes_sync = False
            try:
                os.fdatasync(self._fd)
            except OSError:
                self.owes_sync = True
                raise

    def close(self) -> None:
        """Raises `OSError` when what was written could not be carried to the disk; closed it is all the same."""
        try:
            self.sync()
        finally:
            with self._lock:
                if self._fd is not None:
                    os.close(self._fd)
                    self._fd = None


class NoJournal:
    """A sink for calls nobody will replay."""

    def append(self, event: Event, effects: Sequence[Effect]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Step:
    """One event as recorded and the lines of its effects; `line` counts from 1."""

    line: int
    event: Event
    effects: tuple[str, ...]


def mend(path: Path, missing: Sequence[str] = ()) -> None:
    """Make a file that can be continued: cut off a torn last line, then add the lines the last step lacks.

    What is appended behind a torn line merges with it and damages the journal. Raises `OSError`.
    """
    with open(path, "r+b") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(b"".join(frame(line) for line in missing))
        file.flush()
        os.fsync(file.fileno())


def _checked(path: Path, number: int, line: bytes) -> str:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        raise JournalError(f"{path.name}: line {number} is damaged")
    try:
        return body.decode(errors=_SURROGATES)
    except UnicodeDecodeError as error:
        raise JournalError(f"{path.name}: line {number} is no text") from error


def read_lines(path: Path) -> list[str]:
    """The texts of all lines. Raises `JournalError` naming the first damaged line."""
    data = path.read_bytes()
    texts: list[str] = []
    lines = data.split(b"\n")
    torn = lines.pop()
    for number, line in enumerate(lines, start=1):
        texts.append(_checked(path, number, line))
    if torn and not texts:
        raise JournalError(f"{path.name} is no journal")
    return texts


def first(path: Path, kind: type[E]) -> E | None:
    """The first event of that kind; no line after it is read. Raises `OSError`, `JournalError` for a damaged line."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            text = _checked(path, number, line.removesuffix(b"\n"))
            if journal.is_event(text) and isinstance(event := journal.parse_event(text), kind):
                return event
    return None


def steps(lines: Sequence[str]) -> Iterator[Step]:
    """The lines grouped by event. Raises `JournalError` when they do not begin with one."""
    at = 0
    while at < len(lines):
        event = journal.parse_event(lines[at])
        end = at + 1
        while end < len(lines) and journal.is_effect(lines[end]):
            end += 1
        yield Step(at + 1, event, tuple(lines[at + 1 : end]))
        at = end
