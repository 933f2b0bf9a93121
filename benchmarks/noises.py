"""Sounds of a person or a line that say nothing: coughs, breath, clicks, hum, hiss, keys.

Rough likenesses made of noise, pulses and resonances. A cough is a burst, a rush of air through an open
throat and, often, a hoarse voiced end; it is that end which passes for speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 8_000

Floats = NDArray[np.float32]
Chance = np.random.Generator

KEYS = ((697, 1209), (770, 1336), (852, 1477), (941, 1336), (697, 1633), (941, 1477))


def every(chance: Chance) -> Iterator[tuple[str, list[Floats]]]:
    """Each kind with its sounds, in the band of the microphone, at the levels a phone brings them."""
    yield "cough", [cough(chance, bursts=1 + number % 3, hoarse=number % 4 / 4) for number in range(32)]
    yield "throat", [throat(chance) for _ in range(12)]
    yield "breath", [breath(chance) for _ in range(16)]
    yield "click", [click(chance, 1 + number % 4) for number in range(12)]
    yield "key", [key(chance, *pair) for pair in KEYS]
    yield (
        "murmured mm",
        [mm(chance, ms) for ms in (200, 300, 400, 500, 600, 700, 800, 1_000, 1_200, 1_500) for _ in "ab"],
    )
    yield "hum", [hum(chance, hertz) for hertz in (50, 60) for _ in range(4)]
    yield "hiss", [hiss(chance, level) for level in (-52, -46, -40, -36, -32, -28, -24, -20)]
    yield "crackle", [crackle(chance, rate) for rate in (4, 10, 25, 60, 120, 250)]


def resonant(sound: Floats, peaks: Sequence[tuple[float, float, float]]) -> Floats:
    """Through resonances, each (hertz, width, height)."""
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    shape = sum(
        height / np.sqrt(1 + ((hertz - centre) / (width / 2)) ** 2) for centre, width, height in peaks
    )
    return np.fft.irfft(np.fft.rfft(sound) * shape, len(sound)).astype(np.float32)


def pulses(chance: Chance, size: int, hertz: float, *, jitter: float, glide: float = 0.0) -> Floats:
    """A glottis: pulses at a pitch that wavers and glides by `glide` of itself."""
    sound = np.zeros(size, np.float32)
    at = 0.0
    while at < size:
        sound[int(at)] = 1.0 + jitter * chance.standard_normal()
        pitch = hertz * (1 + glide * at / size) * (1 + jitter * chance.standard_normal())
        at += RATE / max(40.0, pitch)
    return sound


def throat_shape(chance: Chance) -> list[tuple[float, float, float]]:
    """Resonances of an open throat, a person's own."""
    size = chance.uniform(0.85, 1.2)
    return [(650 * size, 200, 1.0), (1_250 * size, 250, 0.6), (2_500 * size, 400, 0.35), (1_500, 3_000, 0.12)]


def scaled(sound: Floats, level_db: float) -> Floats:
    """At a loudness, measured where it sounds."""
    loud = sound[np.abs(sound) > 0.05 * np.abs(sound).max()]
    return sound * np.float32(10 ** (level_db / 20) / np.sqrt(np.mean(np.square(loud))))


def swell(size: int, rise_ms: float, fall_ms: float) -> Floats:
    """Up and down again, softly at both ends."""
    at = np.arange(size, dtype=np.float32) / RATE * 1_000
    fall = np.clip((size / RATE * 1_000 - at) / fall_ms, 0, 1)
    return (np.clip(at / rise_ms, 0, 1) * fall).astype(np.float32)


