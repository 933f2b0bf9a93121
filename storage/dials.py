"""Which numbers were dialled lately, and for whom: what the rates of `pipeline/core/guard.py` are counted from.

A row is written in the transaction that places the call, so none that rings is missing. Numbers are kept as keyed
hashes, and rows little longer than a rate looks back (`storage/ageing.py`); a deleted account leaves its rows without
its name, for the number is rung no more often for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from pipeline.core.guard import Lately
from storage import calls
from storage.db import Tx, insert
from storage.ids import new_id
from storage.number_hashes import hashed
from storage.records import Dialled
from storage.tables import dials, users

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def alone(tx: Tx, e164: str) -> None:
    """Whoever is about to ring this number, or wants it rung no more, goes after the other. SQLite has one writer."""
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(e164, 1))))


async def lately(tx: Tx, user_id: str, e164: str, now: datetime) -> Lately:
    """What was dialled in the hour and the day before `now`."""
    number = dials.c.number_hash == _hash(tx, e164)
    query = select(
        func.max(dials.c.at).filter(number),
        func.count().filter(number, dials.c.at > now - HOUR),
        func.count().filter(number),
        func.count().filter(dials.c.user_id == user_id, dials.c.at > now - HOUR),
    ).where(dials.c.at > now - DAY, number | (dials.c.user_id == user_id))
    last, number_hour, number_day, user_hour = (await tx.execute(query)).one()
    return Lately(
        number_dialled_at=last,
        number_hour=number_hour,
        number_day=number_day,
        user_hour=user_hour,
        number_live=await calls.count_live_to(tx, e164),
        user_live=await calls.count_live(tx, user_id),
    )


async def add(tx: Tx, user_id: str, dialled: Sequence[Dialled], now: datetime) -> None:
    """These calls are about to ring."""
    if not dialled:
        return
    rows = [
        {
            "id": new_id(), "user_id": user_id, "number_hash": _hash(tx, one.e164),
            "purpose": one.purpose.name.lower(), "call_id": one.call_id, "at": now,
        }
        for one in dialled
    ]  # fmt: skip
    await tx.execute(insert(tx, dials), rows)
    await tx.execute(update(users).where(users.c.id == user_id).values(phone_used_at=now))


def _hash(tx: Tx, e164: str) -> str:
    return hashed(tx, "dial", e164)
