"""Puts together what a call must know before it begins: words, limits, prices, money.

Everything the core will ever ask about the world goes into one `CallStarted`. Nothing here
touches the database or the network.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from pipeline.core import memory_order, memory_prompt, prompt, scenario
from pipeline.core.effects import Message
from pipeline.core.errors import CallMeBackError
from pipeline.core.events import CallStarted
from pipeline.core.memory import Memory
from pipeline.core.money import START, Nanos
from pipeline.core.tariff import STEP_SERVICES, Price, PriceBook, Service, Unit, cost
from pipeline.core.terms import (
    Allowance,
    Known,
    Layer,
    Limits,
    Manners,
    Phrases,
    Remember,
    TimeLeft,
)
from pipeline.ports import Engines
from server.settings import Settings
from storage.records import Channel, Direction, Grant, Persona, PriceRow, Relationship, Scenario

CARRIER_MODEL = "twilio"
INBOUND_MODEL = "twilio-inbound"
STREAM_MODEL = "twilio-media"
TALKED_CHARS_A_MINUTE = 600
"""An agent that talks half of the time, at about 20 characters a second."""
REPLIES_A_MINUTE = 6
REJOIN_S = 5
"""How long a broken socket is waited for, beside the pause before the carrier asks for another."""
KNOWN_CHARS = 4_000
"""Of what is known already, as told to the model that writes memories."""
REMEMBERING_CHARS = 2_500
"""What else it is told."""

ABOUT_A_MINUTE = "Just so you know, we have about a minute left on this call."
WARNINGS = (
    TimeLeft(150_000, "Just so you know, a good part of what this call may cost is used up."),
    TimeLeft(75_000, "Just so you know, we have a minute or two left on this call."),
    TimeLeft(50_000, ABOUT_A_MINUTE),
    TimeLeft(35_000, "Just so you know, we have about forty seconds left on this call."),
    TimeLeft(0, "Just so you know, we have only about half a minute left on this call."),
)
"""By the time until the cutoff. The percentage of a budget may be reached minutes before, or there may be no cutoff
by that budget at all; in a short call the greeting takes much of the time."""


SECONDS: tuple[Unit, ...] = ("second",)
TOKENS: tuple[Unit, ...] = ("token_in", "token_cached", "token_out")
CHARS: tuple[Unit, ...] = ("char",)


MISSED = "I tried to reach you as you asked. Talk to you soon, goodbye!"
"""Left on a voicemail. Whoever plays it may not be whom it is for: it says nothing of the call."""


Reach = Literal["this number", "their phone", "nothing"]
"""Which telephone of the caller's may be rung: the one they are on, one they proved, none."""
NO_MORE: Mapping[Reach, str] = {
    "this number": "Understood. I won't call this number again. Goodbye.",
    "their phone": "Understood. I won't call your phone again. Goodbye.",
    "nothing": "Understood. I have no number of yours to call. Goodbye.",
}
"""The answer to whoever wants no more calls."""


class Unpriced(CallMeBackError):
    """A service a call would use has no price; a missing price is never nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """Who calls whom about what. A stranger has no name, no relationship and no memories."""

    persona: Persona
    caller: str
    relationship: Relationship | None = None
    scenario: Scenario | None = None
    context: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The value of everything the scenario leaves open."""
    memories: tuple[Memory, ...] = ()
    today: date | None = None
    """Where the caller lives; None for somebody of whom nothing is to be remembered."""
    rang_us: bool = False
    reach: Reach = "this number"

    @property
    def first_name(self) -> str:
        return self.caller.split()[0] if self.caller.split() else "there"

    @property
    def voice(self) -> str:
        """The one this caller wants to hear."""
        return (self.relationship.voice if self.relationship is not None else "") or self.persona.voice


def stranger(persona: Persona) -> Part:
    """Somebody rang who proved nothing: of nobody anything is known, and nothing is remembered."""
    return Part(persona, "", rang_us=True)


def pinned(
    rows: Sequence[PriceRow],
    engines: Engines,
    channel: Channel = "phone",
    direction: Direction = "outbound",
) -> tuple[Price, ...]:
    """The price book of a call with these engines; a browser's has no carrier. Raises `Unpriced`."""
    rang_us = direction == "inbound"
    carried: list[tuple[Service, str, tuple[Unit, ...]]] = [
        ("carrier", INBOUND_MODEL if rang_us else CARRIER_MODEL, ("second",)),
        ("stream", STREAM_MODEL, ("second",)),
    ]
    if not rang_us:  # who answered is only asked where we rang
        carried.append(("amd", CARRIER_MODEL, ("call",)))
    wanted: list[tuple[Service, str, tuple[Unit, ...]]] = [
        *(carried if channel == "phone" else ()),
        *(("stt", model, SECONDS) for model in engines.transcriber.models),
        *(("llm", model, TOKENS) for model in engines.thinker.models),
        *(("tts", model, CHARS) for model in engines.speaker.models),
    ]
    found = {(row.price.service, row.price.model, row.price.unit): row.price for row in rows}
    book = []
    for service, model, units in wanted:
        for unit in units:
            price = next((p for key, p in found.items() if key == (service, model, unit)), None)
            if price is None:
                raise Unpriced(
                    f"there is no price for {service}:{model}:{unit}{_remedy(service, [key[:2] for key in found])}"
                )
            book.append(price)
    return tuple(book)