def cough(chance: Chance, *, bursts: int, hoarse: float) -> Floats:
    """One to three coughs in a row; `hoarse` is how much voice is in their ends."""
    parts: list[Floats] = []
    shape = throat_shape(chance)
    for _ in range(bursts):
        size = int(chance.uniform(140, 320) * 8)
        at = np.arange(size) / RATE * 1_000
        rush = chance.standard_normal(size) * (
            np.exp(-at / 25) + 0.45 * np.exp(-at / chance.uniform(60, 120))
        )
        pitch = chance.uniform(140, 320)
        voice = pulses(chance, size, pitch, jitter=0.12, glide=-0.3) * np.clip((at - 60) / 40, 0, 1)
        sound = rush + 6 * hoarse * voice * np.exp(-at / 150)
        parts += [resonant(sound.astype(np.float32), shape) * swell(size, 2, 40)]
        parts += [np.zeros(int(chance.uniform(60, 260) * 8), np.float32)]
    return scaled(np.concatenate(parts), chance.uniform(-28, -14))


def throat(chance: Chance) -> Floats:
    """Somebody clears their throat: low, rough, half noise."""
    size = int(chance.uniform(180, 450) * 8)
    voice = pulses(chance, size, chance.uniform(70, 110), jitter=0.2) + 0.12 * chance.standard_normal(size)
    made = resonant(voice.astype(np.float32), throat_shape(chance)) * swell(size, 30, 80)
    return scaled(made, chance.uniform(-30, -20))


def mm(chance: Chance, ms: int) -> Floats:
    """Somebody hums with closed lips: a steady pitch, nearly all of it below 500 Hz."""
    size, pitch = ms * 8, chance.uniform(90, 240)
    nose = [(280, 120, 1.0), (1_000, 200, 0.05), (2_200, 300, 0.03)]
    voice = pulses(chance, size, pitch, jitter=0.01, glide=chance.uniform(-0.15, 0.15))
    return scaled(resonant(voice, nose) * swell(size, 40, 80), chance.uniform(-30, -20))


def breath(chance: Chance) -> Floats:
    """Air on the microphone, in or out."""
    size = int(chance.uniform(300, 900) * 8)
    air = chance.standard_normal(size).astype(np.float32)
    shape = [(chance.uniform(400, 1_800), 1_500, 1.0), (2_600, 1_000, 0.4)]
    return scaled(resonant(air, shape) * swell(size, 120, 200), chance.uniform(-42, -26))


def click(chance: Chance, times: int) -> Floats:
    """A switch, a tap, a dropped packet."""
    sound = np.zeros(times * 900 + 200, np.float32)
    for number in range(times):
        size = int(chance.uniform(2, 14) * 8)
        at = number * 900 + int(chance.integers(200))
        sound[at : at + size] += chance.standard_normal(size) * np.exp(-np.arange(size) / (size / 4))
    return (sound * np.float32(chance.uniform(0.2, 0.8))).astype(np.float32)


def key(chance: Chance, low: int, high: int) -> Floats:
    """A pressed key."""
    at = np.arange(int(chance.uniform(90, 260) * 8)) / RATE
    tones = np.sin(2 * np.pi * low * at) + np.sin(2 * np.pi * high * at)
    return scaled(tones.astype(np.float32), chance.uniform(-20, -10))


def hum(chance: Chance, hertz: int) -> Floats:
    """Mains with its harmonics, for two seconds. Those under 300 Hz do not pass the line."""
    at = np.arange(2 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * hertz * n * at + chance.uniform(0, 6)) / n for n in range(1, 24))
    return scaled(np.asarray(tones, np.float32), chance.uniform(-40, -22))


def hiss(chance: Chance, level_db: float) -> Floats:
    """White noise that sets in at once."""
    return scaled(chance.standard_normal(2 * RATE).astype(np.float32), level_db)


def crackle(chance: Chance, a_second: float) -> Floats:
    """Random short clicks for two seconds."""
    sound = np.zeros(2 * RATE, np.float32)
    for at in chance.integers(0, len(sound) - 40, int(2 * a_second)):
        sound[at : at + 24] += (
            chance.standard_normal(24) * np.exp(-np.arange(24) / 6) * chance.uniform(0.1, 0.5)
        )
    return sound
