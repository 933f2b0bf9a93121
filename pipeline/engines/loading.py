"""Opens the engines a server is set to use: each model once, off the event loop, for all calls.

What is chosen is `server/settings.py`'s; which engine is the better one is nobody's here.
Modules of engines that are not chosen are not imported, so that a server on hosted
engines needs none of the local packages but voice activity's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import structlog

from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.engines.base import Speaker, Thinker, Transcriber, VoiceActivity
from pipeline.engines.beside import beside
from pipeline.engines.breaker import Breaker, OnChange
from pipeline.engines.deepgram.aura import AuraSettings, AuraSpeaker
from pipeline.engines.deepgram.flux import FluxSettings, FluxTranscriber
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from pipeline.engines.elevenlabs import ElevenLabsSettings, ElevenLabsSpeaker
from pipeline.engines.failover.speaker import FailoverSpeaker
from pipeline.engines.failover.thinker import FailoverThinker, OnLost
from pipeline.engines.failover.transcriber import FailoverTranscriber, OnHeardAgain, OnSoundLost
from pipeline.engines.local.pool import Worker
from pipeline.engines.openai_chat import ChatServer, OpenAIThinker
from pipeline.engines.scripted import LoudnessActivity, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.ports import Engines
from pipeline.surprises import SURPRISES

T = TypeVar("T")

log = structlog.get_logger()

ALONE_S = 6.0
"""The patience with an engine that has no other behind it: there is nothing to gain by giving up early."""
HEARING_S = 3.0
"""The least patience with a transcriber: a local one may have others' speech before it."""
WARM_AGAIN_S = 2.0
"""However many phones ring, connections are looked after no more often."""
LISTED = 20
"""Models named when the one that is set is not among them."""

SpeechToText = Literal["local", "scripted"] | FluxSettings | NovaSettings
LanguageModel = Literal["local", "smollm2", "scripted"] | ChatServer
TextToSpeech = Literal["local", "scripted"] | ElevenLabsSettings | AuraSettings
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
    """The engines to open, of each seam in the order of failover.

    `data_dir` is where optional weights are kept, `patience_s` the longest wait for a first word or sound; hosted
    engines are set to it (`patience`, `hearing_patience`) by whoever chose them.
    """

    stt: tuple[SpeechToText, ...] = ("local",)
    llm: tuple[LanguageModel, ...] = ("local",)
    tts: tuple[TextToSpeech, ...] = ("local",)
    data_dir: Path = Path("data")
    patience_s: float = 1.5


def patience(engines: int, patience_s: float) -> float:
    """How long one of so many engines in a row may take to its first word or sound."""
    return patience_s if engines > 1 else ALONE_S


def hearing_patience(engines: int, patience_s: float) -> float:
    """The same of a transcriber: to be open, and for the text of what was said."""
    return max(HEARING_S, patience(engines, patience_s))


@dataclass(frozen=True, slots=True)
class Watching:
    """Who is told of engines that go down and come back, and of tokens and sound that bought nothing."""

    on_change: OnChange = lambda name, state: None
    on_lost: OnLost = lambda model, tokens: None
    on_heard_again: OnHeardAgain = lambda model, seconds: None
    on_sound_lost: OnSoundLost = lambda model, seconds: None


