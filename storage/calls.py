"""Calls and how far they have come. A status only moves up and a terminal one sticks, so that callbacks may
arrive late, twice and in any order (design: status lattice).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, update

from pipeline.core.money import Nanos
from storage import strangers
from storage.db import Tx, insert
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus, IdemTaken, NewCall, Page
from storage.rows import columns, every, first, newest_page, record
from storage.tables import calls

_OF_ROW = {field.name for field in fields(CallRow)}


async def create(tx: Tx, new: NewCall) -> CallRow:
    """A queued call. Raises `IdemTaken` with the earlier call when the user's key was used before."""
    row = insert(tx, calls).values(asdict(new))
    row = row.on_conflict_do_nothing(index_elements=["user_id", "idem_key"])
    added = (await tx.execute(row.returning(*columns(calls, CallRow)))).first()
    if added is not None:
        return record(CallRow, added)
    earlier = None if new.idem_key is None else await by_idem(tx, new.user_id, new.idem_key)
    if earlier is None:
        raise LookupError("the row that conflicts is gone")
    raise IdemTaken(earlier)


def fresh(new: NewCall) -> CallRow:
    """The row as it is once `create_all` has written it."""
    given = {name: value for name, value in asdict(new).items() if name in _OF_ROW}
    return CallRow(
        **given, status="queued", end_reason=None, sid=None, answered_at=None, ended_at=None,
        carrier_seconds=None, total_nano=Nanos(0), settled_nano=Nanos(0), last_seq=0, final_at=None,
    )  # fmt: skip


async def create_all(tx: Tx, new: Sequence[NewCall]) -> None:
    """Queued calls of a user whose account is locked, so that no key of theirs can be taken meanwhile."""
    await tx.execute(insert(tx, calls), [asdict(call) for call in new])


async def by_idem(tx: Tx, user_id: str, key: str) -> CallRow | None:
    return await first(tx, CallRow, _calls(calls.c.user_id == user_id, calls.c.idem_key == key))


async def by_keys(tx: Tx, user_id: str, keys: Collection[str]) -> dict[str, CallRow]:
    """The user's calls that were placed under one of these keys."""
    found = await every(tx, CallRow, _calls(calls.c.user_id == user_id, calls.c.idem_key.in_(keys)))
    return {row.idem_key: row for row in found if row.idem_key is not None}


async def get(tx: Tx, call_id: str) -> CallRow | None:
    return await first(tx, CallRow, _calls(calls.c.id == call_id))


async def lock(tx: Tx, call_id: str) -> CallRow | None:
    """The call, which nobody else changes or refers to anew until the transaction is over."""
    return await first(tx, CallRow, _calls(calls.c.id == call_id).with_for_update())


async def get_for(tx: Tx, user_id: str, call_id: str) -> CallRow | None:
    """The call if it is the user's."""
    return await first(tx, CallRow, _calls(calls.c.id == call_id, calls.c.user_id == user_id))


async def by_sid(tx: Tx, sid: str) -> CallRow | None:
    return await first(tx, CallRow, _calls(calls.c.sid == sid))


async def page(tx: Tx, user_id: str, cursor: str | None, limit: int) -> Page[CallRow]:
    return await newest_page(tx, CallRow, calls, calls.c.user_id == user_id, cursor, limit)


async def advance(
    tx: Tx,
    call_id: str,
    status: CallStatus,
    *,
    at: datetime,
    sid: str | None = None,
    answered_at: datetime | None = None,
    ended_at: datetime | None = None,
    end_reason: str | None = None,
    carrier_seconds: int | None = None,
) -> bool:
    """Notes what is known now; True when the status moved up.

    `in-progress` dates the answer and a terminal status the end, at `at` unless told otherwise. Facts are
    kept also when the status comes too late: the earliest answer and end, the most seconds, the first reason
    and carrier id. The seconds of a call whose books are closed stay what was charged for: `ledger.adjust` changes
    both.
    """
    rank = STATUS_RANK[status]
    if status == "in-progress":
        answered_at = answered_at or at
    if rank == OVER:
        ended_at = ended_at or at
    facts: dict[str, ColumnElement[Any]] = {}
    if sid is not None:
        facts["sid"] = func.coalesce(calls.c.sid, sid)
    if end_reason is not None:
        facts["end_reason"] = func.coalesce(calls.c.end_reason, end_reason)
    if answered_at is not None:
        facts["answered_at"] = _earliest(calls.c.answered_at, answered_at)
    if ended_at is not None:
        facts["ended_at"] = _earliest(calls.c.ended_at, ended_at)
    if carrier_seconds is not None:
        known = calls.c.carrier_seconds
        more = and_(calls.c.final_at.is_(None), or_(known.is_(None), known < carrier_seconds))
        facts["carrier_seconds"] = case((more, carrier_seconds), else_=known)
    this = update(calls).where(calls.c.id == call_id)
    upward = this.where(calls.c.status_rank < rank).values({"status": status, "status_rank": rank, **facts})
    if (await tx.execute(upward)).rowcount == 1:
        return True
    if facts:
        await tx.execute(this.values(facts))
    return False


