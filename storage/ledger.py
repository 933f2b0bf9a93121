"""Accounts: what a user has, what is set aside for calls, what calls cost in the end.

Every change of a balance is one conditional update under the lock of the user's row, taken before any other
row of the account, and one posting that is never changed. Nothing here asks whether a call may go on; it only
makes sure that the same money is not given twice.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select, update

from pipeline.core.money import Nanos
from storage.charges import CallCharges, cost_lines, cost_seconds, flush
from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.records import Balance, Budget, Fenced, Final, Hold, Overdrawn, Page, Transaction
from storage.rows import columns, cut, decode_cursor, first
from storage.tables import (
    budget_periods,
    calls,
    credit_holds,
    credit_transactions,
    operator_losses,
    user_budget_settings,
    user_credits,
)

__all__ = [
    "CallCharges", "balance", "budget", "cost_lines", "cost_seconds", "finalise", "flush", "grant", "hold",
    "hold_of", "lock_account", "lose", "post_adjustment", "put_budget", "transactions",
]  # fmt: skip

OVER_HOLD = "over_hold"
"""Why the operator paid: the call cost more than was set aside for it."""
UNCONFIRMED = "unconfirmed"
"""So begin the reasons for what a lost process had asked for and nobody confirmed: no part of the call's total."""


async def lock_account(tx: Tx, user_id: str) -> Row[tuple[int, int]] | None:
    """Whoever else locks, holds or posts on this account waits until this transaction ends.

    Its balance and what is held of it; None, and no lock, for an account nothing was ever granted to: such a
    user can place no call.
    """
    return (await tx.execute(_account(user_id).with_for_update())).first()


async def hold(
    tx: Tx,
    *,
    user_id: str,
    call_id: str,
    epoch: int,
    at_least: Nanos,
    wanted: Nanos,
    budget_limit: Nanos | None,
) -> Nanos:
    """Sets aside what is free, up to `wanted` and the budget; how much that is.

    0 when not even `at_least` (more than 0) can be had, and for a call that is settled or has another epoch;
    nothing is changed then. Asking again for a call that has a hold answers what it has.
    """
    if at_least <= 0:
        raise ValueError("a hold is for more than nothing")
    # The lock: calls that share an account queue here, so no two of them see the same free cent.
    account = await lock_account(tx, user_id)
    state = (await tx.execute(select(calls.c.epoch, calls.c.final_at).where(calls.c.id == call_id))).first()
    if state is not None and (state.final_at is not None or state.epoch != epoch):
        return Nanos(0)
    if (existing := await hold_of(tx, call_id)) is not None:
        return existing.amount_nano if existing.status == "open" else Nanos(0)
    free = 0 if account is None else account.balance_nano - account.held_nano
    granted = Nanos(min(wanted, free) if budget_limit is None else min(wanted, free, budget_limit))
    if granted < at_least:
        return Nanos(0)
    enough = user_credits.c.balance_nano - user_credits.c.held_nano >= granted
    raised = update(user_credits).where(user_credits.c.user_id == user_id, enough)
    raised = raised.values(held_nano=user_credits.c.held_nano + granted, updated_at=UtcNow())
    if (await tx.execute(raised)).rowcount != 1:
        return Nanos(0)
    await tx.execute(
        insert(tx, budget_periods).values(
            user_id=user_id, key=f"call:{call_id}", limit_nano=budget_limit, held_nano=granted
        )
    )
    await tx.execute(
        insert(tx, credit_holds).values(call_id=call_id, user_id=user_id, epoch=epoch, amount_nano=granted)
    )
    return granted


