"""One whole call with hosted engines, in virtual time: the real shell, the real failover, the emulated vendors.

    call = hold(Cast(mind=FAULTS["stalls"]))
    assert call.transcript == [...]

`Cast` says who takes part and how they behave, `perform` lives through it, `Held` is what came of it.
The engines are put together as `EngineLoader` does it, but for voice activity, which goes by loudness,
and for the engines behind them, which are scripted.

Long because whoever reads what came of a call finds how it was put together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import effects as fx
from pipeline.core.effects import Effect
from pipeline.core.errors import EngineError
from pipeline.core.events import Event
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason
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
from pipeline.traffic import Tape
from tests.emulators import chat, deepgram, sounding
from tests.emulators.aura import Aura
from tests.emulators.chat import ChatEmulator
from tests.emulators.elevenlabs import ElevenLabs
from tests.emulators.flux import FluxEmulator
from tests.emulators.nova import NovaEmulator
from tests.pipeline.doubles import Doors, watched
from tests.pipeline.rig import Around, Pages
from tests.vendors.cast import (
    AGAIN,
    EAR_BEHIND,
    MIND,
    MIND_BEHIND,
    MODELS,
    PHRASES,
    VOICE,
    VOICE_BEHIND,
    Cast,
    answer_to,
    behind,
    started,
)
from tests.vendors.person import Ears, Person

E = TypeVar("E", bound=Effect)
V = TypeVar("V", bound=Event)

RING_S = 1.0
PATIENCE_S = 1.5
CARRIER_S = 0.2
"""Its last word comes by another way than the sound, and later."""


# -- the vendors -----------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the vendors are."""

    ear: str
    mind: str
    voice: str


@dataclass
class Vendors:
    """The emulators of one call, and what they count."""

    ear: HearingFlux | HearingNova
    mind: ChatEmulator
    voice: ElevenLabs | Aura

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.ear.url, self.mind.url, self.voice.url)

    @property
    def violations(self) -> list[str]:
        return [*self.ear.violations, *self.voice.violations]

    @property
    def open(self) -> int:
        return self.ear.serving + self.voice.now_open


@asynccontextmanager
async def vendors(cast: Cast) -> AsyncIterator[Vendors]:
    """All three, at the loopback."""
    plans = [*cast.ear_plans, *list(cast.ear_plans[-1:]) * 200]
    ear = (
        HearingFlux(plans=plans, eot_ms=cast.eot_ms, eager_ms=cast.eager_ms)
        if cast.ear == "flux"
        else HearingNova(plans=plans)
    )
    texts = cast.texts or (lambda messages: answer_to(messages[-1]["content"]))
    mind = ChatEmulator(texts, plan=cast.mind_plan, first_ms=cast.first_token_ms, piece_ms=cast.word_ms)
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
    again: Counter[str] = field(default_factory=Counter)
    """Seconds of each model that were heard again, for which nobody pays twice."""
    voice_behind: ScriptedSpeaker = field(default_factory=ScriptedSpeaker)