class EngineLoader:
    """The engines, while the context is open.

        async with EngineLoader(Chosen(), on_progress).open() as engines: ...

    Voice activity is Silero unless speech to text is scripted too. Raises `EngineError`,
    which says what to install, when a model is missing or is not the expected one.
    """

    def __init__(
        self,
        chosen: Chosen,
        on_progress: OnProgress = lambda name, done: None,
        watching: Watching = Watching(),  # frozen
    ) -> None:
        self._chosen = chosen
        self._on_progress = on_progress
        self._watching = watching
        self.workers: dict[str, Worker] = {}
        """The threads at work, by engine, for measuring."""
        self.breakers: dict[str, Breaker] = {}
        """By seam and model, numbered where a seam has several of one; none for an engine that cannot be away."""
        self.certain: list[str] = []
        """Those that cannot be away, by seam and model."""
        self._ringing = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engines]:
        chosen = self._chosen
        self.breakers.clear()
        self.certain.clear()
        async with AsyncExitStack() as stack:
            # One after another: loading is bound by the processor, and progress stays readable.
            activity = await self._voice_activity(stack)
            ears = [await self._transcriber(stack, one) for one in chosen.stt]
            minds = [await self._thinker(stack, one) for one in chosen.llm]
            voices = [await self._speaker(stack, one) for one in chosen.tts]
            hosted = [mind for mind in minds if isinstance(mind, OpenAIThinker)]
            if hosted:
                await stack.enter_async_context(beside(self._keep_warm(hosted)))
            rows = self._rows_of_minds(minds)
            seams = (("stt", chosen.stt, ears), ("llm", chosen.llm, minds), ("tts", chosen.tts, voices))
            self.certain += [
                f"{seam}:{opened[0].models[0]}" for seam, named, opened in seams if _certain(named)
            ]
            yield Engines(
                voice_activity=activity,
                transcriber=ears[0]
                if _certain(chosen.stt)
                else FailoverTranscriber(
                    [(ear, self._breaker("stt", ear.models[0])) for ear in ears],
                    hearing_patience(len(ears), chosen.patience_s),
                    on_heard_again=self._watching.on_heard_again,
                    on_sound_lost=self._watching.on_sound_lost,
                ),
                thinker=next(iter(rows.values())),
                speaker=voices[0]
                if _certain(chosen.tts)
                else FailoverSpeaker(
                    [(voice, self._breaker("tts", voice.models[0])) for voice in voices],
                    patience(len(voices), chosen.patience_s),
                ),
                warm=self._ringing.set,
                minds=rows,
            )

    def _rows_of_minds(self, minds: Sequence[Thinker]) -> dict[str, Thinker]:
        """By model, in the order of failover: that model, and behind it the others in theirs."""
        if _certain(self._chosen.llm):
            return {minds[0].models[0]: minds[0]}
        guarded = [(mind, self._breaker("llm", mind.models[0])) for mind in minds]
        rows: dict[str, Thinker] = {}
        for place, (mind, _) in enumerate(guarded):
            row = [guarded[place], *guarded[:place], *guarded[place + 1 :]]
            patient = patience(len(minds), self._chosen.patience_s)
            rows.setdefault(mind.models[0], FailoverThinker(row, patient, self._watching.on_lost))
        return rows

    async def _keep_warm(self, hosted: Sequence[OpenAIThinker]) -> None:
        """Have connections open when the server starts and when a phone rings: servers close those that idle.

        A retired model is said at the start and not first to a caller; servers need not list what they have.
        """
        told: set[str] = set()
        while True:
            self._ringing.clear()
            try:
                async with asyncio.TaskGroup() as group:
                    listings = [(mind, group.create_task(mind.warm())) for mind in hosted]
            except Exception:  # edge: of the task; the first reply opens what it needs
                SURPRISES.labels("warming").inc()
                log.exception("not_warmed")
                listings = []
            for mind, listing in listings:
                model, listed = mind.models[0], listing.result()
                if listed and model not in told:
                    told.add(model)
                    _say_of(model, listed)
            await asyncio.sleep(WARM_AGAIN_S)
            await self._ringing.wait()

    def _breaker(self, seam: str, model: str) -> Breaker:
        """One for each engine: two servers with the same model fail each for itself."""
        name, number = f"{seam}:{model}", 1
        while name in self.breakers:
            number += 1
            name = f"{seam}:{model}#{number}"
        self.breakers[name] = Breaker(name, Clock(), self._watching.on_change)
        return self.breakers[name]

    async def _voice_activity(self, stack: AsyncExitStack) -> VoiceActivity:
        if self._chosen.stt == ("scripted",):
            return LoudnessActivity()
        from pipeline.engines.local.silero import SileroActivity, SileroModel

        model, worker = await self._loaded("voice activity", stack, SileroModel.load, _WAITING_WINDOWS)
        return await stack.enter_async_context(SileroActivity(model, worker).running())

    async def _transcriber(self, stack: AsyncExitStack, chosen: SpeechToText) -> Transcriber:
        match chosen:
            case FluxSettings():
                return FluxTranscriber(chosen)
            case NovaSettings():
                return NovaTranscriber(chosen)
            case "scripted":
                return ScriptedTranscriber(SCRIPT_HEARD, delay_ms=SCRIPT_DELAY_MS, repeat=True)
            case "local":
                from pipeline.engines.local.whisper import WhisperModel, WhisperTranscriber

                model, worker = await self._loaded(
                    "speech to text", stack, WhisperModel.load, _WAITING_SPEECH
                )
                return WhisperTranscriber(model, worker)

    async def _thinker(self, stack: AsyncExitStack, chosen: LanguageModel) -> Thinker:
        match chosen:
            case ChatServer():
                thinker = OpenAIThinker(chosen)
                stack.push_async_callback(thinker.aclose)
                return thinker
            case "scripted":
                return ScriptedThinker(_script)
            case "smollm2":
                from pipeline.engines.local import smollm2

                data_dir = self._chosen.data_dir
                server, worker = await self._loaded(
                    "language model", stack, lambda: smollm2.load(data_dir), _WAITING_REPLIES
                )
                return smollm2.SmolThinker(server, worker)
            case "local":
                from pipeline.engines.local.companion import Companion

                return Companion()

    async def _speaker(self, stack: AsyncExitStack, chosen: TextToSpeech) -> Speaker:
        match chosen:
            case ElevenLabsSettings():
                return ElevenLabsSpeaker(chosen)
            case AuraSettings():
                return AuraSpeaker(chosen)
            case "scripted":
                return ScriptedSpeaker()
            case "local":
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


def _say_of(model: str, listed: Sequence[str]) -> None:
    # Ollama lists a model with its tag, and takes it without.
    if listed and not {model, f"{model}:latest"}.intersection(listed):
        log.warning("model_not_listed", model=model, listed=sorted(listed)[:LISTED])


def _script(messages: Sequence[Message]) -> str:
    turns = sum(message.role == "user" for message in messages)
    return f"That is turn {turns}. Please go on."


def _certain(chosen: Sequence[object]) -> bool:
    """One engine of this process's own: it is never away, and there is nothing to fall back to."""
    return len(chosen) == 1 and isinstance(chosen[0], str)