async def hold_of(tx: Tx, call_id: str) -> Hold | None:
    return await first(
        tx, Hold, select(*columns(credit_holds, Hold)).where(credit_holds.c.call_id == call_id)
    )


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
    await _post(
        tx, user_id=call.user_id, amount=Nanos(-final.from_user), release=amount, kind="usage",
        call_id=call_id, idem_key=f"final:{call_id}", note="", now=now,
    )  # fmt: skip
    await _release(tx, call.user_id, call_id, amount, final.from_user, now)
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
    return await _post(
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


async def post_adjustment(
    tx: Tx, *, user_id: str, call_id: str, amount: Nanos, idem_key: str, now: datetime
) -> bool:
    """A closed call cost the user more, below 0, or less. Raises `Overdrawn` for more than is available."""
    return await _post(
        tx, user_id=user_id, amount=amount, release=0, kind="adjustment", call_id=call_id, idem_key=idem_key,
        note="the carrier's own count", now=now,
    )  # fmt: skip


async def balance(tx: Tx, user_id: str) -> Balance:
    """An account nothing was ever granted to is empty."""
    row = (await tx.execute(_account(user_id))).first()
    if row is None:
        return Balance(Nanos(0), Nanos(0), Nanos(0))
    return Balance(Nanos(row.balance_nano), Nanos(row.held_nano), Nanos(row.balance_nano - row.held_nano))


async def transactions(tx: Tx, user_id: str, cursor: str | None, limit: int) -> Page[Transaction]:
    """Newest first. Raises `Refused` for a cursor this function did not make."""
    query = select(*columns(credit_transactions, Transaction)).where(credit_transactions.c.user_id == user_id)
    if cursor is not None:
        query = query.where(credit_transactions.c.id < decode_cursor(cursor, _row_id))
    found = (await tx.execute(query.order_by(credit_transactions.c.id.desc()).limit(limit + 1))).all()
    return cut(found, limit, Transaction, lambda row: str(row.id))


def _row_id(place: str) -> int:
    number = int(place)
    if not 0 <= number < 1 << 63:
        raise ValueError(place)
    return number


async def budget(tx: Tx, user_id: str) -> Budget:
    query = select(*columns(user_budget_settings, Budget)).where(user_budget_settings.c.user_id == user_id)
    return await first(tx, Budget, query) or Budget()


async def put_budget(tx: Tx, user_id: str, budget: Budget) -> Budget:
    values: dict[str, Any] = {field.name: getattr(budget, field.name) for field in fields(Budget)}
    row = insert(tx, user_budget_settings).values(user_id=user_id, **values)
    anew = {**values, "updated_at": UtcNow()}
    await tx.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=anew))
    return budget


def _account(user_id: str) -> Select[tuple[int, int]]:
    query = select(user_credits.c.balance_nano, user_credits.c.held_nano)
    return query.where(user_credits.c.user_id == user_id)


def _final(total: int, from_user: int) -> Final:
    return Final(Nanos(total), Nanos(from_user), Nanos(total - from_user))


async def _post(
    tx: Tx,
    *,
    user_id: str,
    amount: Nanos,
    release: int,
    kind: str,
    call_id: str | None,
    idem_key: str,
    note: str,
    now: datetime,
) -> bool:
    """One posting; `release` of the held money is set free with it. False if the key is used."""
    opened = insert(tx, user_credits).values(user_id=user_id, updated_at=now)
    await tx.execute(opened.on_conflict_do_nothing(index_elements=["user_id"]))
    await lock_account(tx, user_id)
    used = select(credit_transactions.c.id).where(credit_transactions.c.idem_key == idem_key)
    if (await tx.execute(used)).first() is not None:
        return False
    left = user_credits.c.balance_nano + amount
    kept = user_credits.c.held_nano - release
    change = update(user_credits).where(user_credits.c.user_id == user_id, kept >= 0, left >= kept)
    change = change.values(balance_nano=left, held_nano=kept, updated_at=now)
    row: Row[Any] | None = (await tx.execute(change.returning(user_credits.c.balance_nano))).first()
    if row is None:
        raise Overdrawn(f"{kind} exceeds what is available")
    await tx.execute(
        insert(tx, credit_transactions).values(
            user_id=user_id, call_id=call_id, kind=kind, amount_nano=amount,
            balance_after_nano=row.balance_nano, idem_key=idem_key, note=note, created_at=now,
        )
    )  # fmt: skip
    return True


async def _release(tx: Tx, user_id: str, call_id: str, amount: int, spent: Nanos, now: datetime) -> None:
    """Closes the hold and the call's budget; `spent` of `amount` was paid."""
    hold_row = update(credit_holds).where(credit_holds.c.call_id == call_id, credit_holds.c.status == "open")
    await tx.execute(hold_row.values(status="closed", used_nano=spent, closed_at=now))
    period = update(budget_periods).where(
        budget_periods.c.user_id == user_id, budget_periods.c.key == f"call:{call_id}"
    )
    await tx.execute(
        period.values(
            held_nano=budget_periods.c.held_nano - amount, spent_nano=budget_periods.c.spent_nano + spent,
            closed_at=now,
        )
    )  # fmt: skip
