"""Telephone WAV files."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.wav import parse_wav, read_wav, write_wav


@given(sound=st.binary(max_size=1_000))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, sound: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "sound.wav"
    write_wav(path, sound)
    assert read_wav(path) == sound
    assert path.stat().st_size == int.from_bytes(path.read_bytes()[4:8], "little") + 8


def test_unknown_chunks_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    write_wav(path, b"abc")
    content = path.read_bytes()
    strange = b"LIST" + struct.pack("<I", 3) + b"xyz\0"
    assert parse_wav(content[:12] + strange + content[12:]) == b"abc"


@given(st.binary(max_size=80))
def test_damage_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="WAV"):
        parse_wav(content)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    write_wav(path, b"abc")
    content = bytearray(path.read_bytes())
    content[20:22] = b"\x01\x00"
    with pytest.raises(ValueError, match="format 1"):
        parse_wav(bytes(content))
    with pytest.raises(ValueError, match="broken format"):
        parse_wav(bytes(content[:16]) + b"\x02\0\0\0ab")
    with pytest.raises(ValueError, match="without a format"):
        parse_wav(bytes(content[:12]) + b"data\x02\0\0\0ab")
