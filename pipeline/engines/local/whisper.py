"""Speech to text by Whisper tiny.en, a stretch of speech at a time.

The ear keeps the sound around each stretch that voice activity finds and transcribes it
when the stretch ends, which is well before the caller's turn does: the work hides in the
silence that has to be waited for anyway. Nothing is transcribed outside of speech, since
Whisper makes up words for silence; nothing here decides when a turn is over.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audio import mulaw
from pipeline.audio.resample import resample
from pipeline.core.errors import EngineError
from pipeline.engines.base import Hearing, Segment
from pipeline.engines.local.mel import RATE, Floats, log_mel
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.weights import WHISPER, WHISPER_VOCABULARY

if TYPE_CHECKING:
    import ctranslate2

MODEL = "whisper-tiny.en"

WINDOW_SECONDS = 10.0
"""Shortest window: below it the model loops, and 30 s (what it was trained on) cost four times as much."""
TAIL_SECONDS = 2.0
LONGEST_SECONDS = 30.0

PREROLL_BYTES = 480 * mulaw.RATE // 1000
"""Kept before the report of speech: the report is some 130 ms late, and first consonants are soft."""
LONGEST_BYTES = int(LONGEST_SECONDS - TAIL_SECONDS) * mulaw.RATE
"""Of a longer stretch the beginning is dropped."""
SHORTEST_BYTES = 100 * mulaw.RATE // 1000
MOST_STRETCHES = 16
"""That may wait for their text; with more the model is too far behind to be of use."""

NO_SPEECH = 0.6
LOOPING = 2.4
"""Text that compresses better than this repeats itself."""
SECOND_WINDOW_SECONDS = 15.0
"""What loops in the short window is read again in a longer one, where it rarely does."""

_STAGE_DIRECTIONS = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|♪")


@dataclass(frozen=True, slots=True)
class Transcript:
    text: str
    no_speech: float
    """The model's own probability that there was no speech, 0..1."""
    loops: bool = False
    """Whether the text repeats itself or had no end."""


