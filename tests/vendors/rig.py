"""One whole call with hosted engines, in virtual time: the real shell, the real failover, the emulated vendors.

    call = hold(Cast(mind=FAULTS["stalls"]))
    assert call.transcript == [...]

`Cast` says who takes part and how they behave, `perform` lives through it, `Held` is what came of it.
The engines are put together as `EngineLoader` does it, but for voice activity, which goes by loudness,
and for the engines behind them, which are scripted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import effects as fx
from pipeline.core.effects import Effect
from pipeline.core.errors import EngineError
from pipeline.core.events import CallStarted, Event
from pipeline.core.money import START, Millis, Nanos
from pipeline.core.tariff import Price
from pipeline.core.terms import Allowance, EndReason, Layer, Limits, Manners, Phrases
from pipeline.engines.base import Speaker, Thinker, Tokens, Transcriber
from pipeline.engines.breaker import Attempt, Breaker
from pipeline.engines.deepgram.aura import AuraSettings, AuraSpeaker
from pipeline.engines.deepgram.flux import FluxSettings, FluxTranscriber
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from pipeline.engines.elevenlabs import ElevenLabsSettings, ElevenLabsSpeaker
from pipeline.engines.failover.speaker import FailoverSpeaker
from pipeline.engines.failover.thinker import FailoverThinker
from pipeline.engines.failover.transcriber import FailoverTranscriber
from pipeline.engines.openai_chat import ChatServer, OpenAIThinker
from pipeline.engines.scripted import (
    LoudnessActivity,
    ScriptedSpeaker,
    ScriptedThinker,
    ScriptedTranscriber,
    Stretch,
)
from pipeline.ports import Engines
from pipeline.runner import LiveCall
from tests.emulators import chat, deepgram, sounding
from tests.emulators.aura import Aura
from tests.emulators.chat import ChatEmulator, Json
from tests.emulators.elevenlabs import ElevenLabs
from tests.emulators.flux import FluxEmulator
from tests.emulators.nova import NovaEmulator
from tests.pipeline.doubles import Doors, watched
from tests.pipeline.rig import Around, Pages
from tests.vendors.person import WORDS, Ears, Into, Person

E = TypeVar("E", bound=Effect)
V = TypeVar("V", bound=Event)

RING_S = 1.0
PATIENCE_S = 1.5
CARRIER_S = 0.2
"""Its last word comes by another way than the sound, and later."""
LONGEST_S = 150.0
"""No call of these tests is longer; then the person hangs up, which the tests notice."""
VOICE = "sarah"

# -- what it costs -----------------------------------------------------------------------

MODELS = {"flux": "flux-general-en", "nova": "nova-3", "elevenlabs": "eleven_flash_v2_5", "aura": "aura-2"}
MIND = chat.MODEL
EAR_BEHIND, MIND_BEHIND, VOICE_BEHIND = "whisper-behind", "companion-behind", "hibari-behind"

PHONE = (
    Price(1, "carrier", "twilio", "second", 14_000_000, 60, increment=60),
    Price(2, "stream", "twilio-media", "second", 4_000_000, 60, increment=60),
    Price(3, "amd", "twilio", "call", 7_500_000, 1),
)
ENGINES = {
    "flux-general-en": (Price(4, "stt", "flux-general-en", "second", 6_500_000, 60),),
    "nova-3": (Price(5, "stt", "nova-3", "second", 4_800_000, 60),),
    EAR_BEHIND: (Price(6, "stt", EAR_BEHIND, "second", 1_000_000, 60),),
    MIND: (
        Price(7, "llm", MIND, "token_in", 350_000_000, 1_000_000),
        Price(8, "llm", MIND, "token_cached", 350_000_000, 1_000_000),
        Price(9, "llm", MIND, "token_out", 750_000_000, 1_000_000),
    ),
    MIND_BEHIND: (
        Price(10, "llm", MIND_BEHIND, "token_in", 50_000_000, 1_000_000),
        Price(11, "llm", MIND_BEHIND, "token_cached", 50_000_000, 1_000_000),
        Price(12, "llm", MIND_BEHIND, "token_out", 80_000_000, 1_000_000),
    ),
    "eleven_flash_v2_5": (Price(13, "tts", "eleven_flash_v2_5", "char", 40_000_000, 1_000),),
    "aura-2": (Price(14, "tts", "aura-2", "char", 30_000_000, 1_000),),
    VOICE_BEHIND: (Price(15, "tts", VOICE_BEHIND, "char", 15_000_000, 1_000),),
}
"""The migration's prices; those of the engines behind are made up, so that no two lines cost the same."""
ALLOWED = Nanos(2_000_000_000)

