"""Telephone sound in WAV files: 8 kHz, mono, mu-law (RIFF format 7).

The standard library's wave module reads and writes linear samples only, and in files. Recordings of
calls are no concern of this module (`pipeline/recorder.py`).
"""

from __future__ import annotations

import struct
from pathlib import Path

from pipeline.audio.mulaw import RATE, decode

_MULAW = 7
_LINEAR = struct.Struct("<4sI4s4sIHHIIHH4sI")
_HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")


def write_wav(path: Path, mulaw: bytes) -> None:
    padding = b"\0" * (len(mulaw) % 2)
    # RIFF wants the sample count in a fact chunk for anything but linear samples.
    header = _HEADER.pack(
        *(b"RIFF", _HEADER.size - 8 + len(mulaw) + len(padding), b"WAVE"),
        *(b"fmt ", 18, _MULAW, 1, RATE, RATE, 1, 8, 0),
        *(b"fact", 4, len(mulaw)),
        *(b"data", len(mulaw)),
    )
    path.write_bytes(header + mulaw + padding)


def wav_of(mulaw: bytes) -> bytes:
    """A WAV file's content, of linear samples: some players take no mu-law."""
    sound = decode(mulaw).tobytes()
    form = (b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return _LINEAR.pack(b"RIFF", _LINEAR.size - 8 + len(sound), b"WAVE", *form, b"data", len(sound)) + sound


def read_wav(path: Path) -> bytes:
    """The mu-law of a file. `ValueError` when it is anything but 8 kHz mono mu-law."""
    return parse_wav(path.read_bytes())


def parse_wav(content: bytes) -> bytes:
    """The mu-law of a file's content. `ValueError` as for `read_wav`."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    at, telephone = 12, False
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = content[at + 8 : at + 8 + size]
        if name == b"fmt ":
            if len(body) < 16:
                raise ValueError("a WAV file with a broken format")
            form, channels, rate = struct.unpack_from("<HHI", body)
            if (form, channels, rate) != (_MULAW, 1, RATE):
                raise ValueError(f"not 8 kHz mono mu-law: format {form}, {channels} channel(s), {rate} Hz")
            telephone = True
        elif name == b"data":
            if not telephone:
                raise ValueError("a WAV file without a format")
            return body
        at += 8 + size + size % 2
    raise ValueError("a WAV file without sound")
