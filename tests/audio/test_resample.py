"""Resampling keeps length and pitch."""

import numpy as np
import pytest

from pipeline.audio.resample import resample


def tone(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8_000, 16_000), (24_000, 8_000), (22_800, 8_000)])
def test_length_and_pitch_are_kept(from_rate: int, to_rate: int) -> None:
    found = resample(tone(440, from_rate), from_rate, to_rate)
    assert found.dtype == np.float32
    assert abs(len(found) - to_rate) <= 1
    loudest = np.argmax(np.abs(np.fft.rfft(found))) * to_rate / len(found)
    assert loudest == pytest.approx(440, abs=2)


def test_nothing_and_the_same_rate_pass_through() -> None:
    sound = tone(440, 8_000)
    assert resample(sound, 8_000, 8_000) is sound
    assert not len(resample(sound[:0], 8_000, 16_000))