# -- what is said ------------------------------------------------------------------------

PHRASES = Phrases(
    disclosure="An AI calls.",
    greeting="Hi, it's Nora!",
    warning="A minute is left.",
    goodbye="So long!",
    out_of_time="Time is up. So long!",
    still_there="Still there?",
    apology="Sorry, once more?",
    voicemail="I will call again.",
    trouble="I am in trouble. Bye!",
    opted_out="No more calls.",
    screening="This is Nora.",
    listening="Mm-hm.",
)
AGAIN = (PHRASES.apology, PHRASES.still_there)
"""After these a person says it once more."""

ANSWERS: Mapping[str, str] = {
    "hobbies": "I paint boats. It calms me.",
    "joke": "Two fish sat in a tank. One drove.",
    "day": "Then put your feet up. You earned it.",
    "hello": "Hello Jordan! What is new?",
    "idea": "I have my moments. Not many.",
    "weaknesses": "Say that you worry too much. Then smile.",
    "thanks": "Any time. Call me whenever.",
    "bye": "Take care, Jordan. Bye now!",
}
"""What the vendor's model says to each line; all different, and each two sentences."""


def answer_to(text: str) -> str:
    return next((answer for name, answer in ANSWERS.items() if WORDS[name] in text), "Tell me more of it.")


def behind(text: str) -> str:
    """The same in the words of the model behind."""
    return f"Well, {answer_to(text)}"


# -- who takes part ----------------------------------------------------------------------


@dataclass(frozen=True)
class Cast:
    """Who takes part, and how the vendors behave. `fallback`: a scripted engine stands behind each of them."""

    ear: Literal["flux", "nova"] = "flux"
    voice: Literal["elevenlabs", "aura"] = "elevenlabs"
    fallback: bool = True
    lines: Sequence[str | Into] = ("hobbies", "joke")
    ear_plans: Sequence[deepgram.Plan] = ()
    """Of its connections, in turn; the last one for ever."""
    mind_plan: chat.Plan = field(default_factory=chat.Plan)
    mind_plans: Sequence[chat.Plan] = ()
    """Of the first requests, before `mind_plan`."""
    voice_plan: sounding.Plan = field(default_factory=sounding.Plan)
    texts: Callable[[list[Json]], str | chat.Plan] | None = None
    """What the model writes, if that is not the answer to what it was told."""
    eager: bool = False
    limits: Limits = field(default_factory=Limits)
    allowed: Nanos = ALLOWED
    eot_ms: int = 250
    eager_ms: int = 100
    first_token_ms: float = 200
    first_sound_ms: int = 120
    piece_ms: int = 20
    frame_ms: int = 80
    rendered: bool = True
    """The stock phrases were rendered in an earlier call."""
    pause_s: float = 1.8
    answered: bool = True
    """Each turn of the person has an answer in the transcript."""
    whole: bool = True
    """Nothing is interrupted, so nothing is sent again."""


class HearingFlux(FluxEmulator):
    person: Person

    def text(self, record: deepgram.Record) -> str:
        return self.person.saying


class HearingNova(NovaEmulator):
    person: Person

    def text(self, record: deepgram.Record) -> str:
        return self.person.saying


class Parrot(ScriptedTranscriber):
    """Hears what the person says, whatever was heard before."""

    person: Person

    def stretch(self, position: int) -> Stretch:
        return Stretch(self.person.saying, delay_ms=100)


class Noted(Breaker):
    """Notes when each try was found to have failed, in milliseconds of the loop."""

    def __init__(self, name: str, failures: list[tuple[Millis, str]]) -> None:
        self._time = Clock()
        super().__init__(name, self._time)
        self._failures = failures

    def note_failure(self, attempt: Attempt, error: EngineError) -> None:
        self._failures.append((self._time.millis(), self.name.partition(":")[0]))
        super().note_failure(attempt, error)


@dataclass
class Vendors:
    """The emulators of one call, and what they count."""

    ear: HearingFlux | HearingNova
    mind: ChatEmulator
    voice: ElevenLabs | Aura

    @property
    def violations(self) -> list[str]:
        return [*self.ear.violations, *self.voice.violations]

    @property
    def open(self) -> int:
        return self.ear.serving + self.voice.now_open


