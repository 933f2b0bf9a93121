"""Sample rates: whole sounds at once, or a stream piece by piece.

soxr does the work; this module only fixes types and quality, so that everything else
speaks of float32 mono arrays and whole rates in hertz.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import soxr
from numpy.typing import NDArray

_QUALITY = "HQ"


class _Stream(Protocol):
    def resample_chunk(self, x: NDArray[np.float32], last: bool) -> NDArray[np.float32]: ...


def resample(sound: NDArray[np.float32], from_rate: float, to_rate: float) -> NDArray[np.float32]:
    """A whole sound at another rate; its length changes in proportion, to within a sample."""
    if from_rate == to_rate or not len(sound):
        return sound
    return cast("NDArray[np.float32]", soxr.resample(sound, from_rate, to_rate, quality=_QUALITY))


class Resampler:
    """A stream at another rate. A few milliseconds stay inside until `last` flushes them."""

    def __init__(self, from_rate: float, to_rate: float) -> None:
        self._stream: _Stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality=_QUALITY)

    def push(self, sound: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """What can be said of the output so far; after `last`, nothing more may be pushed."""
        return self._stream.resample_chunk(sound, last)
