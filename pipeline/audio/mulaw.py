"""mu-law, the sound of the telephone: 8 kHz, one byte a sample.

The only module that touches audioop (the standard library's up to 3.12, audioop-lts
after). Sound inside the server is always mu-law bytes; numpy arrays are for models and
for measuring.
"""

from __future__ import annotations

import audioop

import numpy as np
from numpy.typing import NDArray

RATE = 8_000
"""Samples, and bytes, a second."""

SILENCE = 0xFF
"""The byte of a zero sample."""

FRAME = 160
"""Bytes of one carrier frame, 20 ms."""

LOUD = 400
"""Linear amplitude (of 32,124) from which a sample counts as sound."""
LOUD_SAMPLES = 12
"""Loud samples that make a frame a loud one; a lone click has fewer."""


def decode(mulaw: bytes) -> NDArray[np.int16]:
    """Linear samples, one a byte, within ±32,124."""
    return np.frombuffer(audioop.ulaw2lin(mulaw, 2), np.int16)


def encode(pcm: NDArray[np.int16]) -> bytes:
    """One byte a sample; the quietest of equally near codes wins, so zero stays `SILENCE`."""
    return audioop.lin2ulaw(np.ascontiguousarray(pcm, np.int16).tobytes(), 2)


def to_float(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples within -1..1."""
    return pcm.astype(np.float32) * np.float32(1 / 32_768)


def from_float(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples of -1..1 as integers; what is louder is clipped."""
    scaled: NDArray[np.float32] = np.rint(np.clip(sound, -1.0, 1.0) * np.float32(32_767))
    return scaled.astype(np.int16)


def loudness(mulaw: bytes) -> int:
    """Root mean square of the linear samples, 0..32,124; 0 for no samples."""
    return audioop.rms(audioop.ulaw2lin(mulaw, 2), 2)


def silence(ms: int) -> bytes:
    return bytes([SILENCE]) * (ms * RATE // 1000)


def duration_ms(mulaw: bytes) -> int:
    """Whole milliseconds, rounded down."""
    return len(mulaw) * 1000 // RATE


def _amplitude(code: int) -> int:
    code = ~code & 0xFF
    return (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84


_IS_LOUD = bytes(int(_amplitude(code) >= LOUD) for code in range(256))


def is_loud(frame: bytes) -> bool:
    """Whether a frame holds more than a click. Cheap enough for every frame of every call."""
    return frame.translate(_IS_LOUD).count(1) >= LOUD_SAMPLES
