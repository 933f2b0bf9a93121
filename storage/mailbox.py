"""What other nodes heard about a call, left for the node that conducts it: each message is taken once, in order.

The messages survive whatever happens to a notification about them. Nothing here knows what they mean.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, exists, func, select

from storage.db import Tx, insert
from storage.records import CallMessage
from storage.rows import columns, record
from storage.tables import call_messages


async def put(tx: Tx, call_id: str, kind: str, payload: str, now: datetime) -> None:
    """`payload` is JSON."""
    row = insert(tx, call_messages).values(call_id=call_id, kind=kind, payload=payload, created_at=now)
    await tx.execute(row)


async def put_once(tx: Tx, call_id: str, kind: str, payload: str, now: datetime) -> None:
    """Like `put`, unless a message of that kind waits for the call: what says the same twice is said once."""
    # Two at once do not see each other's, so they go one after the other. SQLite has but one writer anyway.
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"mail {call_id}", 0))))
    there = exists().where(call_messages.c.call_id == call_id, call_messages.c.kind == kind)
    if not (await tx.execute(select(there))).scalar_one():
        await put(tx, call_id, kind, payload, now)


async def waits(tx: Tx, call_ids: Collection[str]) -> bool:
    """Whether there is anything for these calls."""
    query = select(exists().where(call_messages.c.call_id.in_(call_ids)))
    return bool((await tx.execute(query)).scalar_one())


async def take(tx: Tx, call_ids: Collection[str]) -> list[CallMessage]:
    """All there is for these calls, oldest first. It is gone then."""
    taken = delete(call_messages).where(call_messages.c.call_id.in_(call_ids))
    found = await tx.execute(taken.returning(*columns(call_messages, CallMessage)))
    return sorted((record(CallMessage, row) for row in found), key=lambda message: message.id)


async def purge(tx: Tx, before: datetime) -> int:
    """Drop what nobody took, since the call was over when it came; how much that was."""
    return (await tx.execute(delete(call_messages).where(call_messages.c.created_at < before))).rowcount
