"""Who rang us, how far each came, and numbers that are not answered. Numbers are kept as keyed hashes, for counting
only; of a blocked one also the last two digits, so that whoever blocked it knows it again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, delete, func, select, update

from storage.db import Tx, insert
from storage.ids import new_id
from storage.number_hashes import hashed
from storage.rows import columns, every, first
from storage.tables import inbound_blocks, inbound_rings

Stage = Literal["menu", "stranger", "known", "call_back", "left"]
"""Being asked for a PIN; then talking as a stranger or as a user, rung back instead, or gone without a call."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Somebody who rang and was answered. `call_id` is the call's, should it become one; `guesses` were of a PIN."""

    sid: str
    call_id: str
    user_id: str | None
    stage: Stage
    guesses: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Blocked:
    """A number that is not answered; `number_hash` names it, empty for those who withhold theirs. `method`: by whom."""

    number_hash: str
    method: str
    created_at: datetime
    last2: str


async def find(tx: Tx, sid: str) -> Ring | None:
    query = select(*columns(inbound_rings, Ring)).where(inbound_rings.c.sid == sid)
    return await first(tx, Ring, query)


async def begin(tx: Tx, sid: str, e164: str | None, user_id: str | None, now: datetime) -> Ring:
    """Is answered now. `user_id` is whose number it claims to be. The carrier may say so twice."""
    row = insert(tx, inbound_rings).values(
        sid=sid, call_id=new_id(), number_hash=_hash(tx, e164), user_id=user_id, at=now
    )
    await tx.execute(row.on_conflict_do_nothing(index_elements=["sid"]))
    ring = await find(tx, sid)
    if ring is None:
        raise LookupError(sid)
    return ring


async def move(tx: Tx, sid: str, stage: Stage) -> bool:
    """From the menu to what became of it. Of two that try, one gets True."""
    there = (inbound_rings.c.sid == sid, inbound_rings.c.stage == "menu")
    return (await tx.execute(update(inbound_rings).where(*there).values(stage=stage))).rowcount == 1


async def guess(tx: Tx, sid: str, most: int) -> bool:
    """Counts a guess before it is compared. False when this caller has none left: do not compare."""
    left = (inbound_rings.c.sid == sid, inbound_rings.c.stage == "menu", inbound_rings.c.guesses < most)
    counted = update(inbound_rings).where(*left).values(guesses=inbound_rings.c.guesses + 1)
    return (await tx.execute(counted)).rowcount == 1


async def guessed_right(tx: Tx, sid: str) -> None:
    """The latest guess was none: whoever knows their PIN may ring as often as they like."""
    right = update(inbound_rings).where(inbound_rings.c.sid == sid, inbound_rings.c.guesses > 0)
    await tx.execute(right.values(guesses=inbound_rings.c.guesses - 1))


async def guesses(tx: Tx, e164: str | None, user_id: str | None, since: datetime) -> int:
    """Guesses made after `since`: by calls from this number or on this account, whichever are more."""
    lines: list[ColumnElement[bool]] = [inbound_rings.c.number_hash == _hash(tx, e164)]
    if user_id is not None:
        lines.append(inbound_rings.c.user_id == user_id)
    made = [
        await tx.execute(
            select(func.coalesce(func.sum(inbound_rings.c.guesses), 0)).where(
                line, inbound_rings.c.at > since
            )
        )
        for line in lines
    ]
    return max(int(counted.scalar_one()) for counted in made)


async def forget_guesses(tx: Tx, user_id: str) -> None:
    """The PIN is another one now."""
    await tx.execute(update(inbound_rings).where(inbound_rings.c.user_id == user_id).values(guesses=0))


async def forget_caller(tx: Tx, user_id: str, numbers: Collection[str]) -> None:
    """Their account is closed. That these numbers rang still counts; which calls those were nobody knows any more."""
    hashes = [_hash(tx, number) for number in numbers]
    theirs = (inbound_rings.c.user_id == user_id) | inbound_rings.c.number_hash.in_(hashes)
    for sid in (await tx.execute(select(inbound_rings.c.sid).where(theirs))).scalars().all():
        ring = update(inbound_rings).where(inbound_rings.c.sid == sid)
        await tx.execute(ring.values(sid=new_id(), call_id=new_id(), user_id=None))


async def rang(tx: Tx, e164: str | None, since: datetime, stages: Collection[Stage] | None = None) -> int:
    """How often this number rang after `since` and was answered; those who withhold theirs count as one number."""
    return await _count(inbound_rings.c.number_hash == _hash(tx, e164), since, stages, tx)


async def answered(tx: Tx, since: datetime, stages: Collection[Stage], *, but: str = "") -> int:
    """How many of those answered after `since`, whoever they are, are at one of these stages; `but` one."""
    return await _count(inbound_rings.c.sid != but, since, stages, tx)


async def _count(
    which: ColumnElement[bool], since: datetime, stages: Collection[Stage] | None, tx: Tx
) -> int:
    query = select(func.count()).select_from(inbound_rings).where(which, inbound_rings.c.at > since)
    if stages is not None:
        query = query.where(inbound_rings.c.stage.in_(stages))
    return int((await tx.execute(query)).scalar_one())


async def block(tx: Tx, e164: str | None, how: str, now: datetime) -> None:
    """The number is not answered from now on; None: nobody is who withholds theirs."""
    row = insert(tx, inbound_blocks).values(
        number_hash=_hash(tx, e164), method=how, created_at=now, last2=(e164 or "")[-2:]
    )
    await tx.execute(row.on_conflict_do_nothing(index_elements=["number_hash"]))


async def unblock(tx: Tx, e164: str | None) -> None:
    await tx.execute(delete(inbound_blocks).where(inbound_blocks.c.number_hash == _hash(tx, e164)))


async def unblock_hash(tx: Tx, number_hash: str) -> Blocked | None:
    """What was blocked; None when it is not, or not any more."""
    query = select(*columns(inbound_blocks, Blocked)).where(inbound_blocks.c.number_hash == number_hash)
    found = await first(tx, Blocked, query)
    await tx.execute(delete(inbound_blocks).where(inbound_blocks.c.number_hash == number_hash))
    return found


async def blocked(tx: Tx, limit: int) -> list[Blocked]:
    """The latest first."""
    latest = select(*columns(inbound_blocks, Blocked)).order_by(
        inbound_blocks.c.created_at.desc(), inbound_blocks.c.number_hash
    )
    return await every(tx, Blocked, latest.limit(limit))


async def is_blocked(tx: Tx, e164: str | None) -> bool:
    query = select(inbound_blocks.c.number_hash).where(inbound_blocks.c.number_hash == _hash(tx, e164))
    return (await tx.execute(query)).first() is not None


def _hash(tx: Tx, e164: str | None) -> str:
    return "" if e164 is None else hashed(tx, "ring", e164)
