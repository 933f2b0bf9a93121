"""What kind of sound a window of 32 ms is: has it a pitch, and does its colour move?

A voice has a pitch, a cough and a hiss have none; a hum ("mmm") and a tone have one and stay
what they are. Pure arithmetic on one window and the one before it; what counts as speech is
decided in `pipeline/audio/vad.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.audio import mulaw

Floats = NDArray[np.float32]

SIZE = 512
SHORTEST, LONGEST = 20, 115
"""Samples of one period: pitches of 400 down to 70 Hz."""
BANDS_HERTZ = (250, 450, 650, 900, 1_200, 1_600, 2_100, 2_700, 3_400)
FAINT = 1e-4
"""Of the whole, -40 dB: a softer band does not move."""

_SHAPE: Final = np.hanning(mulaw.RATE * 32 // 1000).astype(np.float32)
_HERTZ: Final = np.fft.rfftfreq(SIZE, 1 / mulaw.RATE)
_SPREAD: Final = np.fft.irfft(np.square(np.abs(np.fft.rfft(_SHAPE, SIZE))))
_EDGES: Final = np.searchsorted(_HERTZ, BANDS_HERTZ)


@dataclass(frozen=True, slots=True)
class Character:
    """One window. `pitched`: 0 for noise, 1 for a sound that repeats itself exactly; `bands`: decibels
    of each band against the whole."""

    pitched: float
    bands: Floats


def character(sound: bytes) -> Character:
    """Of one window of mu-law."""
    window = mulaw.to_float(mulaw.decode(sound))
    shape = _SHAPE if len(window) == len(_SHAPE) else np.hanning(len(window)).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(window * shape, SIZE))) + 1e-12  # silence has a colour too
    # Correlation of the window with itself, less what the window's own shape takes off at each distance.
    own = np.fft.irfft(power)
    pitched = np.max(own[SHORTEST:LONGEST] / _SPREAD[SHORTEST:LONGEST]) * _SPREAD[0] / own[0]
    bands = np.add.reduceat(power, _EDGES)[:-1] / power.sum()
    return Character(float(pitched), (10 * np.log10(bands + FAINT)).astype(np.float32))


def change(now: Character, before: Character) -> float:
    """How far the colour moved between two windows: mean decibels a band."""
    return float(np.abs(now.bands - before.bands).mean())
