"""What the operator looks at: calls of all nodes, nodes, jobs, sums of money, users. Reads only, and bounded lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select

from pipeline.core.money import Nanos
from storage.columns import UtcNow
from storage.db import Tx
from storage.records import CallStatus, Channel
from storage.rows import columns, every
from storage.tables import (
    audit_log,
    call_cost_breakdowns,
    calls,
    jobs,
    nodes,
    opt_outs,
    purchases,
    user_credits,
    users,
)


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A call whose books are open, and whose it is."""

    id: str
    owner: str
    status: CallStatus
    channel: Channel
    persona_id: str
    email: str
    total_nano: Nanos
    created_at: datetime
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node that runs, or did within a day. `silent_s`: since its latest sign of life, by the database's clock.

    `engines`: how its engines were then, in the node's own words.
    """

    boot_id: str
    url: str
    version: str
    draining: bool
    started_at: datetime
    silent_s: float
    engines: str


@dataclass(frozen=True, slots=True)
class DeadJob:
    id: str
    kind: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry of the audit log."""

    actor: str
    action: str
    subject: str
    detail: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sold:
    """Credit packs of one status."""

    status: str
    number: int
    cents: int
    reversed_cents: int


@dataclass(frozen=True, slots=True)
class DaySpend:
    """What the calls placed on one day (UTC) cost, and how many there were."""

    day: str
    calls: int
    nano: Nanos


@dataclass(frozen=True, slots=True)
class ServiceSpend:
    service: str
    model: str
    nano: Nanos


@dataclass(frozen=True, slots=True)
class Person:
    """An account as the operator sees it."""

    id: str
    email: str
    name: str
    role: str
    created_at: datetime
    balance_nano: Nanos
    held_nano: Nanos


async def live(tx: Tx, limit: int) -> list[LiveRow]:
    """The latest calls that are going on, on whatever node."""
    query = (
        select(*(calls.c[name] for name in LiveRow.__slots__ if name != "email"), users.c.email)
        .join(users, users.c.id == calls.c.user_id)
        .where(calls.c.final_at.is_(None))
        .order_by(calls.c.created_at.desc())
    )
    return await every(tx, LiveRow, query.limit(limit))


async def live_count(tx: Tx) -> int:
    query = select(func.count()).select_from(calls).where(calls.c.final_at.is_(None))
    return int((await tx.execute(query)).scalar_one())


async def all_nodes(tx: Tx) -> list[NodeRow]:
    now = (await tx.execute(select(UtcNow()))).scalar_one()
    query = select(nodes).order_by(nodes.c.started_at)
    return [
        NodeRow(
            row.boot_id,
            row.url,
            row.version,
            row.draining,
            row.started_at,
            max(0.0, (now - row.heartbeat_at).total_seconds()),
            row.engines,
        )
        for row in await tx.execute(query)
    ]


async def dead_jobs(tx: Tx, limit: int) -> list[DeadJob]:
    query = select(*columns(jobs, DeadJob)).where(jobs.c.status == "dead").order_by(jobs.c.due_at.desc())
    return await every(tx, DeadJob, query.limit(limit))


async def opted_out(tx: Tx) -> int:
    return int((await tx.execute(select(func.count()).select_from(opt_outs))).scalar_one())


async def sold(tx: Tx) -> list[Sold]:
    query = select(
        purchases.c.status,
        func.count().label("number"),
        func.sum(purchases.c.amount_cents).label("cents"),
        func.sum(purchases.c.reversed_cents).label("reversed_cents"),
    ).group_by(purchases.c.status)
    return [
        Sold(row.status, row.number, int(row.cents), int(row.reversed_cents))
        for row in await tx.execute(query.order_by(purchases.c.status))
    ]


async def noted(tx: Tx, limit: int, action: str | None = None) -> list[Noted]:
    """The latest entries of the audit log, of one action where it is named."""
    query = select(*columns(audit_log, Noted)).order_by(audit_log.c.id.desc()).limit(limit)
    return await every(tx, Noted, query if action is None else query.where(audit_log.c.action == action))


async def spend_by_day(tx: Tx, since: datetime, user_id: str | None = None) -> list[DaySpend]:
    """Of everybody, or of one account. Days without calls are left out."""
    day = _day(tx)
    query = select(
        day.label("day"), func.count().label("calls"), func.sum(calls.c.total_nano).label("nano")
    ).where(calls.c.created_at >= since)
    if user_id is not None:
        query = query.where(calls.c.user_id == user_id)
    rows = await tx.execute(query.group_by(day).order_by(day))
    return [DaySpend(row.day, row.calls, Nanos(int(row.nano))) for row in rows]


async def spend_by_service(tx: Tx, since: datetime) -> list[ServiceSpend]:
    """Of calls placed since then, the dearest first."""
    costs = call_cost_breakdowns.c
    total = func.sum(costs.amount_nano)
    query = (
        select(costs.service, costs.model, total.label("nano"))
        .join(calls, calls.c.id == costs.call_id)
        .where(calls.c.created_at >= since)
        .group_by(costs.service, costs.model)
        .order_by(total.desc())
    )
    return [ServiceSpend(row.service, row.model, Nanos(int(row.nano))) for row in await tx.execute(query)]


async def people(tx: Tx, wanted: str, limit: int) -> Sequence[Person]:
    """Accounts whose address or name has these characters in it, in any case; the newest first."""
    pattern = "%" + wanted.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    query = (
        select(
            *(users.c[name] for name in ("id", "email", "name", "role", "created_at")),
            func.coalesce(user_credits.c.balance_nano, 0).label("balance_nano"),
            func.coalesce(user_credits.c.held_nano, 0).label("held_nano"),
        )
        .outerjoin(user_credits, user_credits.c.user_id == users.c.id)
        .where(
            or_(
                func.lower(users.c.email).like(pattern, escape="\\"),
                func.lower(users.c.name).like(pattern, escape="\\"),
            )
        )
        .order_by(users.c.created_at.desc(), users.c.id)
    )
    return await every(tx, Person, query.limit(limit))


async def job_waits(tx: Tx, kind: str) -> bool:
    """Whether one of this kind is due or under way."""
    query = select(jobs.c.id).where(and_(jobs.c.kind == kind, jobs.c.status.in_(("pending", "claimed"))))
    return (await tx.execute(query.limit(1))).first() is not None


def _day(tx: Tx) -> ColumnElement[str]:
    if tx.dialect.name == "sqlite":
        return func.date(calls.c.created_at)
    return func.to_char(func.timezone("UTC", calls.c.created_at), "YYYY-MM-DD")