@asynccontextmanager
async def vendors(cast: Cast) -> AsyncIterator[Vendors]:
    """All three, at the loopback."""
    plans = [*cast.ear_plans, *cast.ear_plans[-1:] * 200]
    ear = (
        HearingFlux(plans=plans, eot_ms=cast.eot_ms, eager_ms=cast.eager_ms)
        if cast.ear == "flux"
        else HearingNova(plans=plans)
    )
    texts = cast.texts or (lambda messages: answer_to(messages[-1]["content"]))
    mind = ChatEmulator(texts, plan=cast.mind_plan, first_ms=cast.first_token_ms)
    mind.plans.extend(cast.mind_plans)
    kind = ElevenLabs if cast.voice == "elevenlabs" else Aura
    voice = kind(first_ms=cast.first_sound_ms, piece_ms=cast.piece_ms, plan=cast.voice_plan)
    async with ear, mind, voice:
        yield Vendors(ear, mind, voice)


@dataclass
class Company:
    """The engines of one call, and what was noted about them."""

    engines: Engines
    parrot: Parrot
    failures: list[tuple[Millis, str]]
    lost: list[tuple[str, Tokens]]


@asynccontextmanager
async def company(cast: Cast, at: Vendors) -> AsyncIterator[Company]:
    """As `EngineLoader` puts them together."""
    failures: list[tuple[Millis, str]] = []
    lost: list[tuple[str, Tokens]] = []
    parrot = Parrot((), model=EAR_BEHIND)
    ears: list[Transcriber] = [ear_of(cast, at.ear.url)]
    server = ChatServer(MIND, at.mind.url, chat.KEY)
    voices: list[Speaker] = [voice_of(cast, at.voice.url)]
    minds: list[Thinker] = [OpenAIThinker(server)]
    if cast.fallback:
        ears.append(parrot)
        minds.append(
            ScriptedThinker(
                lambda messages: behind(messages[-1].content), first_ms=150, piece_ms=5, model=MIND_BEHIND
            )
        )
        voices.append(ScriptedSpeaker(first_ms=80, piece_ms=20, model=VOICE_BEHIND))

    def noted(seam: str, models: Sequence[str]) -> Breaker:
        return Noted(f"{seam}:{models[0]}", failures)

    async with AsyncExitStack() as stack:
        if isinstance(minds[0], OpenAIThinker):
            stack.push_async_callback(minds[0].aclose)
        yield Company(
            Engines(
                LoudnessActivity(),
                FailoverTranscriber([(one, noted("stt", one.models)) for one in ears], PATIENCE_S),
                FailoverThinker(
                    [(one, noted("llm", one.models)) for one in minds],
                    PATIENCE_S,
                    lambda model, tokens: lost.append((model, tokens)),
                ),
                FailoverSpeaker([(one, noted("tts", one.models)) for one in voices], PATIENCE_S),
            ),
            parrot,
            failures,
            lost,
        )


def ear_of(cast: Cast, url: str) -> FluxTranscriber | NovaTranscriber:
    if cast.ear == "nova":
        return NovaTranscriber(NovaSettings(deepgram.KEY, url))
    return FluxTranscriber(FluxSettings(deepgram.KEY, url, eager_eot_threshold=0.4 if cast.eager else None))


def voice_of(cast: Cast, url: str) -> ElevenLabsSpeaker | AuraSpeaker:
    if cast.voice == "aura":
        return AuraSpeaker(AuraSettings(sounding.KEY, url))
    return ElevenLabsSpeaker(ElevenLabsSettings(sounding.KEY, url))


def started(cast: Cast, engines: Engines, call_id: str = "call-1") -> CallStarted:
    models = (*engines.transcriber.models, *engines.thinker.models, *engines.speaker.models)
    return CallStarted(
        START,
        call_id=call_id,
        persona="nora",
        layers=(Layer("identity", "You are Nora."), Layer("manners", "Be brief.")),
        phrases=PHRASES,
        prices=(*PHONE, *(price for model in models for price in ENGINES[model])),
        allowance=Allowance(cast.allowed, EndReason.CREDIT),
        limits=cast.limits,
        manners=Manners(eager=cast.eager),
        temperature_pct=70,
        transcriber_ends_turns=engines.transcriber.ends_turns,
        seed=1,
        started_utc="2025-01-01T12:00:00+00:00",
    )


def rendered(cast: Cast) -> Clips:
    clips = Clips()
    if cast.rendered:
        for text in PHRASES.all:
            clips.put(MODELS[cast.voice], VOICE, text, sounding.tone("stock", text))
    return clips


