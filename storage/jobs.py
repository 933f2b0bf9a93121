"""Background work, in a table: added with the transaction that makes it needed, claimed by one node at a time.

Nothing here is money or dialling. A job whose node died is claimed again by another once its claim is old.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select, update

from storage.db import Tx, insert
from storage.ids import new_id
from storage.tables import jobs

CLAIM_LIFE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int


async def add(tx: Tx, kind: str, payload: Mapping[str, Any], due_at: datetime) -> str:
    """Something to do at or after a moment."""
    job_id = new_id()
    row = insert(tx, jobs).values(
        id=job_id, kind=kind, payload=json.dumps(payload, separators=(",", ":")), due_at=due_at
    )
    await tx.execute(row)
    return job_id


async def claim(tx: Tx, kinds: Iterable[str], node: str, now: datetime, limit: int) -> list[Job]:
    """The longest due of these kinds, which are this node's from now on."""
    stale = and_(jobs.c.status == "claimed", jobs.c.claimed_at < now - CLAIM_LIFE)
    due = and_(jobs.c.status == "pending", jobs.c.due_at <= now)
    chosen = select(jobs.c.id).where(jobs.c.kind.in_(list(kinds)), or_(due, stale))
    chosen = chosen.order_by(jobs.c.due_at, jobs.c.id).limit(limit).with_for_update(skip_locked=True)
    ids = [row.id for row in await tx.execute(chosen)]
    taken = update(jobs).where(jobs.c.id.in_(ids))
    taken = taken.values(status="claimed", claimed_by=node, claimed_at=now, attempts=jobs.c.attempts + 1)
    found = await tx.execute(taken.returning(jobs.c.id, jobs.c.kind, jobs.c.payload, jobs.c.attempts))
    return [Job(row.id, row.kind, json.loads(row.payload), row.attempts) for row in found]


async def put_back(tx: Tx, job: Job, node: str, again: datetime | None) -> None:
    """Done, or due again. One that another node has claimed meanwhile is left alone."""
    status = {"status": "done"} if again is None else {"status": "pending", "due_at": again}
    this = update(jobs).where(jobs.c.id == job.id, jobs.c.claimed_by == node)
    await tx.execute(this.values(**status, claimed_by=None, claimed_at=None))
