"""Scheduled calls and what came of each run. The table itself is the queue; when what is due is decided elsewhere.

A schedule that is due is claimed with its dial's id written beforehand, under an epoch and a lease on the database's
clock. A claimed dial becomes `dialed` in the transaction that makes its call, and only there; whoever finds it still
claimed after the lease may therefore conclude that nothing was dialled, and a claim taken away dials no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as change

from storage.db import Tx, insert
from storage.ids import new_id
from storage.leases import database_now, lease
from storage.nodes import one_process
from storage.records import OVER, CallStatus, Page
from storage.rows import columns, every, first, newest_page, record
from storage.schedule_records import (
    Claim,
    ClaimLost,
    DialStatus,
    Schedule,
    ScheduledDial,
    ScheduleKeyTaken,
    ScheduleStatus,
)
from storage.tables import calls, users
from storage.tables import scheduled_calls as schedules
from storage.tables import scheduled_dials as dials

LEASE_S = 60
"""How long a node may take from the claim to the call's row. The dial itself comes after that."""

OPEN: tuple[ScheduleStatus, ...] = ("pending", "claimed", "paused")
"""Of these something is still to come."""

_PACE_LOCK = 0x5C4ED01E
"""One claim at a time over all nodes of a PostgreSQL, so that the carrier's pace is kept together."""


@dataclass(frozen=True, slots=True)
class EndedDial:
    """A dial whose call is over."""

    tried: ScheduledDial
    call_status: CallStatus
    answered: bool
    reached_carrier: bool
    ended_at: datetime | None


# -- for users -------------------------------------------------------------------------


async def add(tx: Tx, user_id: str, values: Mapping[str, Any], now: datetime) -> Schedule:
    """A new schedule of the user's; `values` are the record's fields that are not defaults, and its `idem_key`, if any.

    Raises `ScheduleKeyTaken` when the user's key was used before.
    """
    row = insert(tx, schedules).values(id=new_id(), user_id=user_id, created_at=now, **values)
    row = row.on_conflict_do_nothing(index_elements=["user_id", "idem_key"])
    added = (await tx.execute(row.returning(*columns(schedules, Schedule)))).first()
    if added is None:
        raise ScheduleKeyTaken
    return record(Schedule, added)


async def by_key(tx: Tx, user_id: str, key: str) -> Schedule | None:
    return await first(tx, Schedule, _schedules(schedules.c.user_id == user_id, schedules.c.idem_key == key))


async def get(tx: Tx, user_id: str, schedule_id: str) -> Schedule | None:
    return await first(
        tx, Schedule, _schedules(schedules.c.id == schedule_id, schedules.c.user_id == user_id)
    )


async def locked(tx: Tx, user_id: str, schedule_id: str) -> Schedule | None:
    """The user's schedule, nobody else changing it until the transaction ends."""
    query = _schedules(schedules.c.id == schedule_id, schedules.c.user_id == user_id)
    return await first(tx, Schedule, query.with_for_update())


async def page(
    tx: Tx, user_id: str, cursor: str | None, limit: int, *, open_: bool | None = None
) -> Page[Schedule]:
    """`open_`: only those of which something is still to come, or only those that are over."""
    wanted = schedules.c.user_id == user_id
    if open_ is not None:
        of = schedules.c.status.in_(OPEN) if open_ else schedules.c.status.not_in(OPEN)
        wanted = and_(wanted, of)
    return await newest_page(tx, Schedule, schedules, wanted, cursor, limit)


async def count_active(tx: Tx, user_id: str) -> int:
    """The user's schedules of which something is still to come."""
    mine = (schedules.c.user_id == user_id, schedules.c.status.in_(OPEN))
    return int((await tx.execute(select(func.count()).select_from(schedules).where(*mine))).scalar_one())


async def put(tx: Tx, schedule_id: str, values: Mapping[str, Any]) -> Schedule:
    """Changes a schedule that is locked. A claim on it is lost with its record, undialled."""
    await tx.execute(
        delete_from(dials).where(dials.c.schedule_id == schedule_id, dials.c.status == "claimed")
    )
    changed = change(schedules).where(schedules.c.id == schedule_id)
    fresh = {"claim_epoch": schedules.c.claim_epoch + 1, "claimed_by": None, "lease_until": None}
    row = (await tx.execute(changed.values(**fresh, **values).returning(*columns(schedules, Schedule)))).one()
    return record(Schedule, row)


async def pause_to(tx: Tx, e164: str, reason: str, *, but_of: str = "") -> int:
    """Pauses what is to come for whoever proved this number, except one user; how many. Claims are lost, undialled."""
    owners = select(users.c.id).where(
        users.c.phone_e164 == e164, users.c.phone_verified_at.is_not(None), users.c.id != but_of
    )
    waiting = (schedules.c.user_id.in_(owners), schedules.c.status.in_(("pending", "claimed")))
    paused = change(schedules).where(*waiting).values(
        status="paused", reason=reason, claim_epoch=schedules.c.claim_epoch + 1, claimed_by=None, lease_until=None
    )  # fmt: skip
    ids = list((await tx.execute(paused.returning(schedules.c.id))).scalars())
    await tx.execute(delete_from(dials).where(dials.c.schedule_id.in_(ids), dials.c.status == "claimed"))
    return len(ids)


