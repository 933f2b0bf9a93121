"""Text to speech by hibari-tts: one neural voice, made into several by pitch and resampling.

Output is the telephone's mu-law at an even level, and the same text in the same voice is
always the same bytes. Speech is made a clause at a time, so that the first sound does not
wait for the last word.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.audio import mulaw
from pipeline.audio.resample import resample
from pipeline.core.errors import EngineError
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.weights import HIBARI

if TYPE_CHECKING:
    import hibari

MODEL = "hibari"
RATE = 24_000
SEED = 0

PIECE_BYTES = 400 * mulaw.RATE // 1000
PAUSE_MS = 260
"""Between two sentences."""
HUSH = 0.02
"""Of the peak: what is softer at either end is not speech. The model leaves some 300 ms in front."""
MARGIN_MS = 30
FADE_MS = 6
LEVEL = 0.11
"""Root mean square of the voiced part, about -19 dB of full scale."""
PEAK = 0.9
LONGEST_GAIN = 6.0

CLAUSE_CHARS = 90
"""Longer sentences are cut at a comma."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Timbre:
    """A voice: `stretch` moves pitch and formants together, `pitch` the pitch alone, `pace` the speed."""

    stretch: float
    pitch: float = 1.0
    pace: float = 1.0


TIMBRES: MappingProxyType[str, Timbre] = MappingProxyType(
    {
        "brad": Timbre(stretch=0.86, pitch=0.74, pace=1.04),
        "sarah": Timbre(stretch=0.95, pitch=0.97, pace=0.97),
        "alex": Timbre(stretch=1.1, pitch=1.04, pace=1.06),
    }
)
"""The voices by name."""


def timbre(voice: str) -> Timbre:
    """The voice of that name; any other name always gets the same one of these."""
    found = TIMBRES.get(voice.casefold())
    if found is None:
        found = list(TIMBRES.values())[zlib.crc32(voice.casefold().encode()) % len(TIMBRES)]
    return found


class HibariModel:
    """The model itself; blocking, for the worker thread."""

    def __init__(self, tts: hibari.Hibari) -> None:
        self._tts = tts

    @classmethod
    def load(cls) -> HibariModel:
        """Blocking. Raises `EngineError`."""
        path = HIBARI.locate()
        try:
            import hibari
        except ImportError as error:
            raise EngineError("hibari-tts is incomplete: pip install 'callmeback[local]'") from error
        # The path is given, so that nothing is ever looked for on the network.
        model = cls(hibari.Hibari(model=str(path)))
        model.speak("Hello.", TIMBRES["sarah"])
        return model

    def speak(self, clause: str, timbre: Timbre) -> bytes:
        """mu-law of one clause; nothing for text without words."""
        from hibari import dsp

        parts: list[Floats] = []
        noise = np.random.default_rng(SEED)
        for phonemes in self._tts.phonemize(clause):
            ids = self._tts.ids(phonemes)
            if len(ids) < 3:
                continue
            speed = timbre.pace / timbre.stretch
            out = self._tts.sess.run(
                None, {"ids": np.asarray([ids], np.int64), "speed": np.asarray([speed], np.float32)}
            )
            lh, theta, ln, lr, phi, f0 = (part[0] for part in out)
            parts.append(dsp.synth(lh, theta, ln, lr, phi, f0 * np.float32(timbre.pitch), noise))
        if not parts:
            return b""
        sound = resample(np.concatenate(parts), RATE * timbre.stretch, mulaw.RATE)
        return mulaw.encode(mulaw.from_float(_soft(_level(_trim(sound)))))


def _trim(sound: Floats) -> Floats:
    """The sound without the silence around it."""
    loud = np.flatnonzero(np.abs(sound) > HUSH * np.abs(sound).max(initial=0.0))
    margin = MARGIN_MS * mulaw.RATE // 1000
    return sound[max(0, loud[0] - margin) : loud[-1] + margin] if len(loud) else sound


def _level(sound: Floats) -> Floats:
    """The sound at the common loudness, without clipping."""
    voiced = sound[np.abs(sound) > 0.02 * np.abs(sound).max(initial=0.0)]
    if not len(voiced):
        return sound
    gain = min(LEVEL / float(np.sqrt(np.mean(np.square(voiced)))), LONGEST_GAIN)
    return sound * np.float32(min(gain, PEAK / float(np.abs(sound).max())))


def _soft(sound: Floats) -> Floats:
    """The sound without a click at either end."""
    size = min(FADE_MS * mulaw.RATE // 1000, len(sound) // 2)
    ramp = np.linspace(0.0, 1.0, size, dtype=np.float32)
    sound = sound.copy()
    sound[:size] *= ramp
    sound[len(sound) - size :] *= ramp[::-1]
    return sound


_UNSPEAKABLE = re.compile(r"[*_#`~<>|\\^\U0001F000-\U0001FAFF\u2600-\u27BF\uFE0F\u200D]+")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"”’)]*\s+")
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")
_TITLES = ("Mr.", "Mrs.", "Ms.", "Dr.", "St.")


def clauses(text: str) -> list[str]:
    """The text in the pieces it is spoken in: sentences, and long ones cut at a comma."""
    plain = " ".join(_UNSPEAKABLE.sub(" ", text).split())
    sentences: list[str] = []
    for part in _SENTENCE.split(plain):
        if sentences and sentences[-1].endswith(_TITLES):
            sentences[-1] += f" {part}"
        elif part:
            sentences.append(part)
    parts = [clause for sentence in sentences for clause in _cut(sentence)]
    return [part for part in parts if any(letter.isalnum() for letter in part)]


def _cut(sentence: str) -> Sequence[str]:
    if len(sentence) <= CLAUSE_CHARS:
        return [sentence]
    found: list[str] = []
    for part in _CLAUSE.split(sentence):
        if found and len(found[-1]) + len(part) < CLAUSE_CHARS:
            found[-1] += f" {part}"
        else:
            found.append(part)
    return found


class HibariVoice:
    """One persona's voice in one call."""

    model = MODEL

    def __init__(self, model: HibariModel, worker: Worker, timbre: Timbre) -> None:
        self._model = model
        self._worker = worker
        self._timbre = timbre
        self.sent = False

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        self.sent = False
        pause = b""
        for clause in clauses(text):
            self.sent = True
            sound = await self._worker.run(partial(self._model.speak, clause, self._timbre))
            if not sound:
                continue
            sound = pause + sound
            for start in range(0, len(sound), PIECE_BYTES):
                yield sound[start : start + PIECE_BYTES]
            pause = mulaw.silence(PAUSE_MS if clause.endswith((".", "!", "?", "…")) else 0)


class HibariSpeaker:
    """Text to speech for every call of the process."""

    def __init__(self, model: HibariModel, worker: Worker) -> None:
        self._model = model
        self._worker = worker

    @property
    def models(self) -> tuple[str, ...]:
        return (MODEL,)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[HibariVoice]:
        yield HibariVoice(self._model, self._worker, timbre(voice))
