"""mu-law: what the telephone's bytes mean."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio import mulaw


def test_every_byte_but_negative_zero_survives_the_round() -> None:
    sound = bytes(range(256))
    again = mulaw.encode(mulaw.decode(sound))
    assert again == sound.replace(b"\x7f", b"\xff")


def test_silence_is_zero() -> None:
    assert not mulaw.decode(mulaw.silence(20)).any()
    assert mulaw.encode(np.zeros(160, np.int16)) == mulaw.silence(20)
    assert len(mulaw.silence(20)) == mulaw.FRAME
    assert mulaw.loudness(mulaw.silence(32)) == 0
    assert mulaw.loudness(b"") == 0
    assert mulaw.duration_ms(mulaw.silence(1234)) == 1234


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_coding_errs_by_a_sixteenth_at_most(samples: list[int]) -> None:
    pcm = np.array(samples, np.int16)
    error = np.abs(mulaw.decode(mulaw.encode(pcm)).astype(int) - np.clip(pcm.astype(int), -32_635, 32_635))
    assert (error <= np.maximum(16, np.abs(pcm.astype(int)) // 16)).all()


@given(st.lists(st.integers(-32_767, 32_767), max_size=50))
def test_floats_come_back_within_one_step(samples: list[int]) -> None:
    pcm = np.array(samples, np.int16)
    assert (np.abs(mulaw.from_float(mulaw.to_float(pcm)).astype(int) - pcm) <= 1).all()


def test_too_loud_is_clipped() -> None:
    assert mulaw.from_float(np.array([2.0, -2.0], np.float32)).tolist() == [32_767, -32_767]


def test_a_view_with_gaps_is_encoded_as_it_reads() -> None:
    pcm = np.arange(0, 8_000, 100, dtype=np.int16)
    assert mulaw.encode(pcm[::2]) == mulaw.encode(pcm[::2].copy())


def test_a_frame_is_loud_with_more_than_a_click_in_it() -> None:
    loud, quiet = mulaw.encode(np.array([450, 350], np.int16)).hex(" ").split()
    for sound, expected in [(loud * 12, True), (loud * 11, False), (quiet * 160, False), ("7f" * 160, False)]:
        assert mulaw.is_loud(bytes.fromhex(sound).ljust(mulaw.FRAME, b"\xff")) == expected
    # Full scale of either sign.
    assert mulaw.is_loud(b"\x00" * 12)
    assert mulaw.is_loud(b"\x80" * 12)
