"""What kind of sound a window of 32 ms is: sung or rushing, dull or bright, steady or moving.

A voice has a pitch, a cough and a hiss have none; a hum ("mhm") has one, nearly all of it below
900 Hz, and does not move. Pure arithmetic on one window and the one before it; what counts as
speech is decided in `pipeline/audio/vad.py`.
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
DULL_HERTZ = 900
BANDS_HERTZ = (250, 450, 650, 900, 1_200, 1_600, 2_100, 2_700, 3_400)
FLOOR = 1e-9

_SHAPE: Final = np.hanning(mulaw.RATE * 32 // 1000).astype(np.float32)
_HERTZ: Final = np.fft.rfftfreq(SIZE, 1 / mulaw.RATE)
_SPREAD: Final = np.fft.irfft(np.square(np.abs(np.fft.rfft(_SHAPE, SIZE))))
_EDGES: Final = np.searchsorted(_HERTZ, BANDS_HERTZ)
_DULL: Final = int(np.searchsorted(_HERTZ, DULL_HERTZ))


@dataclass(frozen=True, slots=True)
class Character:
    """One window. `bands` are decibels of each band against the whole.

    `pitched`: 0 for noise, 1 for a sound that repeats itself exactly; `dull`: the share below 900 Hz.
    """

    pitched: float
    dull: float
    bands: Floats


def character(sound: bytes) -> Character:
    """Of one window of mu-law."""
    window = mulaw.to_float(mulaw.decode(sound))
    shape = _SHAPE if len(window) == len(_SHAPE) else np.hanning(len(window)).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(window * shape, SIZE))) + FLOOR / SIZE
    # Correlation of the window with itself, less what the window's own shape takes off at each distance.
    own = np.fft.irfft(power)
    pitched = float(np.max(own[SHORTEST:LONGEST] / _SPREAD[SHORTEST:LONGEST])) * _SPREAD[0] / own[0]
    total = float(power.sum())
    bands = np.add.reduceat(power, _EDGES)[:-1] / total
    return Character(
        float(pitched), float(power[:_DULL].sum()) / total, (10 * np.log10(bands + 1e-4)).astype(np.float32)
    )


def change(now: Character, before: Character) -> float:
    """How far the colour moved between two windows: mean decibels a band."""
    return float(np.abs(now.bands - before.bands).mean())
