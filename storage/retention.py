"""What is removed when it is old: the words of calls, never what they cost. How old that is is decided elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy import update as change

from storage.db import Tx
from storage.tables import call_turns, calls


async def clear_calls(tx: Tx, before: datetime, now: datetime, limit: int) -> list[str]:
    """Removes transcript, context, variables and number of calls whose books were closed earlier; which those are."""
    old = (calls.c.final_at < before, calls.c.cleared_at.is_(None))
    query = select(calls.c.id).where(*old).order_by(calls.c.final_at).limit(limit)
    ids = list((await tx.execute(query.with_for_update(skip_locked=True))).scalars())
    await tx.execute(delete_from(call_turns).where(call_turns.c.call_id.in_(ids)))
    cleared = change(calls).where(calls.c.id.in_(ids))
    await tx.execute(cleared.values(context="", variables="{}", phone_e164=None, cleared_at=now))
    return ids


async def gone(tx: Tx, call_ids: Sequence[str]) -> set[str]:
    """Which of these calls nobody knows any more, so that nothing of them may stay."""
    query = select(calls.c.id).where(calls.c.id.in_(call_ids))
    return set(call_ids) - set((await tx.execute(query)).scalars())


async def cleared(tx: Tx, call_ids: Sequence[str]) -> set[str]:
    """Which of these calls have been cleared, so that their files may go too."""
    query = select(calls.c.id).where(calls.c.id.in_(call_ids), calls.c.cleared_at.is_not(None))
    return set((await tx.execute(query)).scalars())
