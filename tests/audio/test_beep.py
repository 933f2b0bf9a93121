"""The tone of an answering machine: found once it is over, and nothing else taken for it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import noises
from pipeline.audio import mulaw
from pipeline.audio.beep import BeepDetector
from pipeline.audio.wav import read_wav

CALLERS = sorted((Path(__file__).parents[2] / "server" / "callers").glob("*.wav"))
LEAD_MS, TAIL_MS = 613, 400
FRAME = 160


def on_the_line(sound: NDArray[np.float64], *, level_db: float = -20, noise_db: float = -60) -> bytes:
    """At a level, between silence, on a line that hisses."""
    loud = sound * 10 ** (level_db / 20) / np.sqrt(np.mean(np.square(sound)))
    whole = np.pad(loud, (LEAD_MS * 8, TAIL_MS * 8))
    whole += 10 ** (noise_db / 20) * np.random.default_rng(1).standard_normal(len(whole))
    return mulaw.encode(mulaw.from_float(whole.astype(np.float32)))


def tones(*hertz: float, ms: int) -> NDArray[np.float64]:
    at = np.arange(ms * 8) / mulaw.RATE
    waves: NDArray[np.float64] = np.sin(2 * np.pi * np.outer(hertz, at))
    return np.asarray(waves.sum(axis=0), np.float64)


def cadence(*hertz: float, on_ms: int, off_ms: int, times: int) -> NDArray[np.float64]:
    one = np.pad(tones(*hertz, ms=on_ms), (0, off_ms * 8))
    return np.tile(one, times)


def found(sound: bytes, size: int = FRAME) -> list[int]:
    """When tones were found to be over, in milliseconds."""
    detector = BeepDetector()
    return [
        (start + size) // 8
        for start in range(0, len(sound), size)
        if detector.feed(sound[start : start + size])
    ]


# -- beeps -------------------------------------------------------------------------------


@pytest.mark.parametrize("hertz", range(440, 1_401, 40))
@pytest.mark.parametrize("ms", [160, 200, 500, 1_000])
def test_a_tone_is_found_once_and_when_it_is_over(hertz: int, ms: int) -> None:
    (at,) = found(on_the_line(tones(hertz, ms=ms)))
    assert LEAD_MS + ms - 32 <= at <= LEAD_MS + ms + 64


@pytest.mark.parametrize("hertz", [440, 523.25, 850, 1_000, 1_004, 1_399])
@pytest.mark.parametrize(
    ("level_db", "noise_db"), [(-8, -40), (-14, -32), (-20, -38), (-28, -45), (-36, -54)]
)
def test_it_is_found_at_the_levels_of_a_telephone_and_on_a_noisy_line(
    hertz: float, level_db: float, noise_db: float
) -> None:
    assert len(found(on_the_line(tones(hertz, ms=400), level_db=level_db, noise_db=noise_db))) == 1


@pytest.mark.parametrize("size", [80, 160, 256, 320, 1_000, 8_000])
def test_the_size_of_the_frames_does_not_matter(size: int) -> None:
    assert len(found(on_the_line(tones(1_000, ms=400)), size)) == 1


def test_two_beeps_are_two() -> None:
    assert len(found(on_the_line(cadence(900, on_ms=250, off_ms=250, times=2)))) == 2


def test_a_greeting_s_last_words_before_the_beep_do_not_hide_it() -> None:
    words = mulaw.to_float(mulaw.decode(read_wav(CALLERS[0].with_name("day.wav")))).astype(np.float64)
    beep = 0.1 * tones(1_000, ms=400)
    assert len(found(on_the_line(np.concatenate([words, beep])))) == 1


def test_a_tone_is_no_beep_before_it_is_over() -> None:
    sound = mulaw.encode(mulaw.from_float((0.1 * tones(1_000, ms=5_000)).astype(np.float32)))
    assert found(sound) == []


# -- what is none ------------------------------------------------------------------------


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.stem)
def test_what_people_say_is_no_beep(path: Path) -> None:
    assert found(read_wav(path) + mulaw.silence(500)) == []


@pytest.mark.parametrize("pair", [*product((697, 770, 852, 941), (1_209, 1_336, 1_477, 1_633))])
def test_a_pressed_key_is_no_beep(pair: tuple[int, int]) -> None:
    for ms in (50, 120, 400, 1_000):
        assert found(on_the_line(tones(*pair, ms=ms), level_db=-12)) == []


@pytest.mark.parametrize(
    ("hertz", "on_ms", "off_ms"),
    [
        ((440, 480), 2_000, 4_000),  # rings
        ((400, 450), 400, 200),  # rings, in Britain
        ((480, 620), 500, 500),  # busy
        ((350, 440), 3_000, 0),  # to be dialled
    ],
)
@pytest.mark.parametrize("level_db", [-10, -20, -30])
def test_the_exchange_s_own_tones_are_no_beep(
    hertz: tuple[int, int], on_ms: int, off_ms: int, level_db: float
) -> None:
    sound = on_the_line(cadence(*hertz, on_ms=on_ms, off_ms=off_ms, times=3), level_db=level_db)
    assert found(sound) == []


@pytest.mark.parametrize("kind", ["cough", "throat", "breath", "click", "hum", "hiss", "crackle"])
def test_coughs_and_other_noises_are_no_beep(kind: str) -> None:
    for name, sounds in noises.every(np.random.default_rng(5)):
        for sound in sounds if name == kind else ():
            assert found(mulaw.encode(mulaw.from_float(sound)) + mulaw.silence(300)) == []


@pytest.mark.parametrize(("hertz", "ms", "level_db"), [(1_000, 60, -20), (1_000, 400, -48), (200, 400, -20)])
def test_too_short_too_soft_or_too_low_is_no_beep(hertz: int, ms: int, level_db: float) -> None:
    assert found(on_the_line(tones(hertz, ms=ms), level_db=level_db)) == []


def test_a_glide_is_no_beep() -> None:
    """A siren, or somebody who whistles."""
    at = np.arange(8_000) / mulaw.RATE
    assert found(on_the_line(np.sin(2 * np.pi * (500 * at + 400 * at**2)))) == []


def test_silence_is_no_beep() -> None:
    assert found(mulaw.silence(2_000)) == []
    assert found(b"\x7f" * 8_000) == []
