"""Scheduled calls that were missed, as far as their user does not know it yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update

from storage.db import Tx
from storage.tables import scheduled_calls, scheduled_dials, users


@dataclass(frozen=True, slots=True)
class Missed:
    """A run that did not ring, and why; noted `at`."""

    schedule_id: str
    persona_id: str
    timezone: str
    run_at: datetime
    detail: str
    at: datetime


async def unseen(tx: Tx, user_id: str, limit: int) -> list[Missed]:
    """What was noted since the user last said that they had seen it, newest first."""
    dials, theirs = scheduled_dials.c, scheduled_calls.c
    query = (
        select(
            theirs.id,
            theirs.persona_id,
            theirs.timezone,
            dials.occurrence_at,
            dials.detail,
            dials.concluded_at,
        )
        .join_from(scheduled_dials, scheduled_calls, theirs.id == dials.schedule_id)
        .join(users, users.c.id == theirs.user_id)
        .where(theirs.user_id == user_id, dials.status == "missed")
        .where(dials.concluded_at > func.coalesce(users.c.missed_seen_at, users.c.created_at))
        .order_by(dials.concluded_at.desc(), dials.occurrence_at.desc())
        .limit(limit)
    )
    return [Missed(*row) for row in await tx.execute(query)]


async def seen(tx: Tx, user_id: str, until: datetime) -> None:
    """The user knows of all that was noted until then, and has not forgotten what they knew before."""
    later = (users.c.missed_seen_at.is_(None)) | (users.c.missed_seen_at < until)
    await tx.execute(update(users).where(users.c.id == user_id, later).values(missed_seen_at=until))