async def latest_dials(tx: Tx, schedule_ids: Sequence[str], limit: int) -> list[ScheduledDial]:
    """What came of the latest tries, newest first, at most `limit` of each schedule."""
    order = (dials.c.occurrence_at.desc(), dials.c.attempt.desc())
    place = func.row_number().over(partition_by=dials.c.schedule_id, order_by=order).label("place")
    ranked = select(dials, place).where(dials.c.schedule_id.in_(schedule_ids)).subquery()
    query = select(*(ranked.c[field.name] for field in fields(ScheduledDial))).where(ranked.c.place <= limit)
    query = query.order_by(ranked.c.occurrence_at.desc(), ranked.c.attempt.desc())
    return await every(tx, ScheduledDial, query)


# -- claiming --------------------------------------------------------------------------


async def next_due_at(tx: Tx) -> datetime | None:
    """When the next schedule is due, or was."""
    query = select(func.min(schedules.c.due_at)).where(schedules.c.status == "pending")
    found: datetime | None = (await tx.execute(query)).scalar_one()
    return found


async def next_due(tx: Tx, now: datetime) -> Schedule | None:
    """The schedule that has been due longest, kept from every other node until the transaction ends.

    None also while another node claims one.
    """
    if tx.dialect.name == "postgresql":
        free = await tx.execute(select(func.pg_try_advisory_xact_lock(_PACE_LOCK)))
        if not free.scalar_one():
            return None
    query = _schedules(schedules.c.status == "pending", schedules.c.due_at <= now)
    query = query.order_by(schedules.c.due_at, schedules.c.created_at, schedules.c.id).limit(1)
    return await first(tx, Schedule, query.with_for_update(skip_locked=True))


async def last_claim_at(tx: Tx) -> datetime | None:
    """When the last try was made ready to dial, by any node's clock."""
    query = select(func.max(dials.c.claimed_at)).where(dials.c.status.in_(("claimed", "dialed")))
    found: datetime | None = (await tx.execute(query)).scalar_one()
    return found


async def claim(tx: Tx, schedule: Schedule, node: str, now: datetime) -> Claim | None:
    """Writes the dial before it is made. None when this try is on record already: then it is not made again."""
    epoch = schedule.claim_epoch + 1
    noted = await note(tx, schedule, "claimed", now, epoch=epoch)
    if noted is None:
        return None
    values = {
        "status": "claimed", "claim_epoch": epoch, "dial_id": noted, "claimed_by": node,
        "lease_until": await lease(tx, LEASE_S),
    }  # fmt: skip
    this = (schedules.c.id == schedule.id, schedules.c.claim_epoch == schedule.claim_epoch)
    if (await tx.execute(change(schedules).where(*this).values(values))).rowcount != 1:
        raise ClaimLost(noted)
    return Claim(noted, schedule.id, epoch)


async def note(
    tx: Tx,
    schedule: Schedule,
    status: DialStatus,
    now: datetime,
    *,
    run_at: datetime | None = None,
    epoch: int = 0,
    code: str = "",
    detail: str = "",
) -> str | None:
    """Puts what came of a try on record, of the one that is due unless `run_at` names another; its id.

    None when there is a record of it.
    """
    occurrence = run_at or schedule.run_at
    attempt = schedule.attempt if run_at is None else 0
    row = insert(tx, dials).values(
        id=f"{schedule.id}.{occurrence:%Y%m%dT%H%M%S}.{attempt}", schedule_id=schedule.id, status=status,
        occurrence_at=occurrence, attempt=attempt, epoch=epoch, code=code, detail=detail, claimed_at=now,
        concluded_at=None if status in {"claimed", "dialed"} else now,
    )  # fmt: skip
    added = (await tx.execute(row.on_conflict_do_nothing().returning(dials.c.id))).first()
    return None if added is None else str(added.id)


async def dialed(tx: Tx, claim: Claim, call_id: str) -> None:
    """The call of a claimed dial is made, in this transaction. Raises `ClaimLost`: then it must not be."""
    made = change(dials).where(*_held(claim)).values(status="dialed", call_id=call_id)
    if (await tx.execute(made)).rowcount != 1:
        raise ClaimLost(claim.dial_id)


async def give_up(
    tx: Tx, claim: Claim, status: DialStatus, now: datetime, *, code: str = "", detail: str = ""
) -> bool:
    """A claimed dial will not be made, and why. False when it was made, or the claim is lost."""
    values = {"status": status, "code": code, "detail": detail, "concluded_at": now}
    return (await tx.execute(change(dials).where(*_held(claim)).values(values))).rowcount == 1


