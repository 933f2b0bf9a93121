"""Any ordinary WAV as telephone sound: 8 kHz mu-law of the caller.

Takes what recorders write: telephone mu-law, or 16-bit PCM of any rate, one channel or
several. Of several the left is the caller, as in our own recordings.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from pipeline.audio import mulaw
from pipeline.audio.resample import resample
from pipeline.audio.wav import parse_wav

RATE = 8000


def caller_sound(path: Path) -> bytes:
    """The caller's side of a recording as mu-law. `ValueError` says what kind of file it is not."""
    try:
        return parse_wav(path.read_bytes())
    except ValueError:
        return _pcm(path)


def _pcm(path: Path) -> bytes:
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"{path.name}: only 16-bit PCM and mu-law WAVs can be heard")
            channels, rate = file.getnchannels(), file.getframerate()
            sound = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path.name} is no WAV file that can be heard: {error}") from error
    whole = len(sound) - len(sound) % (2 * channels)  # the recorder may have been killed in mid-sample
    left = np.frombuffer(sound[:whole], "<i2").reshape(-1, channels)[:, 0].astype(np.int16)
    if rate == RATE:
        return mulaw.encode(left)
    return mulaw.encode(mulaw.from_float(resample(mulaw.to_float(left), rate, RATE)))
