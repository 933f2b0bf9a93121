"""The tone after which an answering machine records: one steady frequency, then none.

Speech changes its pitch and has overtones; a busy tone and a pressed key are two frequencies
at once, and so is a ringing tone, whose two are so near that they beat. Pure: fed with sound,
answers with whether a tone has just ended.
"""

from __future__ import annotations

import numpy as np

from pipeline.audio import mulaw

WINDOW = 256
"""Samples: 32 ms, a resolution of 31 Hz."""
LOWEST_HERTZ, HIGHEST_HERTZ = 350, 2_700
PURE = 0.85
"""Of the energy, in the peak and its two neighbours on either side."""
PARTS, EVEN = 8, 0.3
"""The quietest 4 ms of a window has so much of the energy of the loudest: two near frequencies swell and fade."""
STEADY_WINDOWS = 4
"""A tone fills at least so many windows: one of 160 ms does wherever it begins."""
LOUDNESS = 300

_WEIGHTS = np.hanning(WINDOW).astype(np.float32)
_BIN_HERTZ = mulaw.RATE / WINDOW


class BeepDetector:
    def __init__(self) -> None:
        self._rest = b""
        self._peak = -1
        self._steady = 0

    def feed(self, sound: bytes) -> bool:
        """Take sound of any length; True once for each tone, when it is over."""
        self._rest += sound
        ended = False
        while len(self._rest) >= WINDOW:
            window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            ended = self._window(_tone(window)) or ended
        return ended

    def _window(self, peak: int) -> bool:
        if peak >= 0 and abs(peak - self._peak) <= 1:
            self._steady += 1
            return False
        over = self._steady >= STEADY_WINDOWS
        self._peak, self._steady = peak, int(peak >= 0)
        return over


def _tone(window: bytes) -> int:
    """Where in the spectrum a pure tone stands, -1 for anything else."""
    if mulaw.loudness(window) < LOUDNESS:
        return -1
    sound = mulaw.to_float(mulaw.decode(window))
    parts = np.square(sound).reshape(PARTS, -1).sum(axis=1)
    if parts.min() < EVEN * parts.max():
        return -1
    power = np.square(np.abs(np.fft.rfft(sound * _WEIGHTS)))
    peak = int(np.argmax(power))
    if not LOWEST_HERTZ <= peak * _BIN_HERTZ <= HIGHEST_HERTZ:
        return -1
    return peak if float(power[peak - 2 : peak + 3].sum()) >= PURE * float(power.sum()) else -1
