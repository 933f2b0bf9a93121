"""Sounds of known kinds are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.audio import mulaw
from pipeline.audio.hum import Character, change, character

SIZE = 256
TIME = np.arange(SIZE) / mulaw.RATE

Wave = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def of(wave: Wave) -> Character:
    return character(mulaw.encode((6_000 * wave / np.abs(wave).max()).astype(np.int16)))


def voice(pitch: float, peak: float) -> Wave:
    """Harmonics of a pitch between 300 and 3400 Hz, strongest at `peak`."""
    hertz = np.arange(pitch, 3_400, pitch)
    hertz = hertz[hertz > 300]
    heights = 1 / (1 + np.square((hertz - peak) / 250))
    return np.asarray((heights[:, None] * np.sin(2 * np.pi * hertz[:, None] * TIME)).sum(axis=0))


@pytest.mark.parametrize("pitch", [80.0, 110.0, 160.0, 220.0, 300.0, 390.0])
def test_a_voice_has_a_pitch(pitch: float) -> None:
    assert of(voice(pitch, 700)).pitched > 0.8


@pytest.mark.parametrize("seed", range(10))
def test_noise_has_none(seed: int) -> None:
    assert of(np.random.default_rng(seed).standard_normal(SIZE)).pitched < 0.5


def test_another_vowel_moves_and_another_loudness_does_not() -> None:
    one, other = of(voice(120, 500)), of(voice(120, 1_500))
    assert change(one, other) > 4
    softer = character(mulaw.encode((1_500 * voice(120, 500) / 3).astype(np.int16)))
    assert change(one, softer) < 1
    assert change(one, one) == 0


@pytest.mark.parametrize("sound", [mulaw.silence(32), b"\x80" * SIZE, b"\xff" * 10, b"\x00"])
def test_any_sound_has_a_character(sound: bytes) -> None:
    found = character(sound)
    assert np.isfinite(found.bands).all()
    assert np.isfinite(found.pitched)
