"""Work to be done in the background, claimed from the table like schedules. What a job does is its handler's business.

A job's id says what it is about (`reconcile:<call>`), so that adding it again adds nothing. It is claimed under a lease
on the database's clock and a count of attempts; whoever finds the lease over takes it again, and the earlier worker's
word on it counts no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as change

from storage.db import Tx, insert
from storage.leases import database_now, lease
from storage.nodes import one_process
from storage.rows import columns, every
from storage.tables import jobs


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be done in the background. `attempts` counts this one; `payload` is JSON."""

    id: str
    kind: str
    payload: str
    due_at: datetime
    attempts: int


async def add(tx: Tx, job_id: str, kind: str, payload: str, due_at: datetime) -> bool:
    """In the caller's transaction, so that the work is there exactly when its cause is. False when it was there."""
    row = insert(tx, jobs).values(id=job_id, kind=kind, payload=payload, due_at=due_at)
    return (await tx.execute(row.on_conflict_do_nothing().returning(jobs.c.id))).first() is not None


async def keep(tx: Tx, job_id: str, kind: str, payload: str, due_at: datetime) -> None:
    """Work that comes round again and again is there: added, or due once more where it lies dead."""
    row = insert(tx, jobs).values(id=job_id, kind=kind, payload=payload, due_at=due_at)
    anew = {"status": "pending", "due_at": due_at, "attempts": 0, "error": ""}
    await tx.execute(
        row.on_conflict_do_update(index_elements=["id"], set_=anew, where=jobs.c.status == "dead")
    )


async def claim(
    tx: Tx, *, node: str, kinds: Sequence[str], now: datetime, lease_s: int, limit: int
) -> list[Job]:
    """At most `limit` jobs that are due, oldest first, and this node's for `lease_s` seconds."""
    abandoned = and_(jobs.c.status == "claimed", jobs.c.lease_until < await database_now(tx))
    if one_process(tx):  # whoever else claimed it is gone
        abandoned = and_(jobs.c.status == "claimed", or_(abandoned, jobs.c.claimed_by != node))
    due = or_(and_(jobs.c.status == "pending", jobs.c.due_at <= now), abandoned)
    query = select(jobs.c.id).where(due, jobs.c.kind.in_(kinds)).order_by(jobs.c.due_at, jobs.c.id)
    free = (await tx.execute(query.limit(limit).with_for_update(skip_locked=True))).scalars().all()
    if not free:
        return []
    taken = change(jobs).where(jobs.c.id.in_(free)).values(
        status="claimed", attempts=jobs.c.attempts + 1, claimed_by=node, claimed_at=now,
        lease_until=await lease(tx, lease_s),
    )  # fmt: skip
    await tx.execute(taken)
    return await every(
        tx, Job, select(*columns(jobs, Job)).where(jobs.c.id.in_(free)).order_by(jobs.c.due_at, jobs.c.id)
    )


async def done(tx: Tx, job: Job, node: str, now: datetime) -> bool:
    """It stays on record, so that it is not added again. False when somebody else has it now."""
    return await _settle(tx, job, node, status="done", finished_at=now, error="")


async def again(tx: Tx, job: Job, node: str, due_at: datetime) -> bool:
    """It was done and is due once more then, with its attempts counted anew."""
    return await _settle(tx, job, node, status="pending", due_at=due_at, attempts=0, error="")


async def failed(tx: Tx, job: Job, node: str, error: str, due_at: datetime | None) -> bool:
    """It is tried again at `due_at`, or never where that is None; then it stays, dead, for somebody to look at."""
    if due_at is None:
        return await _settle(tx, job, node, status="dead", error=error)
    return await _settle(tx, job, node, status="pending", due_at=due_at, error=error)


async def counts(tx: Tx) -> dict[tuple[str, str], int]:
    """How many jobs there are by kind and status, those done left out.

    What failed the last time and is tried again is `failing`, waiting or under way: work that is never given up is not
    dead, however often it fails.
    """
    again = and_(jobs.c.status.in_(("pending", "claimed")), jobs.c.error != "")
    status = case((again, "failing"), else_=jobs.c.status).label("status")
    query = select(jobs.c.kind, status, func.count().label("number")).where(jobs.c.status != "done")
    return {
        (row.kind, row.status): row.number for row in await tx.execute(query.group_by(jobs.c.kind, status))
    }


async def delete_before(tx: Tx, moment: datetime, limit: int = 500) -> int:
    """Removes jobs that were done earlier; how many."""
    over = and_(jobs.c.status == "done", jobs.c.finished_at < moment)
    old = (await tx.execute(select(jobs.c.id).where(over).limit(limit))).scalars().all()
    return (await tx.execute(delete_from(jobs).where(jobs.c.id.in_(old)))).rowcount


async def _settle(tx: Tx, job: Job, node: str, **values: Any) -> bool:
    held: tuple[ColumnElement[bool], ...] = (
        jobs.c.id == job.id, jobs.c.status == "claimed", jobs.c.claimed_by == node,
        jobs.c.attempts == job.attempts,
    )  # fmt: skip
    settled = change(jobs).where(*held).values(claimed_by=None, lease_until=None, **values)
    return (await tx.execute(settled)).rowcount == 1