@asynccontextmanager
async def company(cast: Cast, at: Addresses, parrot: Parrot | None = None) -> AsyncIterator[Company]:
    """As `EngineLoader` puts them together."""
    failures: list[tuple[Millis, str]] = []
    lost: list[tuple[str, Tokens]] = []
    voice_behind = ScriptedSpeaker(first_ms=80, piece_ms=20, model=VOICE_BEHIND)
    parrot = parrot or Parrot((), model=EAR_BEHIND)
    ears: list[Transcriber] = [ear_of(cast, at.ear)]
    voices: list[Speaker] = [voice_of(cast, at.voice)]
    minds: list[Thinker] = [OpenAIThinker(ChatServer(MIND, at.mind, chat.KEY))]
    if cast.fallback:
        ears.append(parrot)
        minds.append(
            ScriptedThinker(
                lambda messages: behind(messages[-1].content),
                first_ms=cast.behind_ms,
                piece_ms=5,
                model=MIND_BEHIND,
            )
        )
        voices.append(voice_behind)

    def noted(seam: str, models: Sequence[str]) -> Breaker:
        return Noted(f"{seam}:{models[0]}", failures)

    async with AsyncExitStack() as stack:
        if isinstance(minds[0], OpenAIThinker):
            stack.push_async_callback(minds[0].aclose)
        yield Company(
            Engines(
                LoudnessActivity(),
                hearing := FailoverTranscriber([(one, noted("stt", one.models)) for one in ears], PATIENCE_S),
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
            hearing.heard_again,
            voice_behind,
        )


def ear_of(cast: Cast, url: str) -> FluxTranscriber | NovaTranscriber:
    if cast.ear == "nova":
        return NovaTranscriber(NovaSettings(deepgram.KEY, url))
    return FluxTranscriber(FluxSettings(deepgram.KEY, url, eager_eot_threshold=0.4 if cast.eager else None))


def voice_of(cast: Cast, url: str) -> ElevenLabsSpeaker | AuraSpeaker:
    if cast.voice == "aura":
        return AuraSpeaker(AuraSettings(sounding.KEY, url))
    return ElevenLabsSpeaker(ElevenLabsSettings(sounding.KEY, url))


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
class Talk:
    """A call as the telephone and the journal have it. Times are milliseconds of the loop."""

    cast: Cast
    around: Around
    ears: Ears
    person: Person
    lines: list[str]
    company: Company
    doors: Doors
    zero: Millis
    """When the call began."""
    over: Millis
    """When the telephone was put down."""

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


@dataclass
class Held(Talk):
    """A call, and what the vendors have of it."""

    vendors: Vendors
    left: int = 0
    """Tasks left beyond those before."""


async def perform(cast: Cast) -> Held:
    """Live through one call on the running loop, with vendors of its own."""
    async with vendors(cast) as at, company(cast, at.addresses) as together:
        return await play(cast, at, together)


async def play(cast: Cast, at: Vendors, together: Company) -> Held:
    """One call with vendors and engines that are there already."""

    def meet(person: Person) -> None:
        at.ear.person = person

    return Held(**vars(await talk(cast, together, meet)), vendors=at)


async def talk(cast: Cast, together: Company, meet: Callable[[Person], None] = lambda person: None) -> Talk:
    """One call. Vendors that must know what is said are made to `meet` who says it."""
    clock, doors = Clock(), Doors()
    ears = Ears(clock)
    person = Person(cast.lines, ears, clock, pause_s=cast.pause_s)
    meet(person)
    around = Overheard(ears)
    around.person = together.parrot.person = person
    pages = Pages()
    call = LiveCall(
        started(cast, together.engines),
        voice=VOICE,
        engines=watched(together.engines, doors),
        clips=rendered(cast),
        clock=clock,
        journal=pages,
        outside=around,
        tape=(tape := None if cast.tape is None else Tape(cast.tape, clock)),
    )
    ears.call = call
    zero = clock.millis()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call.run())
        await _telephone(cast, call, ears, person, clock)
    if tape is not None:
        tape.close()
    return Talk(cast, around, ears, person, pages.lines, together, doors, zero, clock.millis())


async def _telephone(cast: Cast, call: LiveCall, ears: Ears, person: Person, clock: Clock) -> None:
    """It rings, is picked up, carries sound both ways, and is put down when all was said and answered."""
    await asyncio.sleep(RING_S)
    call.answered()
    if call.over:
        return
    call.attach(ears)
    begun, size = clock.seconds(), cast.frame_ms * 8
    frame_s = cast.frame_ms / 1000
    for number in range(int(cast.longest_s / frame_s)):
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
    """`perform` on a virtual loop of its own, which must be empty afterwards."""

    async def main() -> Held:
        held = await perform(cast)
        held.left = len(asyncio.all_tasks()) - 1
        return held

    return run_virtual(main(), grace=0.001)
