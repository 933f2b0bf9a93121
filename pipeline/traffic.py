"""Records what engines and caller gave a call, so that it can be replayed for ever, without either (level 2).

A line a fact, framed as in the journal (`journal_file.py`). `taped.py` notes them, and
`engines/replayed.py` plays them back; nothing is decided here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from pipeline.clock import Clock
from pipeline.core.errors import EngineError, JournalError
from pipeline.engines.base import Eager, Hearing, Partial, Resumed, Segment, Switched, Turn, Used
from pipeline.journal_file import frame, read_lines

log = structlog.get_logger()

SUFFIX = ".traffic"
FLUSH_BYTES = 64 * 1024

HEARINGS: dict[str, Callable[..., Hearing]] = {
    kind.__name__: kind for kind in (Partial, Segment, Eager, Resumed, Turn, Used, Switched)
}


ENDED = "ended"

# -- what a line says --------------------------------------------------------------------


class Fact(msgspec.Struct, tag_field="is", frozen=True, gc=False):
    """`of` numbers the openings, replies or utterances of a call, from 1, each seam for itself."""


class Sound(Fact, tag="caller", frozen=True, gc=False):
    """Caller sound as it arrived, `at_ms` after the call's first event."""

    at_ms: int
    mulaw: bytes


class Windows(Fact, tag="voice", frozen=True, gc=False):
    """Speech probabilities in order, and how loud the agent was at each."""

    probabilities: list[float]
    agent: list[int]


class Opened(Fact, tag="ear", frozen=True, gc=False):
    """A transcription was opened, or could not be."""

    of: int
    models: list[str]
    ends_turns: bool


class Heard(Fact, tag="heard", frozen=True, gc=False):
    """Of an opening that ended by itself the last has the kind `ENDED`."""

    of: int
    kind: str
    fields: list[str | int | bool]


class Wrote(Fact, tag="wrote", frozen=True, gc=False):
    """A piece of a reply; None is the wish to end the call."""

    of: int
    text: str | None


class Written(Fact, tag="written", frozen=True, gc=False):
    """A reply is over, of its own accord or cut off, and what was counted."""

    of: int
    model: str
    tokens: tuple[int, int, int, bool]
    cut: bool


class Spoke(Fact, tag="spoke", frozen=True, gc=False):
    of: int
    mulaw: bytes


class Spoken(Fact, tag="spoken", frozen=True, gc=False):
    """An utterance is over, of its own accord or cut off."""

    of: int
    text: str
    model: str
    cut: bool


class Clip(Fact, tag="clip", frozen=True, gc=False):
    """A phrase that was spoken from stock."""

    model: str
    voice: str
    text: str
    mulaw: bytes


class Failed(Fact, tag="failed", frozen=True, gc=False):
    """`seam`: ear, mind or voice."""

    seam: str
    of: int
    retryable: bool
    all_down: bool


AnyFact = Sound | Windows | Opened | Heard | Wrote | Written | Spoke | Spoken | Clip | Failed

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyFact).decode


def read(path: Path) -> list[AnyFact]:
    """Raises `JournalError` for a file that is damaged or none of ours, `OSError` for none at all."""
    lines = read_lines(path)
    try:
        facts: list[AnyFact] = [_decode(line) for line in lines]
    except msgspec.MsgspecError as error:
        raise JournalError(f"{path.name} is no record of engine traffic") from error
    return facts


# -- the tape ----------------------------------------------------------------------------


class Tape:
    """One call's traffic file. A disk that fails ends the taping and not the call."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._fd: int | None = os.open(path, flags, 0o600)
        self._clock = clock
        self._zero = clock.millis()
        self._waiting = bytearray()
        self._probabilities: list[float] = []
        self._levels: list[int] = []
        self._clips: set[str] = set()
        self._counts = {"ear": 0, "mind": 0, "voice": 0}
        self.path = path

    def begin(self) -> None:
        """The call's first event is now."""
        self._zero = self._clock.millis()

    def note(self, fact: AnyFact) -> None:
        if self._fd is None:
            return
        self._waiting += frame(_encode(fact).decode())
        if len(self._waiting) >= FLUSH_BYTES:
            self._write()

    def caller(self, mulaw: bytes) -> None:
        self.note(Sound(self._clock.millis() - self._zero, mulaw))

    def level(self, agent: int) -> int:
        """How loud the agent was at the next window."""
        self._levels.append(agent)
        return agent

    def window(self, probability: float) -> None:
        self._probabilities.append(probability)
        if len(self._probabilities) >= 32:
            self._note_windows()

    def clip(self, model: str, voice: str, text: str, mulaw: bytes) -> None:
        if text not in self._clips:
            self._clips.add(text)
            self.note(Clip(model, voice, text, mulaw))

    def next_of(self, seam: str) -> int:
        self._counts[seam] += 1
        return self._counts[seam]

    def failed(self, seam: str, of: int, error: EngineError) -> None:
        self.note(Failed(seam, of, error.retryable, error.kind == "all_down"))

    def close(self) -> None:
        self._note_windows()
        self._write()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _note_windows(self) -> None:
        count = len(self._probabilities)
        if count:
            self.note(Windows(self._probabilities, self._levels[:count]))
            self._probabilities, self._levels = [], self._levels[count:]

    def _write(self) -> None:
        if self._fd is None or not self._waiting:
            return
        waiting, self._waiting = bytes(self._waiting), bytearray()
        try:
            while waiting:
                waiting = waiting[os.write(self._fd, waiting) :]
        except OSError as error:
            log.error("traffic_lost", error=error.strerror)
            os.close(self._fd)
            self._fd = None
