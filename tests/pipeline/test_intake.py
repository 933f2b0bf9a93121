"""Any ordinary WAV as telephone sound, and a plain word about the others."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.audio import mulaw
from pipeline.audio.intake import caller_sound
from pipeline.audio.wav import write_wav
from pipeline.recorder import Recorder


def tone(rate: int, seconds: float = 1.0, hertz: int = 440) -> NDArray[np.int16]:
    time = np.arange(round(rate * seconds)) / rate
    return (8_000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def pcm(path: Path, samples: NDArray[np.int16], rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def pitch(sound: bytes) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(mulaw.decode(sound).astype(np.float64)))
    return float(np.argmax(spectrum) * 8_000 / len(sound))


def test_telephone_sound_is_taken_as_it_is(tmp_path: Path) -> None:
    sound = mulaw.encode(tone(8_000))
    write_wav(tmp_path / "a.wav", sound)
    assert caller_sound(tmp_path / "a.wav") == sound


def test_linear_sound_of_the_telephone_s_rate_is_only_encoded(tmp_path: Path) -> None:
    assert caller_sound(pcm(tmp_path / "a.wav", tone(8_000), 8_000)) == mulaw.encode(tone(8_000))


@pytest.mark.parametrize("rate", [11_025, 16_000, 22_050, 44_100, 48_000])
def test_other_rates_keep_length_pitch_and_loudness(rate: int, tmp_path: Path) -> None:
    sound = caller_sound(pcm(tmp_path / "a.wav", tone(rate), rate))
    assert abs(len(sound) - 8_000) <= 2
    assert abs(pitch(sound) - 440) < 2
    assert 0.9 < mulaw.loudness(sound) / (8_000 / 2**0.5) < 1.1


def test_of_several_channels_the_left_is_the_caller(tmp_path: Path) -> None:
    for channels in (2, 3):
        samples = np.stack([tone(16_000, hertz=300), *[tone(16_000, hertz=900)] * (channels - 1)], axis=1)
        assert abs(pitch(caller_sound(pcm(tmp_path / "a.wav", samples, 16_000, channels))) - 300) < 2


def test_our_own_recordings_can_be_heard_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.wav")
    caller = mulaw.encode(tone(8_000))
    recorder.caller(caller)
    recorder.agent(mulaw.encode(tone(8_000, hertz=900)))
    recorder.close()
    assert caller_sound(recorder.path) == caller


def test_a_wav_without_sound_is_silence(tmp_path: Path) -> None:
    assert caller_sound(pcm(tmp_path / "a.wav", tone(8_000, 0), 8_000)) == b""
    assert caller_sound(pcm(tmp_path / "b.wav", tone(44_100, 0), 44_100)) == b""


@pytest.mark.parametrize("width", [1, 3, 4])
def test_other_sample_widths_are_refused(width: int, tmp_path: Path) -> None:
    path = pcm(tmp_path / "odd.wav", np.zeros(1_200, np.int16), 8_000, width=width)
    with pytest.raises(ValueError, match=r"odd\.wav: only 16-bit"):
        caller_sound(path)


def riff(form: int, channels: int, rate: int, bits: int, data: bytes) -> bytes:
    fmt = struct.pack(
        "<HHIIHH", form, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"ID3 an mp3 by the look of it, long enough to have a header",
        b"RIFF\x00\x00\x00\x00WAVE",
        riff(7, 1, 16_000, 8, b"\xff" * 100),
        riff(6, 1, 8_000, 8, b"\xff" * 100),
        riff(1, 1, 8_000, 16, b"\x00" * 100)[:30],
        riff(1, 0, 8_000, 16, b""),
    ],
)
def test_what_cannot_be_heard_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.wav"):
        caller_sound(path)


@pytest.mark.parametrize("missing", [1, 2, 3, 5])
def test_a_file_cut_off_in_mid_sample_is_heard_as_far_as_it_goes(missing: int, tmp_path: Path) -> None:
    path = tmp_path / "odd.wav"
    path.write_bytes(riff(1, 2, 8_000, 16, tone(8_000).tobytes())[:-missing])
    assert len(caller_sound(path)) == 4_000 - -(-missing // 4)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        caller_sound(tmp_path / "none.wav")
