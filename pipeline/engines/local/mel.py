"""What Whisper looks at: the log-mel spectrogram of 16 kHz sound, in numpy.

80 bands on the Slaney scale, 25 ms Hann windows every 10 ms, as the model was trained on
(Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, 2.2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
_FFT = 400
_HOP = 160
_BANDS = 80

Floats = NDArray[np.float32]


def log_mel(sound: Floats) -> Floats:
    """[80, samples / 160] of sound in -1..1, scaled as the model expects it."""
    padded = np.pad(sound, _FFT // 2, mode="reflect")
    # The last frame is dropped, as in training.
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][: len(sound) // _HOP]
    spectrum = np.fft.rfft(frames * _hann(), axis=1).astype(np.complex64)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mel = np.log10(np.maximum(_filters() @ power.T, np.float32(1e-10)))
    mel = np.maximum(mel, mel.max() - 8)
    return np.ascontiguousarray((mel + 4) / 4, np.float32)


@cache
def _hann() -> Floats:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)


@cache
def _filters() -> Floats:
    """Triangles of equal area between neighbouring mel frequencies, [80, 201]."""
    edges = _to_hertz(np.linspace(_to_mel(0.0), _to_mel(RATE / 2), _BANDS + 2))
    bins = np.linspace(0.0, RATE / 2, _FFT // 2 + 1)
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


# Slaney's scale: linear below 1 kHz, 15 mels there, then 27 mels for each factor of 6.4.
def _to_mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _to_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mels - 15)))
