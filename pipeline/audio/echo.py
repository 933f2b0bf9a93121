"""Is a sound on the caller's side the agent's own voice coming back, and what was the agent just playing?

Pure arithmetic on levels. `Echo` compares the line with the loudest thing the agent played in
the last half second; it learns from the call itself whether there is an echo at all, so that
on a line without one nobody has to shout. `Playing` keeps that loudness. What a verdict leads
to is decided in `pipeline/audio/vad.py`.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from pipeline.audio.mulaw import RATE, loudness

LOUDEST_ECHO = 0.126
"""Echo returns at -18 dB of the agent's loudest window at most; anything louder is the caller."""
FAINTEST_ECHO = 0.032
"""-30 dB: below this no line is believed to be, however quiet it has been."""
MARGIN = 1.4
"""What was the loudest so far may be passed by this, 3 dB, before it is somebody."""
NEARLY = 0.4
"""8 dB below the limit: the softer parts of a voice that has passed it."""
WINDOWS = 96
"""Windows of the agent's voice, three seconds, that a line is judged by."""
ENOUGH = 24
LATE = 8
"""Windows learnt from only later, so that a voice does not raise the limit it is measured by."""
SHARE = 0.15
"""Of the windows under the agent's voice: with more of them voiced, and soft, it is the agent who is heard."""

LATELY_MS = 500
"""How long after it was played a sound may come back."""
PIECE_BYTES = 256


class Origin(Enum):
    """Whose a window can be."""

    CALLER = "louder than any echo"
    EITHER = "as loud as an echo"
    ECHO = "softer"


class Greatest:
    """The greatest value of the latest stretch. Places, of whatever kind, never go backwards.

    A value that a later one reaches can never be the greatest again, so that only a falling row is kept: asking
    costs the same however long the stretch is.
    """

    def __init__(self) -> None:
        self._row: deque[tuple[float, float]] = deque()

    def note(self, place: float, value: float) -> None:
        row = self._row
        while row and row[-1][1] <= value:
            row.pop()
        row.append((place, value))

    def since(self, place: float) -> float:
        """The greatest value at this place or later, for good: 0 when there is none."""
        row = self._row
        while row and row[0][0] < place:
            row.popleft()
        return row[0][1] if row else 0.0


class Echo:
    """One call's line. `loudest`: the strongest echo to reckon with, as a share of the agent's level."""

    def __init__(self, loudest: float = LOUDEST_ECHO) -> None:
        self._loudest = loudest
        self._recent: deque[tuple[float, bool]] = deque(maxlen=LATE)
        self._known: deque[bool] = deque(maxlen=WINDOWS)  # is it soft
        self._soft = 0  # how many of the known windows are
        self._shares = Greatest()  # by the number of the window
        self._learnt = 0

    @property
    def suspected(self) -> bool:
        """The agent is heard on the line, or too little was heard to tell."""
        return len(self._known) < ENOUGH or self._returns

    @property
    def found(self) -> bool:
        """The agent is heard on the line, for all that is known of it."""
        return len(self._known) >= ENOUGH and self._returns

    @property
    def _returns(self) -> bool:
        return self._soft > SHARE * len(self._known)

    @property
    def limit(self) -> float:
        """What an echo may come to now, as a share of the agent's level."""
        if self.suspected:
            return self._loudest
        loudest = self._shares.since(self._learnt - WINDOWS + 1)
        return min(self._loudest, max(FAINTEST_ECHO, MARGIN * loudest))

    def judge(self, level: int, agent: int, *, voiced: bool) -> Origin:
        """A window at `level` beside an agent at `agent`, more than 0."""
        share = level / agent
        limit = self.limit
        if len(self._recent) == LATE:
            self._learn(*self._recent[0])
        self._recent.append((share, voiced and share <= self._loudest))
        if share > limit:
            return Origin.CALLER
        return Origin.EITHER if share > NEARLY * limit else Origin.ECHO

    def _learn(self, share: float, soft: bool) -> None:
        if len(self._known) == WINDOWS:
            self._soft -= self._known[0]
        self._soft += soft
        self._known.append(soft)
        self._learnt += 1
        self._shares.note(self._learnt, share)


class Playing:
    """How loud the agent's sound has been lately. Times are any milliseconds that never go backwards."""

    def __init__(self) -> None:
        self._ahead: deque[tuple[float, int]] = deque()  # (begins, level), not known to have begun
        self._levels = Greatest()  # of what has, by when it ends
        self._free_at = 0.0

    def play(self, at_ms: float, sound: bytes) -> None:
        """mu-law queued behind what plays already."""
        self._free_at = max(self._free_at, at_ms)
        for start in range(0, len(sound), PIECE_BYTES):
            piece = sound[start : start + PIECE_BYTES]
            self._ahead.append((self._free_at, loudness(piece)))
            self._free_at += len(piece) * 1000 / RATE

    def cut(self, at_ms: float) -> None:
        """What has not begun to play by now never will."""
        while self._ahead and self._ahead[-1][0] > at_ms:
            self._ahead.pop()
        self._free_at = at_ms

    def loudest(self, at_ms: float) -> int:
        """The loudest piece that has begun by now and may still come back; 0 when there is none."""
        ahead = self._ahead
        while ahead and ahead[0][0] <= at_ms:
            begins, level = ahead.popleft()
            self._levels.note(begins + PIECE_BYTES * 1000 / RATE, level)
        return int(self._levels.since(at_ms - LATELY_MS))
