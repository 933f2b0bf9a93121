"""The catalogues of faults, lived through in whole calls: one vendor at fault, the others well.

All calls of a catalogue go on side by side in one virtual loop, which takes a third of the time that one
after the other would. Each is judged by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Literal

from pipeline.clock import run_virtual
from pipeline.core.terms import EndReason
from tests.emulators import aura, chat, deepgram, elevenlabs, flux, nova
from tests.emulators.sounding import only
from tests.vendors.cast import ANSWERS, PHRASES, Cast
from tests.vendors.checks import failed_over_late, wrong
from tests.vendors.rig import Held, perform

Vendor = Literal["flux", "nova", "chat", "elevenlabs", "aura"]

CATALOGUES: Mapping[Vendor, Sequence[str]] = {
    "flux": tuple(flux.FAULTS),
    "nova": tuple(nova.FAULTS),
    "chat": tuple(chat.FAULTS),
    "elevenlabs": tuple(elevenlabs.FAULTS),
    "aura": tuple(aura.FAULTS),
}
LONGEST_S = 400.0


class Company(Enum):
    """Who else is there, and for how long it goes wrong."""

    BEHIND = "for ever, with another engine behind it"
    ONCE = "once, with nobody behind it"
    ALONE = "for ever, with nobody behind it"


def cast_of(vendor: Vendor, fault: str, company: Company) -> Cast:
    once, fallback = company is Company.ONCE, company is Company.BEHIND
    match vendor:
        case "flux":
            plan = flux.FAULTS[fault]
            return Cast(fallback=fallback, ear_plans=(plan, deepgram.Plan()) if once else (plan,), eager=True)
        case "nova":
            plan = nova.FAULTS[fault]
            return Cast("nova", fallback=fallback, ear_plans=(plan, deepgram.Plan()) if once else (plan,))
        case "chat":
            written = chat.FAULTS[fault]
            if once:
                return Cast(fallback=fallback, mind_plans=(written,))
            return Cast(fallback=fallback, mind_plan=written)
        case "elevenlabs":
            sound = elevenlabs.FAULTS[fault]
            return Cast(fallback=fallback, voice_plan=only(sound) if once else sound)
        case "aura":
            sound = aura.FAULTS[fault]
            return Cast(voice="aura", fallback=fallback, voice_plan=only(sound) if once else sound)


Calls = tuple[tuple[Company, str], ...]
"""Who else is there, and the fault."""


def usual(vendor: Vendor, some: Sequence[str]) -> Calls:
    """Every fault with another engine behind it, and some without."""
    behind = [(Company.BEHIND, fault) for fault in CATALOGUES[vendor]]
    return (*behind, *((company, fault) for fault in some for company in (Company.ONCE, Company.ALONE)))


def all_without(vendor: Vendor) -> Calls:
    """Every fault with nobody behind it."""
    return tuple(
        (company, fault) for fault in CATALOGUES[vendor] for company in (Company.ONCE, Company.ALONE)
    )


@cache
def lived(vendor: Vendor, calls: Calls) -> Mapping[tuple[Company, str], Held | Exception]:
    """These calls; of one that broke, what it broke with."""
    return run_virtual(_side_by_side(vendor, calls), grace=0.001)


async def _side_by_side(vendor: Vendor, calls: Calls) -> Mapping[tuple[Company, str], Held | Exception]:
    async def one(company: Company, fault: str) -> Held | Exception:
        try:
            async with asyncio.timeout(LONGEST_S):
                return await perform(cast_of(vendor, fault, company))
        except Exception as broken:  # edge: of one call; the others are judged all the same
            return broken

    async with asyncio.TaskGroup() as group:
        tasks = {call: group.create_task(one(*call)) for call in calls}
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
    return {call: task.result() for call, task in tasks.items()}


def call_of(vendor: Vendor, company: Company, fault: str, calls: Calls) -> Held:
    """One of these calls, in which all that must always hold has been found to hold."""
    held = lived(vendor, calls)[company, fault]
    if isinstance(held, Exception):
        raise held
    assert wrong(held) == []
    return held


# -- what is expected ----------------------------------------------------------------------

TEXTS_OF_FAULTS = {name: plan.text for name, plan in chat.FAULTS.items() if plan.text}


def check_behind(held: Held, *, prompted: bool = False) -> None:
    """Somebody else takes over, in time, and the person hears of nothing. `prompted`: the vendor said that
    nothing was said, so they are asked whether they are there."""
    assert failed_over_late(held) == []
    said = list(held.said.values())
    assert not {PHRASES.apology, PHRASES.trouble} & set(said)
    assert (PHRASES.still_there in said) == prompted
    assert held.ended.reason in (EndReason.CALLER_HUNG_UP, EndReason.AGENT_ENDED)
    if held.ended.reason is EndReason.CALLER_HUNG_UP and held.cast.mind_plan.text is None:
        assert _answered(held) == [*held.cast.lines]


def check_once(held: Held, *, lasting: bool) -> None:
    """At most one apology, and the call goes on; a failure that no retry mends ends it after a word of regret."""
    said = list(held.said.values())
    if lasting:
        check_given_up(held)
        return
    assert PHRASES.trouble not in said
    assert said.count(PHRASES.apology) + said.count(PHRASES.still_there) <= 1
    if held.ended.reason is EndReason.CALLER_HUNG_UP and not any(p.text for p in held.cast.mind_plans):
        assert _answered(held) == [*held.cast.lines]


def check_given_up(held: Held) -> None:
    """The rendered regret is heard to its end, then the call is over."""
    assert held.ended.reason is EndReason.ENGINE_FAILURE
    role, text = held.transcript[-1]
    assert role == "agent"
    assert text.endswith(PHRASES.trouble)


def check_alone(held: Held) -> None:
    """Either the vendor's oddity is lived with, or the call is given up in good form."""
    if held.ended.reason is EndReason.ENGINE_FAILURE:
        check_given_up(held)
        return
    assert PHRASES.trouble not in held.said.values()
    assert held.ended.reason in (EndReason.CALLER_HUNG_UP, EndReason.AGENT_ENDED)
    if held.ended.reason is EndReason.CALLER_HUNG_UP and held.cast.mind_plan.text is None:
        assert _answered(held) == [*held.cast.lines]


def _answered(held: Held) -> list[str]:
    """The lines that were answered, in order."""
    told = " ".join(text for role, text in held.transcript if role == "agent")
    found = [(told.find(answer), name) for name, answer in ANSWERS.items() if answer in told]
    return [name for _, name in sorted(found)]
