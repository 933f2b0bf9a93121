"""Accounts: what a user was granted, what calls cost in the end, and the list of both.

What a user has is in `accounts.py`, what is set aside for calls in `holds.py`, limits in `budgets.py`; they are used
from here. Nothing here asks whether a call may go on; it only makes sure that no money is given or taken twice.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from pipeline.core.money import Nanos
from storage import holds
from storage.accounts import balance, lock_account, post
from storage.adjustments import adjust
from storage.budgets import budget, periods_of, put_budget
from storage.charges import CallCharges, cost_lines, cost_seconds, flush
from storage.db import Tx, insert
from storage.holds import Ask, Drawing, carry_on, draw, hold, hold_of, renew, renew_all, standing
from storage.records import Fenced, Final, Page, Transaction
from storage.rows import columns, cut, decode_cursor
from storage.tables import calls, credit_transactions, operator_losses

__all__ = [
    "Ask", "CallCharges", "Drawing", "adjust", "balance", "budget", "carry_on", "cost_lines", "cost_seconds", "draw",
    "finalise", "flush", "grant", "hold", "hold_of", "lock_account", "periods_of", "put_budget", "renew", "renew_all",
    "standing", "transactions",
]  # fmt: skip

OVER_HOLD = "over_hold"
"""Why the operator paid: the call cost more than was set aside for it."""
UNCONFIRMED = "unconfirmed"
"""So begin the reasons for what a lost process had asked for and nobody confirmed: no part of the call's total."""


async def finalise(tx: Tx, *, call_id: str, epoch: int, now: datetime) -> Final:
    """Closes a call's ledger: the user pays the total up to the hold, the operator what exceeds it.

    Doing so again answers the same and changes nothing. Raises `Fenced` when the call has another epoch and
    is not closed, `LookupError` when there is no such call. The caller has made the status terminal.
    """
    query = select(calls.c.user_id, calls.c.epoch, calls.c.total_nano, calls.c.settled_nano, calls.c.final_at)
    call = (
        await tx.execute(query.where(calls.c.id == call_id).with_for_update(key_share=True))
    ).one_or_none()
    if call is None:
        raise LookupError(call_id)
    if call.final_at is not None:
        return _final(call.total_nano, call.settled_nano)
    if call.epoch != epoch:
        raise Fenced(call_id)
    await lock_account(tx, call.user_id)
    held = await hold_of(tx, call_id)
    amount = held.amount_nano if held is not None and held.status == "open" else 0
    final = _final(call.total_nano, min(call.total_nano, amount))
    await post(
        tx, user_id=call.user_id, amount=Nanos(-final.from_user), release=amount, kind="usage",
        call_id=call_id, idem_key=f"final:{call_id}", note="", now=now,
    )  # fmt: skip
    await holds.release(tx, call.user_id, call_id, final.from_user, now)
    if final.operator:
        loss = insert(tx, operator_losses).values(
            call_id=call_id, reason=OVER_HOLD, amount_nano=final.operator, created_at=now
        )
        await tx.execute(loss)
    closed = update(calls).where(calls.c.id == call_id, calls.c.final_at.is_(None))
    await tx.execute(closed.values(settled_nano=final.from_user, final_at=now))
    return final


async def lose(tx: Tx, *, call_id: str, reason: str, amount: Nanos, now: datetime) -> bool:
    """The operator pays this, beside what the call comes to. False when it was noted for the same reason before."""
    loss = insert(tx, operator_losses).values(
        call_id=call_id, reason=reason, amount_nano=amount, created_at=now
    )
    done = await tx.execute(loss.on_conflict_do_nothing(index_elements=["call_id", "reason"]))
    return done.rowcount == 1


async def grant(
    tx: Tx, *, user_id: str, amount: Nanos, kind: str, idem_key: str, note: str = "", now: datetime
) -> bool:
    """Adds to a balance, or corrects it downwards. False, and no change, when the key was used before.

    Raises `Overdrawn` when a correction exceeds what is available.
    """
    return await post(
        tx,
        user_id=user_id,
        amount=amount,
        release=0,
        kind=kind,
        call_id=None,
        idem_key=idem_key,
        note=note,
        now=now,
    )


async def transactions(
    tx: Tx, user_id: str, cursor: str | None, limit: int, *, call_id: str | None = None
) -> Page[Transaction]:
    """Newest first, of one call where it is given. Raises `Refused` for a cursor this function did not make."""
    query = select(*columns(credit_transactions, Transaction)).where(credit_transactions.c.user_id == user_id)
    if call_id is not None:
        query = query.where(credit_transactions.c.call_id == call_id)
    if cursor is not None:
        query = query.where(credit_transactions.c.id < decode_cursor(cursor, _row_id))
    found = (await tx.execute(query.order_by(credit_transactions.c.id.desc()).limit(limit + 1))).all()
    return cut(found, limit, Transaction, lambda row: str(row.id))


def _row_id(place: str) -> int:
    number = int(place)
    if not 0 <= number < 1 << 63:
        raise ValueError(place)
    return number


def _final(total: int, from_user: int) -> Final:
    return Final(Nanos(total), Nanos(from_user), Nanos(total - from_user))