def _remedy(service: Service, priced: Sequence[tuple[Service, str]]) -> str:
    """What a person can do about a model without a price."""
    listed = ", ".join(sorted({model for of, model in priced if of == service}))
    match service:
        case "llm":
            return "; give a model of your own one with LLM_PRICE_USD"
        case "stt":
            return f"; DEEPGRAM_STT_MODEL must name a model of the price list, which has {listed}"
        case "tts":
            return f"; DEEPGRAM_TTS_MODEL and ELEVENLABS_MODEL must name models of the price list, which has {listed}"
        case _:
            return ""


def limits(settings: Settings, persona: Persona, minutes: int) -> Limits:
    return Limits(
        max_duration_ms=minutes * 60_000,
        end_of_turn_ms=settings.end_of_turn_ms,
        barge_in_ms=settings.barge_in_ms,
        barge_in_words=settings.barge_in_words,
        idle_prompt_ms=settings.idle_prompt_ms,
        rejoin_ms=(settings.resume_pause_s + REJOIN_S) * 1000,
        ring_ms=(settings.ring_seconds + 20) * 1000,
        reply_max_tokens=persona.reply_max_tokens,
        reasoning_tokens=_thinking(settings),
    )


def _thinking(settings: Settings) -> int:
    """The largest allowance of reasoning among the engines: whichever of them writes, there is money for it."""
    return settings.llm_reasoning_tokens if "openai" in settings.llm_engine else 0


def manners(settings: Settings) -> Manners:
    return Manners(
        eager=settings.eager_replies, backchannels=settings.backchannels, voicemail=settings.voicemail
    )


def disclosure(settings: Settings, *, rang_us: bool = False) -> str:
    """The first words of every call."""
    recorded = " It is recorded." if settings.record_calls else ""
    if rang_us:
        return f"This is an automated AI line of {settings.operator_name}.{recorded}"
    return f"This is an automated AI call from {settings.operator_name}, which you asked for.{recorded}"


def phrases(part: Part, settings: Settings) -> Phrases:
    first = part.first_name
    opening = part.scenario.opening if part.scenario is not None else ""
    said = {name: scenario.plain(value) for name, value in part.variables.items()} | {scenario.PERSON: first}
    greeting = scenario.filled(opening, said) if opening else part.persona.greeting.replace("{name}", first)
    told = disclosure(settings, rang_us=part.rang_us)
    left = part.persona.voicemail or f"Hi, it's {part.persona.name}. {MISSED}"
    return Phrases(
        disclosure=told,
        greeting=greeting[:200],
        warning=ABOUT_A_MINUTE,
        warnings=WARNINGS,
        short="Just so you know, the money for this call is nearly used up.",
        goodbye="I have to let you go now. Take care, goodbye!",
        out_of_time="I'm so sorry, our time is up and I have to go now. Take care, goodbye!",
        still_there="Are you still there?",
        apology="Sorry, I didn't quite get that. Could you say it again?",
        # Whoever plays it has not heard the call's first words.
        voicemail=f"{told} {left}",
        trouble="I'm so sorry, something has gone wrong on my side and I have to go. Goodbye!",
        opted_out=NO_MORE[part.reach],
        screening=f"This is {part.persona.name}, an automated caller from {settings.operator_name}. "
        f"{first if first != 'there' else 'Somebody'} asked for this call.",
        listening="Mm-hm.",
    )


def layers(part: Part) -> tuple[Layer, ...]:
    relation = part.relationship
    told = ""
    if relation is not None:
        told = f"You are the caller's {prompt.quoted(relation.kind)}."
        if relation.notes:
            told += f" What they want you to know: {prompt.quoted(relation.notes)}"
        if relation.manner:
            told += f" How they would like you to speak: {prompt.quoted(relation.manner)}"
    data = {
        name: prompt.quoted(scenario.plain(value))
        for name, value in {**part.variables, scenario.PERSON: part.first_name}.items()
    }
    return prompt.layers(
        identity=part.persona.identity,
        relationship=told,
        memory=memory_prompt.block(part.memories, part.today) if part.today is not None else "",
        scenario=scenario.filled(part.scenario.prompt, data) if part.scenario is not None else "",
        context=part.context,
        caller=prompt.quoted(part.caller) if part.caller else "",
    )


