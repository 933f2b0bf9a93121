"""When the caller's voice starts, is speech beyond doubt, falls quiet, and stops.

Takes the speech probabilities of voice activity detection, a window of 32 ms at a time, each
with its sound and with how loud the agent has just been, and answers with facts. Pure: no
time, no waiting; it does not decide whose turn it is (`pipeline/core/turns.py`) nor what an
interruption does. Figures behind the constants: `benchmarks/interrupting.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.audio.echo import LOUDEST_ECHO, Echo, Origin
from pipeline.audio.hum import Character, change, character
from pipeline.audio.mulaw import loudness

WINDOW_MS = 32

VOICED = 0.5
"""A window at or above this is voiced."""
QUIET = 0.35
"""A window below this is quiet; between the two it proves nothing, so the voice does not flicker."""
START_WINDOWS = 3
START_WITHIN = 4
START_WITHIN_BESIDE = 5
"""Beside the agent's voice, where every window counts."""
STOP_MS = 200
UNSURE_MS = 1_000
"""Windows that prove nothing end a voice too, once there are this many milliseconds of them in a row."""
LONGEST_MS = 25_000
"""A voice that never pauses (a television) is cut here, so that what was said so far is heard at all."""

DOUBTFUL = 0.05
"""The model is slow to believe a soft beginning: beside the agent, a pitch and this much make a window voiced."""
PITCHED = 0.6
PITCHED_IN_ECHO = 0.6
"""Where the agent's echo is heard the model says speech to anything: only what has a pitch counts as words."""
STEADY_DB = 2.0
"""What moves less than this from window to window is a hum or a tone, and no words, unless the model is sure."""
WORDS = 2
"""Windows of words that a voice must have to be held,"""
WORDS_WITHIN = 7
"""among its latest of this number."""
ONSET_WINDOWS = 5
"""Windows before the first voiced one that may belong to the voice, by their level."""
ONSET_LEVEL = 0.06
"""Against the voice's loudest window, -24 dB."""
CARRIED = 5
"""Windows that the loud one before them carries over the echo's limit."""

FADE_MS = 128
"""Quiet after which a held voice has faded."""
SOON_MS = 256
"""So long after it was held, a voice that is on its way out is believed to be over: the last moment in which
a stop can be taken back without being missed."""
SOON_QUIET_MS = 64
SOFT = 0.22
"""Against the voice's loudest window, -13 dB: on its way out."""
BACK_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Started:
    """The voice began `onset_ms` ago, counted from the end of the latest window."""

    onset_ms: int


@dataclass(frozen=True, slots=True)
class Held:
    """Long enough to be speech and no click; at most once between `Started` and `Stopped`."""


@dataclass(frozen=True, slots=True)
class Faded:
    """A held voice went quiet `quiet_ms` ago. `Returned` or `Stopped` follows."""

    quiet_ms: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A voice that had faded goes on."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The voice ended `silence_ms` ago, counted from the end of the latest window."""

    silence_ms: int


Fact = Started | Held | Faded | Returned | Stopped


class _Window(NamedTuple):
    """What one window is taken for. `words`: voiced, and neither noise nor hum. `level` 0: not known."""

    voiced: bool = False
    quiet: bool = False
    words: bool = False
    level: int = 0
    hidden: bool = False
    """No louder than the agent's echo, which is known to be there: it may be that."""


@dataclass(slots=True)
class _Voice:
    """The voice now going on, in windows. `lasted` counts from its onset."""

    lasted: int
    loudest: int
    windows: int
    unvoiced: int = 0
    quiet: int = 0
    soft: int = 0
    since_held: int | None = None
    faded: bool = False
    back: int = 0

    def take(self, window: _Window) -> None:
        self.lasted += 1
        self.windows += 1
        if window.voiced:
            self.quiet = self.unvoiced = 0
            self.loudest = max(self.loudest, window.level)
        else:
            self.unvoiced += 1
            self.quiet += window.quiet or self.quiet > 0
        soft = window.hidden or 0 < window.level < SOFT * self.loudest
        self.soft = self.soft + 1 if soft else 0

    @property
    def over(self) -> bool:
        return (
            self.quiet * WINDOW_MS >= STOP_MS
            or self.unvoiced * WINDOW_MS >= UNSURE_MS
            or self.windows * WINDOW_MS >= LONGEST_MS
        )

    @property
    def fades(self) -> int:
        """Windows for which it has been going quiet, if that is long enough; 0 if not."""
        if self.quiet * WINDOW_MS >= FADE_MS:
            return self.quiet
        going = max(self.quiet, self.soft)
        soon = self.since_held is not None and self.since_held * WINDOW_MS == SOON_MS
        return going if soon and going * WINDOW_MS >= SOON_QUIET_MS else 0


