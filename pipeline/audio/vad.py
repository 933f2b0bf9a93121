"""When the caller's voice starts, is speech beyond doubt, and stops.

Takes the speech probabilities of voice activity detection, a window of 32 ms at a time,
and answers with facts. Pure: no time, no sound, no waiting; it does not decide whose
turn it is (`pipeline/core/turns.py`) nor what an interruption does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_MS = 32

VOICED = 0.5
"""A window at or above this is voiced."""
QUIET = 0.35
"""A window below this is quiet; between the two it proves nothing, so the voice does not flicker."""
START_WINDOWS = 3
START_WITHIN = 4
STOP_MS = 200
FADE_MS = 96
UNSURE_MS = 1_000
"""Windows that prove nothing end a voice too, once there are this many milliseconds of them in a row."""
LONGEST_MS = 25_000
"""A voice that never pauses (a television) is cut here, so that what was said so far is heard at all."""


@dataclass(frozen=True, slots=True)
class Started:
    """The voice began `onset_ms` ago, counted from the end of the latest window."""

    onset_ms: int


@dataclass(frozen=True, slots=True)
class Held:
    """Voiced long enough to be speech and no click; at most once between `Started` and `Stopped`."""


@dataclass(frozen=True, slots=True)
class Faded:
    """A held voice has been quiet for `quiet_ms`: over, or between two words."""

    quiet_ms: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A faded voice goes on."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The voice ended `silence_ms` ago, counted from the end of the latest window."""

    silence_ms: int


Fact = Started | Held | Faded | Returned | Stopped


@dataclass(slots=True)
class _Voice:
    """The voice now going on, in windows."""

    voiced: int
    windows: int = 0
    unvoiced: int = 0
    quiet: int = 0
    held: bool = False
    faded: bool = False
    back: int = 0


class Detector:
    """One call's hysteresis. `barge_in_ms`: voiced sound after which the voice counts as held."""

    def __init__(self, barge_in_ms: int) -> None:
        self._barge_in_ms = barge_in_ms
        self._latest: deque[bool] = deque(maxlen=START_WITHIN)
        self._voice: _Voice | None = None

    def window(self, probability: float, sound: bytes = b"", agent: int = 0) -> list[Fact]:
        """Take the next window; the facts it settles, in order."""
        voiced = probability >= VOICED
        if self._voice is None:
            self._latest.append(voiced)
            return self._perhaps_start()
        voice = self._voice
        voice.voiced += voiced
        voice.windows += 1
        if voiced:
            voice.quiet = voice.unvoiced = 0
        else:
            voice.unvoiced += 1
            voice.quiet += probability < QUIET or voice.quiet > 0
        stopped = voice.quiet * WINDOW_MS >= STOP_MS or voice.unvoiced * WINDOW_MS >= UNSURE_MS
        if stopped or voice.windows * WINDOW_MS >= LONGEST_MS:
            self._voice = None
            self._latest.clear()
            return [Stopped(voice.unvoiced * WINDOW_MS)]
        return [*self._perhaps_hold(voice), *self._perhaps_fade(voice, voiced)]

    def _perhaps_fade(self, voice: _Voice, voiced: bool) -> list[Fact]:
        if not voice.held:
            return []
        voice.back = voice.back + 1 if voiced else 0
        if voice.faded and voice.back >= 2:
            voice.faded = False
            return [Returned()]
        if not voice.faded and voice.quiet * WINDOW_MS >= FADE_MS:
            voice.faded = True
            return [Faded(voice.unvoiced * WINDOW_MS)]
        return []

    def _perhaps_start(self) -> list[Fact]:
        voiced = sum(self._latest)
        if voiced < START_WINDOWS:
            return []
        onset = len(self._latest) - list(self._latest).index(True)
        self._voice = _Voice(voiced)
        return [Started(onset * WINDOW_MS), *self._perhaps_hold(self._voice)]

    def _perhaps_hold(self, voice: _Voice) -> list[Fact]:
        if voice.held or voice.voiced * WINDOW_MS < self._barge_in_ms:
            return []
        voice.held = True
        return [Held()]
