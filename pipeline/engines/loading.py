"""Opens the engines a server is set to use: each model once, off the event loop, for all calls.

What is chosen is `server/settings.py`'s; which engine is the better one is nobody's here.
Modules of engines that are not chosen are not imported, so that a server on hosted
engines needs none of the local packages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pipeline.core.effects import Message
from pipeline.engines.base import Speaker, Thinker, Transcriber, VoiceActivity
from pipeline.engines.local.pool import Worker
from pipeline.engines.scripted import LoudnessActivity, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.ports import Engines

T = TypeVar("T")

SpeechToText = Literal["local", "scripted"]
LanguageModel = Literal["local", "smollm2", "scripted"]
TextToSpeech = Literal["local", "scripted"]
OnProgress = Callable[[str, bool], None]
"""Told a part's name twice: with False before it is loaded, with True after."""

SCRIPT_HEARD = ("Hello.", "How are you?", "Tell me more.", "Thank you.")
SCRIPT_DELAY_MS = 100

# Jobs that may wait. Beyond this many the answer would come too late to be one.
_WAITING_SPEECH = 16
_WAITING_WORDS = 64
_WAITING_WINDOWS = 4
_WAITING_REPLIES = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """Names of the engines to open; `data_dir` is where optional weights are kept."""

    stt: SpeechToText = "local"
    llm: LanguageModel = "local"
    tts: TextToSpeech = "local"
    data_dir: Path = Path("data")


class LocalModels:
    """The engines, while the context is open.

        async with LocalModels(Chosen(), on_progress).open() as engines: ...

    Voice activity is Silero unless speech to text is scripted too. Raises `EngineError`,
    which says what to install, when a model is missing or is not the expected one.
    """

    def __init__(self, chosen: Chosen, on_progress: OnProgress = lambda name, done: None) -> None:
        self._chosen = chosen
        self._on_progress = on_progress
        self.workers: dict[str, Worker] = {}
        """The threads at work, by engine, for measuring."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engines]:
        async with AsyncExitStack() as stack:
            # One after another: loading is bound by the processor, and progress stays readable.
            yield Engines(
                voice_activity=await self._voice_activity(stack),
                transcriber=await self._transcriber(stack),
                thinker=await self._thinker(stack),
                speaker=await self._speaker(stack),
            )

    async def _voice_activity(self, stack: AsyncExitStack) -> VoiceActivity:
        if self._chosen.stt == "scripted":
            return LoudnessActivity()
        from pipeline.engines.local.silero import SileroActivity, SileroModel

        model, worker = await self._loaded("voice activity", stack, SileroModel.load, _WAITING_WINDOWS)
        return await stack.enter_async_context(SileroActivity(model, worker).running())

    async def _transcriber(self, stack: AsyncExitStack) -> Transcriber:
        if self._chosen.stt == "scripted":
            return ScriptedTranscriber(SCRIPT_HEARD, delay_ms=SCRIPT_DELAY_MS, repeat=True)
        from pipeline.engines.local.whisper import WhisperModel, WhisperTranscriber

        model, worker = await self._loaded("speech to text", stack, WhisperModel.load, _WAITING_SPEECH)
        return WhisperTranscriber(model, worker)

    async def _thinker(self, stack: AsyncExitStack) -> Thinker:
        if self._chosen.llm == "scripted":
            return ScriptedThinker(_script)
        if self._chosen.llm == "smollm2":
            from pipeline.engines.local import smollm2

            data_dir = self._chosen.data_dir
            server, worker = await self._loaded(
                "language model", stack, lambda: smollm2.load(data_dir), _WAITING_REPLIES
            )
            return smollm2.SmolThinker(server, worker)
        from pipeline.engines.local.companion import Companion

        return Companion()

    async def _speaker(self, stack: AsyncExitStack) -> Speaker:
        if self._chosen.tts == "scripted":
            return ScriptedSpeaker()
        from pipeline.engines.local.hibari import HibariModel, HibariSpeaker

        model, worker = await self._loaded("text to speech", stack, HibariModel.load, _WAITING_WORDS)
        return HibariSpeaker(model, worker)

    async def _loaded(
        self, name: str, stack: AsyncExitStack, load: Callable[[], T], limit: int
    ) -> tuple[T, Worker]:
        """The model, loaded in the thread that will run it."""
        self._on_progress(name, False)
        worker = Worker(name, limit)
        stack.callback(worker.close)
        model = await worker.run(load)
        self.workers[name] = worker
        self._on_progress(name, True)
        return model, worker


def _script(messages: Sequence[Message]) -> str:
    turns = sum(message.role == "user" for message in messages)
    return f"That is turn {turns}. Please go on."
