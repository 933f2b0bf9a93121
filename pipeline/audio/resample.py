"""Sample rates of whole sounds.

soxr does the work; this module only fixes types and quality, so that everything else
speaks of float32 mono arrays and whole rates in hertz.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import soxr
from numpy.typing import NDArray

_QUALITY = "HQ"


def resample(sound: NDArray[np.float32], from_rate: float, to_rate: float) -> NDArray[np.float32]:
    """A whole sound at another rate; its length changes in proportion, to within a sample."""
    if from_rate == to_rate or not len(sound):
        return sound
    return cast("NDArray[np.float32]", soxr.resample(sound, from_rate, to_rate, quality=_QUALITY))