class Detector:
    """One call's hysteresis.

    `barge_in_ms`: how long a voice lasts until it counts as held, to the nearest window. `loudest_echo`:
    the strongest echo of the agent to reckon with, as a share of the agent's level; where there is one,
    callers softer than that do not get through.
    """

    def __init__(self, barge_in_ms: int, *, loudest_echo: float = LOUDEST_ECHO) -> None:
        self._hold_windows = round(barge_in_ms / WINDOW_MS)
        self._words = min(WORDS, self._hold_windows)
        self._echo = Echo(loudest_echo)
        self._carried = 0
        self._before: Character | None = None
        self._latest: deque[_Window] = deque(maxlen=ONSET_WINDOWS + START_WITHIN_BESIDE)
        self._voice: _Voice | None = None
        self.echo = False
        """Whether the latest window was nothing but the agent, heard back."""

    def window(self, probability: float, sound: bytes = b"", agent: int = 0) -> list[Fact]:
        """Take the next window; the facts it settles, in order.

        `sound` is its mu-law, b"" when it is not known; `agent` how loud the agent's own sound was at most in
        the last half second (`echo.Playing`), 0 when it was silent.
        """
        window = self._taken_for(probability, sound, agent)
        self._latest.append(window)
        voice = self._voice
        if voice is None:
            return self._perhaps_start(beside=agent > 0)
        voice.take(window)
        if voice.over:
            self._voice = None
            self._latest.clear()
            return [Stopped(voice.unvoiced * WINDOW_MS)]
        if voice.since_held is None:
            return self._perhaps_hold(voice)
        voice.since_held += 1
        return self._perhaps_turn(voice, window)

    def _taken_for(self, probability: float, sound: bytes, agent: int) -> _Window:
        level = loudness(sound)
        voiced = words = probability >= VOICED
        quiet = probability < QUIET
        self.echo = False
        if not sound or not agent:
            return _Window(voiced, quiet, words, level)
        suspected, found = self._echo.suspected, self._echo.found
        origin = self._echo.judge(level, agent, voiced=voiced)
        hidden = found and origin is not Origin.CALLER
        if not self._passes(origin, suspected=suspected):
            self._before = None
            self.echo = found
            return _Window(quiet=True, level=level, hidden=hidden)
        held = self._voice is not None and self._voice.since_held is not None
        unclear = suspected == voiced and probability >= DOUBTFUL
        if held or not unclear:
            self._before = None
            return _Window(voiced, quiet, words, level, hidden)
        now, before = character(sound), self._before
        self._before = now
        if not suspected and now.pitched >= PITCHED:
            voiced, quiet = True, False
        moves = before is not None and change(now, before) >= STEADY_DB
        words = voiced and moves and (not suspected or now.pitched >= PITCHED_IN_ECHO)
        return _Window(voiced, quiet, words, level, hidden)

    def _passes(self, origin: Origin, *, suspected: bool) -> bool:
        """Whether a window beside the agent's voice is the caller's.

        On a line with an echo each loud window carries a few softer ones; on one without, the whole voice.
        """
        if origin is Origin.CALLER:
            self._carried = CARRIED
        self._carried -= 1
        if suspected:
            return self._carried >= 0 and origin is not Origin.ECHO
        return self._carried >= 0 or self._voice is not None

    def _perhaps_start(self, *, beside: bool) -> list[Fact]:
        latest = list(self._latest)
        recent = latest[-(START_WITHIN_BESIDE if beside else START_WITHIN) :]
        if sum(window.voiced for window in recent) < START_WINDOWS or not recent[-1].voiced:
            return []
        first = len(latest) - len(recent) + [window.voiced for window in recent].index(True)
        loudest = max(window.level for window in latest[first:])
        # An echo hides how a voice begins; elsewhere its level tells.
        hidden = beside and self._echo.suspected
        before = 1 if hidden else _leading(latest[:first], ONSET_LEVEL * loudest)
        lasted = len(latest) - first
        voice = _Voice(lasted + before, loudest, lasted)
        self._voice = voice
        return [Started((lasted + before) * WINDOW_MS), *self._perhaps_hold(voice)]

    def _perhaps_hold(self, voice: _Voice) -> list[Fact]:
        latest = list(self._latest)
        words = sum(window.words for window in latest[-WORDS_WITHIN:])
        if voice.lasted < self._hold_windows or words < self._words or not latest[-1].voiced:
            return []
        voice.since_held = 0
        return [Held()]

    def _perhaps_turn(self, voice: _Voice, window: _Window) -> list[Fact]:
        """A held voice falls quiet or comes back."""
        if not voice.faded:
            if quiet := voice.fades:
                voice.faded, voice.back = True, 0
                return [Faded(quiet * WINDOW_MS)]
            return []
        voice.back = voice.back + 1 if window.voiced and not voice.soft else 0
        if voice.back < BACK_WINDOWS:
            return []
        voice.faded = False
        return [Returned()]


def _leading(earlier: list[_Window], level: float) -> int:
    """How many windows in a row before the first voiced one are too loud to be silence."""
    count = 0
    for window in reversed(earlier[-ONSET_WINDOWS:]):
        if not 0 < level < window.level:
            break
        count += 1
    return count