class WhisperModel:
    """The model itself; blocking, for the worker thread."""

    def __init__(self, model: ctranslate2.models.Whisper, vocabulary: Sequence[str]) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._end = vocabulary.index("<|endoftext|>")
        self._bytes = {letter: byte for byte, letter in _letters().items()}

    @classmethod
    def load(cls) -> WhisperModel:
        """Blocking. Raises `EngineError`."""
        weights, vocabulary = WHISPER.locate(), WHISPER_VOCABULARY.locate()
        try:
            import ctranslate2
        except ImportError as error:
            raise EngineError("ctranslate2 is missing: pip install 'callmeback[local]'") from error
        model = ctranslate2.models.Whisper(
            str(weights.parent), device="cpu", compute_type="int8", intra_threads=1, inter_threads=1
        )
        loaded = cls(model, vocabulary.read_text("utf-8").split("\n"))
        loaded.transcribe(np.zeros(RATE, np.float32))
        return loaded

    def transcribe(self, sound: Floats) -> Transcript:
        """English speech at 16 kHz, at most 28 s of it."""
        seconds = len(sound) / RATE
        found = self._read(sound, max(WINDOW_SECONDS, seconds + TAIL_SECONDS), seconds)
        if found.loops:
            found = self._read(sound, max(SECOND_WINDOW_SECONDS, seconds + 2 * TAIL_SECONDS), seconds)
        return found

    def _read(self, sound: Floats, window: float, seconds: float) -> Transcript:
        import ctranslate2

        # An even number of 10 ms frames: the model halves them.
        padded: Floats = np.zeros(int(min(LONGEST_SECONDS, window) * 50) * RATE // 50, np.float32)
        padded[: len(sound)] = sound[: len(padded)]
        prompt = ["<|startoftranscript|>", "<|notimestamps|>"]
        # Nobody says more than six tokens a second.
        limit = int(8 + 6 * seconds)
        result = self._model.generate(
            ctranslate2.StorageView.from_array(log_mel(padded)[None]),
            [prompt],
            beam_size=1,
            # The library writes half as many tokens as this says.
            max_length=2 * limit,
            return_no_speech_prob=True,
        )[0]
        ids = result.sequences_ids[0]
        text = self._text(ids)
        return Transcript(text, float(result.no_speech_prob), loops=len(ids) >= limit or _repeats(text))

    def _text(self, ids: Sequence[int]) -> str:
        letters = "".join(self._vocabulary[number] for number in ids if number < self._end)
        raw = bytes(self._bytes[letter] for letter in letters if letter in self._bytes)
        return raw.decode("utf-8", "replace").strip()


def _letters() -> dict[int, str]:
    """The printable letter that stands for each byte in a byte-level vocabulary (GPT-2's convention)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + index) for index, byte in enumerate(others)
    }


def _repeats(text: str) -> bool:
    """Whether a text says everything twice, or a few words over and over."""
    words, content = text.casefold().split(), text.encode()
    half = len(words) // 2
    twice = half >= 3 and words[:half] == words[half:]
    return twice or (bool(content) and len(content) / len(zlib.compress(content)) > LOOPING)


def spoken_words(transcript: Transcript) -> str:
    """What of a transcript was really said; "" for noise."""
    if transcript.no_speech > NO_SPEECH:
        return ""
    text = " ".join(_STAGE_DIRECTIONS.sub(" ", transcript.text).split())
    return text if any(letter.isalnum() for letter in text) else ""


class WhisperEar:
    """One open transcription of one call."""

    def __init__(self, model: WhisperModel, worker: Worker) -> None:
        self._model = model
        self._worker = worker
        self._sound = bytearray()
        self._speaking = False
        self._stretches: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        self._open = True

    def feed(self, mulaw: bytes) -> None:
        self._sound += mulaw
        keep = LONGEST_BYTES if self._speaking else PREROLL_BYTES
        if len(self._sound) > keep:
            del self._sound[: len(self._sound) - keep]

    def voice(self, speaking: bool) -> None:
        if not self._open:
            return
        if not speaking:
            if self._stretches.qsize() >= MOST_STRETCHES:
                self._end(EngineError("speech to text does not keep up", retryable=True))
                return
            self._stretches.put_nowait(bytes(self._sound) if self._speaking else b"")
            # What was the end of this stretch may be the run-up of the next.
            del self._sound[: max(0, len(self._sound) - PREROLL_BYTES // 2)]
        self._speaking = speaking

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        while isinstance(stretch := await self._stretches.get(), bytes):
            text = await self._text(stretch)
            if not self._open:
                return
            yield Segment(text)
        self._stretches.put_nowait(stretch)  # it is so for whoever asks next, too
        if stretch is not None:
            raise stretch

    async def _text(self, stretch: bytes) -> str:
        if len(stretch) < SHORTEST_BYTES:
            return ""
        return spoken_words(await self._worker.run(lambda: transcribe(self._model, stretch)))

    def close(self) -> None:
        self._end(None)

    def _end(self, why: EngineError | None) -> None:
        """What waits is not transcribed any more."""
        self._open = False
        self._sound.clear()
        while not self._stretches.empty():
            self._stretches.get_nowait()
        self._stretches.put_nowait(why)


def transcribe(model: WhisperModel, sound: bytes) -> Transcript:
    """Blocking: the words in mu-law."""
    return model.transcribe(resample(mulaw.to_float(mulaw.decode(sound)), mulaw.RATE, RATE))


class WhisperTranscriber:
    """Speech to text for every call of the process."""

    def __init__(self, model: WhisperModel, worker: Worker) -> None:
        self._model = model
        self._worker = worker

    @property
    def models(self) -> tuple[str, ...]:
        return (MODEL,)

    @property
    def ends_turns(self) -> bool:
        return False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[WhisperEar]:
        ear = WhisperEar(self._model, self._worker)
        try:
            yield ear
        finally:
            ear.close()
