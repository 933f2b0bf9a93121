"""Records what engines and caller gave a call, so that it can be replayed for ever, without either (level 2).

A line a fact, framed as in the journal (`journal_file.py`). `taped.py` notes them, and
`engines/replayed.py` plays them back; nothing is decided here. A thread of the tape's own writes,
once a second: a killed process loses about the last second of it, while the journal loses nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from pipeline.clock import Clock
from pipeline.core.errors import EngineError, JournalError
from pipeline.core.money import Millis
from pipeline.disk import DiskThread
from pipeline.engines.base import Eager, Hearing, Partial, Resumed, Segment, Switched, Turn, Used
from pipeline.journal_file import frame, read_lines
from pipeline.moments import Moments

SUFFIX = ".traffic"
FLUSH_MS = 1_000
"""How much of a call waits to be written."""
FRAMES = 10
"""Pieces of caller sound that make one line."""
WINDOWS = 32
VERSION = 2
BEHIND = 600
"""Seconds of a call that may wait for a slow disk; an offline call has many of them in one of the clock's."""
CLOSING_S = 2.0
"""How long the end of a call waits for the disk; what is written later is still whole."""

HEARINGS: dict[str, Callable[..., Hearing]] = {
    kind.__name__: kind for kind in (Partial, Segment, Eager, Resumed, Turn, Used, Switched)
}


ENDED = "ended"

# -- what a line says --------------------------------------------------------------------

After = tuple[int, int] | None
"""As in `moments.py`; None on older tapes."""


class Fact(msgspec.Struct, tag_field="is", frozen=True, gc=False):
    """`of` numbers the openings, replies or utterances of a call, from 1, each seam for itself."""


class Begun(Fact, tag="begun", frozen=True, gc=False):
    """The first line of a tape; those of version 1 have none, and no `Closed`."""

    version: int


class Posted(Fact, tag="posted", frozen=True, gc=False):
    """In which moment (`moments.py`) each event of the journal but the first was posted, in the journal's order."""

    moments: list[int]


class Closed(Fact, tag="closed", frozen=True, gc=False):
    """The last line: nothing was lost before it."""


class Sound(Fact, tag="caller", frozen=True, gc=False):
    """Pieces of caller sound, all of one length, and when each arrived after the call's first event."""

    at_ms: list[int]
    mulaw: bytes

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        size = len(self.mulaw) // len(self.at_ms)
        for number, at in enumerate(self.at_ms):
            yield at, self.mulaw[number * size : (number + 1) * size]


class Windows(Fact, tag="voice", frozen=True, gc=False):
    """Speech probabilities in order, and how loud the agent was at each."""

    probabilities: list[float]
    agent: list[int]


class Asked(Fact, tag="asked", frozen=True, gc=False):
    """An engine was asked for something: the `seam` as in `Failed`. Or an utterance or phrase was begun: `mouth`."""

    seam: str
    of: int
    at_ms: int
    after: After = None


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


class Ceiling(Fact, tag="ceiling", frozen=True, gc=False):
    """A reply ended because of its ceiling of tokens."""

    of: int


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
    at_ms: int
    text: str
    model: str
    cut: bool
    sent: bool = True
    """Its text was out by then."""
    after: After = None


class VoiceOpened(Fact, tag="voice-opened", frozen=True, gc=False):
    """A voice could be spoken with, so long into the call."""

    of: int
    at_ms: int
    after: After = None


class Clip(Fact, tag="clip", frozen=True, gc=False):
    """A phrase that was there without being rendered in this call, first found then.

    `misses`: how often it was asked for before and was not there; None on tapes older than this count.
    """

    at_ms: int
    model: str
    voice: str
    text: str
    mulaw: bytes
    misses: int | None = None


class Failed(Fact, tag="failed", frozen=True, gc=False):
    """`seam`: ear, mind, voice, or voice-open, the opening of one. `at_ms` as above."""

    seam: str
    of: int
    retryable: bool
    all_down: bool
    at_ms: int
    after: After = None


Timed = Asked | VoiceOpened | Spoken | Failed
"""Facts that count from when they took place."""


AnyFact = (
    Begun
    | Posted
    | Sound
    | Windows
    | Asked
    | Opened
    | Heard
    | Wrote
    | Ceiling
    | Written
    | VoiceOpened
    | Spoke
    | Spoken
    | Clip
    | Failed
    | Closed
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyFact).decode


def read(path: Path) -> list[AnyFact]:
    """Raises `JournalError` for a file that is damaged or none of ours, `OSError` for none at all."""
    lines = read_lines(path)
    try:
        return [_fact(line) for line in lines]
    except (msgspec.MsgspecError, ValueError) as error:
        raise JournalError(f"{path.name} is no record of engine traffic") from error


def complete(facts: Sequence[AnyFact]) -> bool:
    """Whether the tape was closed; one of version 1 does not say, and is taken for whole unless it is empty."""
    if not facts or not isinstance(facts[0], Begun):
        return bool(facts)
    return isinstance(facts[-1], Closed)