# -- the call ----------------------------------------------------------------------------


class Overheard(Around):
    """The surroundings; the person hears when they are asked to say something again."""

    person: Person

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        super().happened(event, effects)
        for effect in effects:
            if isinstance(effect, fx.Say) and effect.text in AGAIN:
                self.person.asked_again = True


@dataclass
class Held:
    """What came of a call. Times are milliseconds of the loop."""

    cast: Cast
    around: Around
    ears: Ears
    person: Person
    lines: list[str]
    vendors: Vendors
    company: Company
    doors: Doors
    zero: Millis
    """When the call began."""
    over: Millis
    """When the telephone was put down."""
    left: int = 0
    """Tasks left beyond those before."""

    def all(self, kind: type[E]) -> list[E]:
        return [effect for _, made in self.around.steps for effect in made if isinstance(effect, kind)]

    def events(self, kind: type[V]) -> list[V]:
        return [event for event, _ in self.around.steps if isinstance(event, kind)]

    def when(self, kind: type[E], fits: Callable[[E], bool] = lambda effect: True) -> list[Millis]:
        return [
            Millis(self.zero + event.at)
            for event, made in self.around.steps
            for effect in made
            if isinstance(effect, kind) and fits(effect)
        ]

    @property
    def said(self) -> dict[int, str]:
        """Every utterance asked for, by number."""
        return {say.utterance: say.text for say in self.all(fx.Say)}

    @property
    def transcript(self) -> list[tuple[str, str]]:
        return [(turn.role, turn.text) for turn in self.all(fx.TurnTaken)]

    @property
    def ended(self) -> fx.Ended:
        (ended,) = self.all(fx.Ended)
        return ended

    @property
    def charged(self) -> dict[str, int]:
        """Quantity by price line, from the tiles; a line of which nothing is left is not listed."""
        quantities: Counter[str] = Counter()
        for charge in self.all(fx.Charge):
            quantities[charge.line] += charge.to_qty - charge.from_qty
        return {name: quantity for name, quantity in quantities.items() if quantity}


async def perform(cast: Cast) -> Held:
    """Live through one call on the running loop. Emulators that break are no excuse: they fail the test."""
    before = len(asyncio.all_tasks())
    async with vendors(cast) as at, company(cast, at) as together:
        held = await play(cast, at, together)
    held.left = len(asyncio.all_tasks()) - before
    return held


async def play(cast: Cast, at: Vendors, together: Company) -> Held:
    """One call with engines that are there already."""
    clock, doors = Clock(), Doors()
    ears = Ears(clock)
    person = Person(cast.lines, ears, clock, pause_s=cast.pause_s)
    around = Overheard(ears)
    around.person = at.ear.person = together.parrot.person = person
    pages = Pages()
    call = LiveCall(
        started(cast, together.engines),
        voice=VOICE,
        engines=watched(together.engines, doors),
        clips=rendered(cast),
        clock=clock,
        journal=pages,
        outside=around,
    )
    ears.call = call
    zero = clock.millis()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call.run())
        await _telephone(cast, call, ears, person, clock)
    return Held(cast, around, ears, person, pages.lines, at, together, doors, zero, clock.millis())


async def _telephone(cast: Cast, call: LiveCall, ears: Ears, person: Person, clock: Clock) -> None:
    """It rings, is picked up, carries sound both ways, and is put down when all was said and answered."""
    await asyncio.sleep(RING_S)
    call.answered()
    if call.over:
        return
    call.attach(ears)
    begun, size = clock.seconds(), cast.frame_ms * 8
    frame_s = cast.frame_ms / 1000
    number = 0
    for number in range(int(LONGEST_S / frame_s)):
        if ears.closed.is_set() or person.content:
            break
        ears.tick()
        sound = person.sound(size)
        await asyncio.sleep(max(0.0, begun + (number + 1) * frame_s - clock.seconds()))
        call.hear(sound)
    else:
        person.gave_up = True
    if not ears.closed.is_set():
        call.dropped(EndReason.CALLER_HUNG_UP)
    await asyncio.sleep(CARRIER_S)
    call.carrier_done("completed", -int(-(clock.seconds() - begun) // 1))


def hold(cast: Cast) -> Held:
    """`perform` on a virtual loop of its own."""
    return run_virtual(perform(cast), grace=0.001)


def once(plan: sounding.Plan) -> sounding.Plan:
    """Only the first utterance, or handshake, goes wrong."""
    return replace(plan, times=1)