PART_S = 60
"""A part of the hold lasts so long at the worst."""
LOW_S = 35
"""With less than this at the worst left of it, the next part is asked for."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Money to set aside: at least so much or the phone does not ring, then a part at a time.

    `margin` stays in the hold until the carrier's own count is known. With less than `low` left, another `part` is
    asked for. `most` is what the call could ever use.
    """

    at_least: Nanos
    margin: Nanos
    part: Nanos
    low: Nanos
    most: Nanos


def remember(part: Part, settings: Settings) -> Remember | None:
    """That the call is to be remembered, and what is known already; None where it is not to be."""
    if part.today is None or not settings.remember_calls:
        return None
    known: list[Known] = []
    room = KNOWN_CHARS
    for memory in memory_prompt.ordered(part.memories):
        room -= len(memory.text) + len(memory.subject)
        if room >= 0 and memory.kind != "summary":
            known.append(Known(memory.kind, memory.subject, memory.text))
    return Remember(part.today.isoformat(), tuple(known))


def admission(
    settings: Settings,
    prices: tuple[Price, ...],
    bounds: Limits,
    system: Sequence[Layer],
    greeting: str,
    connected_ms: int = 0,
) -> Admission:
    """Computed from the pinned prices: a first minute with a greeting and one answer, and the margin minute.

    `connected_ms`: how long the line is up already, so that more than one minute may have begun.
    """
    book = PriceBook(prices)
    minute = sum(cost(price, 60) for price in prices if price.service in STEP_SERVICES)
    once = sum(cost(price, 1) for price in book.of("amd"))
    listening = _worst(book, "stt", "second", 60)
    reserve = _worst(book, "stt", "second", bounds.goodbye_ms // 1000)
    opening = prompt.tokens_at_most([Message("system", layer.text) for layer in system])
    written = _of(book, "token_out", bounds.reply_max_tokens + bounds.reasoning_tokens)
    reply = _of(book, "token_in", opening + 200) + written
    answer = _speech(book, bounds.reply_max_chars) + reply
    begun = minute * (connected_ms // 60_000)
    at_least = begun + once + minute + listening + reserve + _speech(book, len(greeting)) + answer + minute
    full_reply = _of(book, "token_in", bounds.prompt_max_tokens * prompt.BYTES_PER_TOKEN) + written
    talk = listening + _speech(book, TALKED_CHARS_A_MINUTE) + REPLIES_A_MINUTE * full_reply
    minutes = -(-bounds.max_duration_ms // 60_000)
    remembering = _of(book, "token_in", KNOWN_CHARS + memory_order.TRANSCRIPT_CHARS + REMEMBERING_CHARS)
    remembering += _of(book, "token_out", Remember("").max_tokens + bounds.reasoning_tokens)
    return Admission(
        at_least=Nanos(at_least),
        margin=Nanos(minute),
        part=Nanos(minute + talk * PART_S // 60),
        # A carrier minute is bought whole, so a whole one is always at hand.
        low=Nanos(minute + talk * LOW_S // 60),
        most=Nanos(at_least + (minute + talk) * minutes + remembering),
    )


def _worst(book: PriceBook, service: Service, unit: Unit, quantity: int) -> int:
    """What a quantity costs where the dearest of the service's engines has to be fallen back to."""
    return max((cost(price, quantity) for price in book.of(service) if price.unit == unit), default=0)


def _of(book: PriceBook, unit: Unit, quantity: int) -> int:
    return _worst(book, "llm", unit, quantity)


def _speech(book: PriceBook, chars: int) -> int:
    return _worst(book, "tts", "char", chars)


def allowance(grant: Grant, admitted: Admission) -> Allowance:
    """What of a hold may be spent, and what of it and of what is free."""
    return Allowance(
        held=Nanos(grant.held - admitted.margin),
        reach=Nanos(grant.reach - admitted.margin),
        binds=grant.binds,
        warn_used=grant.warn_used,
        part=admitted.part,
        low=admitted.low,
    )


def started(
    call_id: str,
    part: Part,
    settings: Settings,
    engines: Engines,
    prices: tuple[Price, ...],
    money: Allowance,
    bounds: Limits,
    now: datetime,
) -> CallStarted:
    return CallStarted(
        at=START,
        call_id=call_id,
        persona=part.persona.id,
        layers=layers(part),
        phrases=phrases(part, settings),
        prices=prices,
        allowance=money,
        limits=bounds,
        manners=manners(settings),
        temperature_pct=part.persona.temperature_pct,
        transcriber_ends_turns=engines.transcriber.ends_turns,
        seed=zlib.crc32(call_id.encode()),
        started_utc=now.isoformat(timespec="milliseconds"),
        remember=remember(part, settings),
    )
