"""What a persona keeps of a person: joined with what is known after a call, corrected and forgotten by its owner.

How old and new go together is decided in `pipeline/core/memory.py`. Here each decision and the rows it is made of
are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import structlog

from pipeline.core.effects import Learned, Unlearned
from pipeline.core.memory import (
    GREATEST,
    Finding,
    Memory,
    folded,
    marks,
    marks_lifted,
    marks_of_correction,
    merge,
    telling,
)
from storage import calls, memories
from storage.db import Tx
from storage.records import User

log = structlog.get_logger()

KEPT = "kept"


def today(user: User, now: datetime) -> date:
    """The day it is where the person lives."""
    return now.astimezone(ZoneInfo(user.timezone)).date()


async def keep(tx: Tx, call_id: str, taught: Learned | Unlearned, now: datetime) -> None:
    """Join what a call taught with what is known. Doing so again changes nothing."""
    call = await calls.get(tx, call_id)
    if call is None:
        return
    outcome = KEPT
    if isinstance(taught, Unlearned):
        outcome = taught.why
    else:
        said_on = date.fromisoformat(taught.said_on)
        await _join(tx, call.user_id, call.persona_id, taught.findings, said_on, call_id, now, marked=True)
    await memories.remembered(tx, call_id, outcome)
    log.info("call_remembered", call=call_id, outcome=outcome)


async def _join(
    tx: Tx,
    user_id: str,
    persona_id: str,
    found: Sequence[Finding],
    said_on: date,
    call_id: str | None,
    now: datetime,
    *,
    marked: bool,
) -> None:
    """`marked`: what was deleted is dropped."""
    known = await memories.of(tx, user_id, persona_id, lock=True)
    forgotten = await memories.marks(tx, user_id, persona_id) if marked else frozenset()
    merged = merge(
        memories.marker(tx, user_id, persona_id), known, found,
        said_on=said_on, call_id=call_id, now=now, forgotten=forgotten,
    )  # fmt: skip
    await memories.remove(tx, user_id, persona_id, merged.dropped)
    for memory in merged.changed:
        await memories.put(tx, user_id, persona_id, memory)
    for finding in merged.added:
        await memories.add(tx, user_id, persona_id, finding, said_on=said_on, call_id=call_id, now=now)


async def write(tx: Tx, user: User, persona_id: str, text: str, now: datetime) -> Memory:
    """What the person themselves want remembered; it may say again what they had deleted."""
    said_on = today(user, now)
    await _lift(tx, user.id, persona_id, text)
    finding = Finding("fact", text, importance=GREATEST)
    await _join(tx, user.id, persona_id, [finding], said_on, None, now, marked=False)
    known = await memories.of(tx, user.id, persona_id)
    return next(each for each in known if each.kind == "fact" and folded(each.text) == folded(text))


async def correct(
    tx: Tx, user: User, persona_id: str, memory_id: str, text: str, now: datetime
) -> Memory | None:
    """The person's own word in place of what was understood, which does not come back. None for no such memory."""
    known = await memories.get(tx, user.id, persona_id, memory_id)
    if known is None:
        return None
    left = marks_of_correction(memories.marker(tx, user.id, persona_id), known, text)
    await memories.mark(tx, user.id, persona_id, left, now)
    await _lift(tx, user.id, persona_id, text)
    right = replace(known, text=text, said_on=today(user, now), updated_at=now)
    await memories.put(tx, user.id, persona_id, right)
    return right


async def _lift(tx: Tx, user_id: str, persona_id: str, text: str) -> None:
    """What the person writes may come back, also where they had deleted it."""
    forgotten = await memories.marks(tx, user_id, persona_id)
    lifted = marks_lifted(memories.marker(tx, user_id, persona_id), text, forgotten)
    await memories.unmark(tx, user_id, persona_id, lifted)


async def forget(tx: Tx, user_id: str, persona_id: str, memory_id: str, now: datetime) -> bool:
    """Delete one for good, with the summaries and open threads that speak of it. False for no such memory."""
    known = await memories.of(tx, user_id, persona_id, lock=True)
    gone = next((each for each in known if each.id == memory_id), None)
    if gone is None:
        return False
    await _erase(tx, user_id, persona_id, [gone, *telling(gone, known)], now)
    return True


async def forget_all(tx: Tx, user_id: str, persona_id: str, now: datetime) -> None:
    await _erase(tx, user_id, persona_id, await memories.of(tx, user_id, persona_id, lock=True), now)


async def _erase(tx: Tx, user_id: str, persona_id: str, gone: list[Memory], now: datetime) -> None:
    mark = memories.marker(tx, user_id, persona_id)
    left = frozenset().union(*(marks(mark, memory) for memory in gone))
    await memories.mark(tx, user_id, persona_id, left, now)
    await memories.remove(tx, user_id, persona_id, [memory.id for memory in gone])
