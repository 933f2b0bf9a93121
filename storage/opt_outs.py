"""Numbers whose owners want no calls. They outlive the account; only proving the number anew lifts one.

A number is kept as a keyed hash only (`storage/number_hashes.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select

from storage import consents, dials, schedules
from storage.db import Tx, insert
from storage.number_hashes import hashed
from storage.tables import opt_outs, users


async def add(tx: Tx, e164: str, how: str, now: datetime) -> None:
    """Also pauses what is scheduled to ring it, and puts on record that its owner's consent is taken back.

    A call to it that is being placed is waited for: it is there to be ended then.
    """
    await dials.alone(tx, e164)
    row = insert(tx, opt_outs).values(number_hash=_hash(tx, e164), method=how, created_at=now)
    done = await tx.execute(row.on_conflict_do_nothing(index_elements=["number_hash"]))
    if done.rowcount == 1:
        owners = select(users.c.id).where(users.c.phone_e164 == e164, users.c.phone_verified_at.is_not(None))
        for owner in (await tx.execute(owners)).scalars().all():
            await consents.add(tx, owner, e164, text_version="", ip="", method=f"opted out by {how}", now=now)
    await schedules.pause_to(tx, e164, "opted_out")


async def has(tx: Tx, e164: str) -> bool:
    query = select(opt_outs.c.number_hash).where(opt_outs.c.number_hash == _hash(tx, e164))
    return (await tx.execute(query)).first() is not None


async def among(tx: Tx, numbers: Collection[str]) -> set[str]:
    """Those of these numbers whose owners want no calls."""
    by_hash = {_hash(tx, number): number for number in numbers}
    query = select(opt_outs.c.number_hash).where(opt_outs.c.number_hash.in_(by_hash))
    return {by_hash[found] for found in (await tx.execute(query)).scalars()}


async def lift(tx: Tx, e164: str) -> None:
    """Its owner has proven the number again, and so wants calls again."""
    await tx.execute(delete(opt_outs).where(opt_outs.c.number_hash == _hash(tx, e164)))


def _hash(tx: Tx, e164: str) -> str:
    return hashed(tx, "opt-out", e164)