async def put_back(tx: Tx, claim: Claim, schedule: Schedule, due_at: datetime, late_at: datetime) -> bool:
    """A claimed dial that was surely not made is due again later. False when the claim is lost."""
    if (await tx.execute(delete_from(dials).where(*_held(claim)))).rowcount != 1:
        return False
    values = {"due_at": due_at, "late_at": late_at, "occurrence_at": schedule.run_at, "dial_id": None}
    return await advance(tx, claim.schedule_id, claim.epoch, "pending", values)


async def advance(
    tx: Tx, schedule_id: str, epoch: int, status: ScheduleStatus, values: Mapping[str, Any]
) -> bool:
    """Moves a schedule on from what was read at `epoch`. False when somebody else changed it since."""
    this = change(schedules).where(schedules.c.id == schedule_id, schedules.c.claim_epoch == epoch)
    fresh = {"claim_epoch": epoch + 1, "claimed_by": None, "lease_until": None}
    moved = this.values(status=status, **fresh, **values)
    return (await tx.execute(moved)).rowcount == 1


# -- what became of claims and calls ---------------------------------------------------


async def claimed(tx: Tx, node: str, *, lock: bool) -> list[Schedule]:
    """Schedules whose claim has outlived its lease; where one process serves, all of another too."""
    over = or_(schedules.c.lease_until.is_(None), schedules.c.lease_until < await database_now(tx))
    if one_process(tx):
        over = or_(over, schedules.c.claimed_by != node)
    query = _schedules(schedules.c.status == "claimed", over).order_by(schedules.c.due_at)
    return await every(tx, Schedule, query.with_for_update(skip_locked=True) if lock else query)


async def tried(tx: Tx, dial_id: str) -> ScheduledDial | None:
    return await first(tx, ScheduledDial, select(*columns(dials, ScheduledDial)).where(dials.c.id == dial_id))


async def ended(tx: Tx, limit: int = 100) -> list[EndedDial]:
    """Dials of which nobody has looked yet how their call ended."""
    query = select(
        *columns(dials, ScheduledDial),
        calls.c.status.label("call_status"),
        calls.c.answered_at,
        calls.c.sid,
        calls.c.ended_at,
    ).join_from(dials, calls, calls.c.scheduled_call_id == dials.c.id)
    open_ = and_(dials.c.status == "dialed", dials.c.concluded_at.is_(None))
    query = query.where(open_, calls.c.status_rank == OVER).order_by(dials.c.claimed_at).limit(limit)
    found = []
    for row in await tx.execute(query):
        made = ScheduledDial(**{field.name: row._mapping[field.name] for field in fields(ScheduledDial)})
        found.append(
            EndedDial(made, row.call_status, row.answered_at is not None, row.sid is not None, row.ended_at)
        )
    return found


async def conclude(
    tx: Tx, dial_id: str, now: datetime, status: DialStatus, *, code: str = "", detail: str = ""
) -> bool:
    """How the call of a dial ended has been looked at. False when somebody else did so."""
    this = change(dials).where(dials.c.id == dial_id, dials.c.concluded_at.is_(None))
    values = {"concluded_at": now, "status": status, "code": code, "detail": detail}
    return (await tx.execute(this.values(values))).rowcount == 1


async def by_id(tx: Tx, schedule_id: str) -> Schedule | None:
    """Whoever's it is, kept from every other node until the transaction ends."""
    return await first(tx, Schedule, _schedules(schedules.c.id == schedule_id).with_for_update())


async def of_older_zones(tx: Tx, version: str) -> list[Schedule]:
    """Schedules of a local time whose due moment was worked out with other time zone data."""
    waiting = schedules.c.status.in_(("pending", "paused"))
    local = and_(schedules.c.local_time != "", schedules.c.tzdata != version)
    query = _schedules(waiting, local, schedules.c.attempt == 0, schedules.c.occurrence_at.is_(None))
    return await every(tx, Schedule, query.with_for_update(skip_locked=True))


async def delete_before(tx: Tx, moment: datetime, limit: int = 500) -> int:
    """Removes finished schedules, and records of tries, that are older; how many."""
    # A fetched list rather than a subquery: SQLite and PostgreSQL then both take the limit.
    over = and_(
        schedules.c.status.in_(("dialed", "missed", "failed", "canceled")), schedules.c.due_at < moment
    )
    old = (await tx.execute(select(schedules.c.id).where(over).limit(limit))).scalars().all()
    gone = (await tx.execute(delete_from(schedules).where(schedules.c.id.in_(old)))).rowcount
    past = and_(dials.c.concluded_at < moment, dials.c.occurrence_at < moment)
    tries = (await tx.execute(select(dials.c.id).where(past).limit(limit))).scalars().all()
    return gone + (await tx.execute(delete_from(dials).where(dials.c.id.in_(tries)))).rowcount


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (dials.c.id == claim.dial_id, dials.c.epoch == claim.epoch, dials.c.status == "claimed")


def _schedules(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(*columns(schedules, Schedule)).where(*conditions)