def _line(fact: AnyFact) -> bytes:
    try:
        return frame(_encode(fact).decode())
    except UnicodeEncodeError:  # half an emoji, from a model that parts one between two pieces
        return frame(json.dumps(msgspec.to_builtins(fact)))


def _fact(line: str) -> AnyFact:
    try:
        fact: AnyFact = _decode(line)
    except msgspec.DecodeError:
        fact = msgspec.convert(json.loads(line), AnyFact)
    return fact


# -- the tape ----------------------------------------------------------------------------


class Tape:
    """One call's traffic file. A disk that fails or falls behind ends the taping and not the call."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._fd = fd = os.open(path, flags, 0o600)
        self._disk = DiskThread("traffic", self._write, lambda: os.close(fd), behind=BEHIND)
        self._writer: DiskThread[Sequence[AnyFact]] | None = self._disk
        self._clock = clock
        self._zero = self._flushed = clock.millis()
        self._waiting: list[AnyFact] = []
        self._begun = False
        self._heard_at: list[int] = []
        self._heard = bytearray()
        self._probabilities: list[float] = []
        self._levels: list[int] = []
        self._clips: set[tuple[str, str]] = set()
        self._counts = {"ear": 0, "mind": 0, "voice": 0, "voice-open": 0, "mouth": 0}
        self.moments = Moments()
        self.path = path

    def begin(self, ago_ms: int = 0) -> None:
        """The call's first event is now, or was so long ago."""
        self._zero = Millis(self._clock.millis() - ago_ms)

    def now(self) -> int:
        return self._clock.millis() - self._zero

    def note(self, fact: AnyFact) -> None:
        if self._writer is None:
            return
        self._waiting.append(fact)
        if self._clock.millis() - self._flushed >= FLUSH_MS:
            self._flush(self._writer)

    def caller(self, mulaw: bytes) -> None:
        if self._heard_at and len(mulaw) * len(self._heard_at) != len(self._heard):
            self._note_sound()
        self._heard_at.append(self.now())
        self._heard += mulaw
        if len(self._heard_at) >= FRAMES:
            self._note_sound()

    def level(self, agent: int) -> int:
        """How loud the agent was at the next window."""
        self._levels.append(agent)
        return agent

    def window(self, probability: float) -> None:
        self._probabilities.append(probability)
        if len(self._probabilities) >= WINDOWS:
            self._note_windows()

    def clip(self, model: str, voice: str, text: str, mulaw: bytes, misses: int) -> None:
        """A phrase was found that this call did not render; it was asked for so often before in vain."""
        if (model, text) not in self._clips:
            self._clips.add((model, text))
            self.note(Clip(self.now(), model, voice, text, mulaw, misses))

    def next_of(self, seam: str) -> int:
        self._counts[seam] += 1
        self.note(Asked(seam, self._counts[seam], self.now(), self.moments.after))
        return self._counts[seam]

    async def speaks(self) -> None:
        """The agent begins an utterance, or to render a phrase."""
        self.next_of("mouth")

    def voice_opened(self, of: int) -> None:
        self.note(VoiceOpened(of, self.now(), self.moments.after))

    def failed(self, seam: str, of: int, error: EngineError) -> None:
        # By its kind, which the call is told: of several engines it is that of the last one's failure.
        kind = error.kind
        self.note(Failed(seam, of, kind == "retryable", kind == "all_down", self.now(), self.moments.after))

    def finish(self, *, whole: bool = True) -> None:
        """Nothing more is noted. What was is on its way to the disk, for which nobody waits.

        `whole`: the call has come to its end, and was not given up with this process.
        """
        if self._writer is not None:
            self._flush(self._writer)
        if (writer := self._writer) is not None:  # not given up with the last flush
            if self._begun and whole:
                writer.take([Closed()])
            self._writer = None
            writer.finish()

    def close(self) -> None:
        """Finish and wait until all is written, unless the disk hangs. Blocking, so not for where calls live."""
        self.finish()
        self._disk.join(CLOSING_S)

    def _note_sound(self) -> None:
        at, heard = self._heard_at, bytes(self._heard)
        self._heard_at, self._heard = [], bytearray()
        if heard:
            self.note(Sound(at, heard))

    def _note_windows(self) -> None:
        count = len(self._probabilities)
        if count:
            fact = Windows(self._probabilities, self._levels[:count])
            self._probabilities, self._levels = [], self._levels[count:]
            self.note(fact)

    def _note_moments(self) -> None:
        if moments := self.moments.told():
            self.note(Posted(moments))

    def _flush(self, writer: DiskThread[Sequence[AnyFact]]) -> None:
        self._flushed = self._clock.millis()
        self._note_sound()
        self._note_windows()
        self._note_moments()
        facts, self._waiting = self._waiting, []
        if facts and not self._begun:
            self._begun, facts = True, [Begun(VERSION), *facts]
        if facts and not writer.take(facts):
            self._writer = None
            writer.finish()

    def _write(self, facts: Sequence[AnyFact]) -> None:
        """In the thread."""
        lines = b"".join(map(_line, facts))
        while lines:
            lines = lines[os.write(self._fd, lines) :]
