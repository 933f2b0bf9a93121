"""Make the callers' lines that the demo and the tests play: server/callers/*.wav and lines.json.

    python scripts/make_callers.py

Run once; its output is committed. The voice is the local speech engine's, at a pitch none
of the personas has, sent through a telephone's band with a little line noise. The same
input gives the same bytes on one machine type; sums may differ in the last bit elsewhere,
so a new run is a change to be reviewed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.audio import mulaw
from pipeline.audio.wav import write_wav
from pipeline.engines.local.hibari import HibariModel, Timbre, clauses

CALLERS = Path(__file__).parent.parent / "server" / "callers"

JORDAN = Timbre(stretch=0.93, pitch=0.68, pace=1.0)
"""A light male voice, lower than Brad's in pitch and lighter in colour."""

LINES = {
    "hello": "Hi Sarah, this is Jordan.",
    "interview": "I have a job interview on Tuesday and I'm really nervous.",
    "bakery": "The job is at a small bakery near my home.",
    "weaknesses": "What should I say if they ask about my weaknesses?",
    "interrupt": "Wait, sorry, can I ask you something else?",
    "sister": "My sister is getting married in June.",
    "hobbies": "Do you have any hobbies?",
    "idea": "That's a good idea.",
    "thanks": "Thank you, that helps a lot.",
    "joke": "Can you tell me a joke?",
    "day": "I had a really long day at work.",
    "okay": "Okay.",
    "bye": "I have to go now. Goodbye!",
}

MARGIN_MS = 150
NOISE = 0.0009
"""Root mean square of the line noise, about -61 dB of full scale."""
LOW_HERTZ, HIGH_HERTZ = 300.0, 3_400.0

Floats = NDArray[np.float32]


def on_the_phone(sound: Floats, noise: np.random.Generator) -> bytes:
    """The sound with margins, through a telephone's band, with line noise."""
    margin = np.zeros(MARGIN_MS * mulaw.RATE // 1000, np.float32)
    sound = np.concatenate([margin, sound, margin])
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / mulaw.RATE)
    # Slopes of 50 and 300 Hz: a brick wall would ring audibly.
    slope = np.clip((hertz - LOW_HERTZ + 50) / 50, 0, 1) * np.clip((HIGH_HERTZ + 300 - hertz) / 300, 0, 1)
    filtered = np.fft.irfft(spectrum * slope, len(sound))
    return mulaw.encode(
        mulaw.from_float((filtered + NOISE * noise.standard_normal(len(sound))).astype(np.float32))
    )


def cough(noise: np.random.Generator) -> Floats:
    """Two bursts of breath, 60 ms and 50 ms."""
    sound = np.zeros(190 * mulaw.RATE // 1000, np.float32)
    for start_ms, size_ms, height in ((0, 60, 0.5), (120, 50, 0.3)):
        start, size = start_ms * 8, size_ms * 8
        burst = noise.standard_normal(size) * np.exp(-np.arange(size) / (size / 4)) * height
        sound[start : start + size] += burst.astype(np.float32)
    return sound


def click(noise: np.random.Generator) -> Floats:
    """A switch: 4 ms."""
    size = 32
    return (noise.standard_normal(size) * np.exp(-np.arange(size) / 8) * 0.7).astype(np.float32)


def main() -> None:
    model, noise = HibariModel.load(), np.random.default_rng(7)
    pause = mulaw.silence(240)
    CALLERS.mkdir(exist_ok=True)
    texts: dict[str, str] = {}
    for name, text in (*LINES.items(), ("mhm", "Mm-hmm.")):
        spoken = pause.join(model.speak(clause, JORDAN) for clause in clauses(text))
        sound = on_the_phone(mulaw.to_float(mulaw.decode(spoken)), noise)
        write_wav(CALLERS / f"{name}.wav", sound)
        texts[name] = text
    for name, made in (("cough", cough(noise)), ("click", click(noise))):
        write_wav(CALLERS / f"{name}.wav", on_the_phone(made, noise))
        texts[name] = ""
    (CALLERS / "lines.json").write_text(json.dumps(texts, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