async def claim(tx: Tx, call_id: str, epoch: int, owner: str) -> CallRow | None:
    """Makes an open call the owner's, of the next epoch: whoever had it may write nothing more.

    None when it is closed, or was claimed by somebody else since its epoch was read.
    """
    this = update(calls).where(calls.c.id == call_id, calls.c.epoch == epoch, calls.c.final_at.is_(None))
    taken = this.values(epoch=epoch + 1, owner=owner).returning(*columns(calls, CallRow))
    row = (await tx.execute(taken)).first()
    return None if row is None else record(CallRow, row)


async def give_up(tx: Tx, ids: Collection[str], at: datetime) -> None:
    """The carrier is asked to end these calls: from now on no node connects anybody to them."""
    this = update(calls).where(calls.c.id.in_(sorted(ids)), calls.c.given_up_at.is_(None))
    await tx.execute(this.values(given_up_at=at))


async def to_be_ended(tx: Tx, call_id: str, epoch: int, at: datetime) -> bool:
    """`give_up` by whoever has the call as of `epoch`. False, and no change, when it is closed or has another."""
    mine = (calls.c.id == call_id, calls.c.epoch == epoch, calls.c.final_at.is_(None))
    noted = update(calls).where(*mine).values(given_up_at=func.coalesce(calls.c.given_up_at, at))
    return (await tx.execute(noted)).rowcount == 1


async def epochs(tx: Tx, ids: Iterable[str]) -> dict[str, int]:
    """Of those calls whose ledger is open: who may write to it."""
    query = select(calls.c.id, calls.c.epoch).where(calls.c.id.in_(list(ids)), calls.c.final_at.is_(None))
    return {str(row.id): int(row.epoch) for row in await tx.execute(query)}


async def live(tx: Tx, owner: str | None = None) -> list[CallRow]:
    """Calls whose ledger is still open, oldest first; of one owner or of all."""
    query = _calls(calls.c.final_at.is_(None))
    if owner is not None:
        query = query.where(calls.c.owner == owner)
    return await every(tx, CallRow, query.order_by(calls.c.created_at, calls.c.id))


async def latest_to_phone(tx: Tx, user_id: str) -> CallRow | None:
    """The call by which the user's phone was rung last, answered or not."""
    rung = (calls.c.user_id == user_id, calls.c.channel == "phone", calls.c.direction == "outbound")
    return await first(
        tx, CallRow, _calls(*rung).order_by(calls.c.created_at.desc(), calls.c.id.desc()).limit(1)
    )


async def of_user(tx: Tx, user_id: str) -> list[CallRow]:
    """All calls of a user, for the day the account goes."""
    return await every(
        tx, CallRow, _calls(calls.c.user_id == user_id).order_by(calls.c.created_at, calls.c.id)
    )


async def lock_all(tx: Tx, user_id: str) -> None:
    """All calls of a user, which nobody else changes until the transaction is over. Before the account's lock."""
    await tx.execute(
        select(calls.c.id).where(calls.c.user_id == user_id).order_by(calls.c.id).with_for_update()
    )


async def count_live(tx: Tx, user_id: str) -> int:
    """The user's calls that are not over, those still ringing included."""
    ongoing = (calls.c.user_id == user_id, calls.c.status_rank < OVER, calls.c.final_at.is_(None))
    return int((await tx.execute(select(func.count()).select_from(calls).where(*ongoing))).scalar_one())


async def count_live_to(tx: Tx, e164: str) -> int:
    """The calls with a number that are not over, whoever ordered them.

    A stranger who rings only says that it is theirs, and keeps nobody's phone busy with that.
    """
    ongoing = (
        calls.c.phone_e164 == e164, calls.c.status_rank < OVER, calls.c.final_at.is_(None),
        calls.c.user_id != strangers.ACCOUNT,
    )  # fmt: skip
    return int((await tx.execute(select(func.count()).select_from(calls).where(*ongoing))).scalar_one())


def _calls(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(*columns(calls, CallRow)).where(*conditions)


def _earliest(column: ColumnElement[Any], moment: datetime) -> ColumnElement[Any]:
    return case((or_(column.is_(None), column > moment), moment), else_=column)
