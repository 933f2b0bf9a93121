"""Who takes part in a call with hosted engines: what they say, what they cost, and how the vendors behave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipeline.core.events import CallStarted
from pipeline.core.money import START, Nanos
from pipeline.core.tariff import Price
from pipeline.core.terms import Allowance, EndReason, Layer, Limits, Manners, Phrases
from pipeline.ports import Engines
from tests.emulators import chat, deepgram, sounding
from tests.emulators.chat import Json
from tests.vendors.person import WORDS, Into

VOICE = "sarah"
"""A persona's."""

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
    "scripted": (
        Price(16, "stt", "scripted", "second", 1_000_000, 60),
        Price(17, "llm", "scripted", "token_in", 50_000_000, 1_000_000),
        Price(18, "llm", "scripted", "token_cached", 50_000_000, 1_000_000),
        Price(19, "llm", "scripted", "token_out", 80_000_000, 1_000_000),
        Price(20, "tts", "scripted", "char", 15_000_000, 1_000),
    ),
    VOICE_BEHIND: (Price(15, "tts", VOICE_BEHIND, "char", 15_000_000, 1_000),),
}
"""The migration's prices; those of the engines behind are made up, so that no two lines cost the same."""
ALLOWED = Nanos(2_000_000_000)

# -- what is said ------------------------------------------------------------------------

PHRASES = Phrases(
    disclosure="An AI calls.",
    greeting="Hi, it's Nora!",
    warning="A minute is left.",
    short="The money for this is nearly used up.",
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


HOUR_MS = 3_600_000


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
    word_ms: float = 10
    behind_ms: int = 150
    """The model behind takes so long to its first word."""
    first_sound_ms: int = 120
    piece_ms: int = 20
    longest_s: float = 150.0
    """Then the person hangs up, which the tests notice."""
    frame_ms: int = 80
    rendered: bool = True
    """The stock phrases were rendered in an earlier call."""
    pause_s: float = 1.8
    answered: bool = True
    """Each turn of the person has an answer in the transcript."""
    whole: bool = True
    """Nothing is interrupted, so nothing is sent again."""
    tape: Path | None = None
    """Where the traffic of the engines is recorded."""

    def lasting(self) -> Cast:
        """The same without an end but that all is said."""
        limits = replace(self.limits, max_duration_ms=HOUR_MS)
        return replace(self, limits=limits, allowed=Nanos(10**12), longest_s=HOUR_MS / 1000)


def started(cast: Cast, engines: Engines, call_id: str = "call-1") -> CallStarted:
    models = dict.fromkeys((*engines.transcriber.models, *engines.thinker.models, *engines.speaker.models))
    return CallStarted(
        START,
        call_id=call_id,
        persona="nora",
        layers=(Layer("identity", "You are Nora."), Layer("manners", "Be brief.")),
        phrases=PHRASES,
        prices=(*PHONE, *(price for model in models for price in ENGINES[model])),
        allowance=Allowance(cast.allowed, cast.allowed, EndReason.CREDIT),
        limits=cast.limits,
        manners=Manners(eager=cast.eager),
        temperature_pct=70,
        transcriber_ends_turns=engines.transcriber.ends_turns,
        seed=1,
        started_utc="2025-01-01T12:00:00+00:00",
    )
