"""Money set aside for calls before anything is bought: taken in parts, from the balance and from every budget.

All of it under the lock of the user's account, so calls that share one queue there, on however many nodes they
run, and no two of them see the same free cent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update

from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from storage import budgets
from storage.accounts import lock_account
from storage.budgets import Limit
from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.records import Budget, BudgetPeriod, Fenced, Grant, Hold, Overdrawn
from storage.rows import columns, first
from storage.tables import (
    budget_periods,
    calls,
    credit_holds,
    user_budget_settings,
    user_credits,
    users,
)


@dataclass(frozen=True, slots=True)
class _Free:
    """What a call could take now. `share` is its part of what several calls of the user wait for."""

    all: Nanos
    share: Nanos
    binds: EndReason
    limits: tuple[Limit, ...]
    warn_used: Nanos | None


async def hold(
    tx: Tx,
    *,
    user_id: str,
    call_id: str,
    epoch: int,
    at_least: Nanos,
    wanted: Nanos,
    budget_limit: Nanos | None = None,
    now: datetime | None = None,
) -> Nanos:
    """Sets aside the first part for a call: what is free, up to `wanted`; how much that is.

    `budget_limit` is a limit of this call beside the user's own. 0 when not even `at_least` (more than 0) can be
    had, and for a call that is settled or has another epoch; nothing is changed then. Asking again for a call that
    has a hold answers what it has. `now` names the day and the month, the database's clock where it is not given.
    """
    if at_least <= 0:
        raise ValueError("a hold is for more than nothing")
    account = await lock_account(tx, user_id)
    state = await _state(tx, user_id, call_id)
    if state.epoch is not None and (state.final_at is not None or state.epoch != epoch):
        return Nanos(0)
    if state.status is not None:
        return Nanos(state.amount_nano if state.status == "open" else 0)
    free = await _free(tx, account, state, user_id, call_id, await _moment(tx, now), budget_limit)
    granted = Nanos(min(wanted, free.all))
    if granted < at_least:
        await budgets.forget(tx, user_id, [limit.key for limit in free.limits])
        return Nanos(0)
    await tx.execute(
        insert(tx, credit_holds).values(call_id=call_id, user_id=user_id, epoch=epoch, amount_nano=0)
    )
    await _take(tx, user_id, call_id, free.limits, granted)
    return granted


async def renew(
    tx: Tx, *, user_id: str, call_id: str, epoch: int, known: Nanos, wanted: Nanos, now: datetime
) -> Grant:
    """Adds up to `wanted` to a call's hold: no more than its share of what is free. How the call stands then.

    `known` is the hold as the caller knows it. One that is larger already has been added to by an earlier try whose
    COMMIT got no answer: it is told and left as it is. Raises `Fenced` for a call that is settled or has another
    epoch, and nothing is changed then.
    """
    account = await lock_account(tx, user_id)
    state = await _state(tx, user_id, call_id)
    if state.final_at is not None or state.epoch != epoch:
        raise Fenced(call_id)
    if state.status != "open":
        return Grant(Nanos(0), Nanos(0), EndReason.CREDIT, None)
    free = await _free(tx, account, state, user_id, call_id, now, None)
    more = Nanos(min(wanted, free.share)) if state.amount_nano <= known else Nanos(0)
    if more > 0:
        await _take(tx, user_id, call_id, free.limits, more)
    amount = Nanos(state.amount_nano + more)
    return Grant(amount, Nanos(amount + free.share - more), free.binds, free.warn_used)


async def standing(tx: Tx, *, user_id: str, call_id: str, epoch: int, now: datetime) -> Grant:
    """How a call stands: what it holds and what it could still have. Raises `Fenced` as `renew` does."""
    return await renew(
        tx, user_id=user_id, call_id=call_id, epoch=epoch, known=Nanos(0), wanted=Nanos(0), now=now
    )


async def budgets_left(tx: Tx, user_id: str, call_id: str, now: datetime) -> dict[str, Nanos]:
    """What is left of each budget that limits this call, by its kind: call, day, month."""
    wished = await budgets.budget(tx, user_id)
    left = {}
    for limit in budgets.limits(wished, await budgets.timezone(tx, user_id), call_id, now):
        period = await budgets.period(tx, user_id, limit.key)
        bound = room(replace(period, limit_nano=_hard(limit, wished, None).nano))
        if bound is not None:
            left[budgets.kind_of(limit.key)] = bound
    return left


async def hold_of(tx: Tx, call_id: str) -> Hold | None:
    return await first(
        tx, Hold, select(*columns(credit_holds, Hold)).where(credit_holds.c.call_id == call_id)
    )


async def release(tx: Tx, user_id: str, call_id: str, spent: Nanos, now: datetime) -> None:
    """Closes a call's hold in every period it was taken from; `spent` of it was paid. Not in the balance."""
    row = update(credit_holds).where(credit_holds.c.call_id == call_id, credit_holds.c.status == "open")
    if (await tx.execute(row.values(status="closed", used_nano=spent, closed_at=now))).rowcount != 1:
        return
    await budgets.settle(tx, user_id, call_id, spent)
    own = update(budget_periods).where(
        budget_periods.c.user_id == user_id, budget_periods.c.key == f"call:{call_id}"
    )
    await tx.execute(own.values(closed_at=now))


async def _moment(tx: Tx, now: datetime | None) -> datetime:
    if now is not None:
        return now
    told: datetime = (await tx.execute(select(UtcNow()))).scalar_one()
    return told


async def _state(tx: Tx, user_id: str, call_id: str) -> Any:
    """What a decision about a call's money needs to know, in one query: the lock is held meanwhile.

    `epoch` and `final_at` of the call, `amount_nano` and `status` of its hold, the user's `timezone` and limits, and
    how many of their calls money is held for. None where there is no such row.
    """
    wishes, others = user_budget_settings, credit_holds.alias("others")
    sharing = select(func.count()).where(others.c.user_id == user_id, others.c.status == "open")
    found = users.outerjoin(wishes, wishes.c.user_id == users.c.id)
    found = found.outerjoin(calls, calls.c.id == call_id)
    found = found.outerjoin(credit_holds, credit_holds.c.call_id == call_id)
    query = select(
        calls.c.epoch, calls.c.final_at, credit_holds.c.amount_nano, credit_holds.c.status, users.c.timezone,
        *(wishes.c[name] for name in _WISHES), sharing.scalar_subquery().label("sharing"),
    )  # fmt: skip
    return (await tx.execute(query.select_from(found).where(users.c.id == user_id))).one()


_WISHES = tuple(field.name for field in fields(Budget))


async def _free(
    tx: Tx,
    account: Row[Any] | None,
    state: Any,
    user_id: str,
    call_id: str,
    now: datetime,
    budget_limit: Nanos | None,
) -> _Free:
    has_wishes = state.warn_percent is not None
    wished = Budget(*(getattr(state, name) for name in _WISHES)) if has_wishes else Budget()
    limits = budgets.limits(wished, state.timezone, call_id, now)
    hard = tuple(_hard(limit, wished, budget_limit) for limit in limits)
    periods = await budgets.opened(tx, user_id, hard)
    credit = 0 if account is None else account.balance_nano - account.held_nano
    sharing = max(1, state.sharing)
    left = [(room(periods[limit.key]), budgets.kind_of(limit.key) == "call") for limit in hard]
    bounded = [(amount, own) for amount, own in left if amount is not None]
    budgeted = min((amount for amount, _ in bounded), default=None)
    shared = min((amount if own else amount // sharing for amount, own in bounded), default=None)
    part = credit // sharing
    return _Free(
        all=Nanos(credit if budgeted is None else min(credit, budgeted)),
        share=Nanos(part if shared is None else min(part, shared)),
        binds=EndReason.CREDIT if shared is None or part < shared else EndReason.BUDGET,
        limits=limits,
        warn_used=await _warn_used(tx, call_id, wished, limits, periods),
    )


def _hard(limit: Limit, budget: Budget, budget_limit: Nanos | None) -> Limit:
    """What really ends a call: not a budget that only warns; for the call itself also the limit given with it."""
    known = [limit.nano] if budget.auto_cutoff else []
    if budgets.kind_of(limit.key) == "call":
        known.append(budget_limit)
    return Limit(limit.key, min((nano for nano in known if nano is not None), default=None))


def room(period: BudgetPeriod) -> Nanos | None:
    """What of a budget is neither spent nor held; None without a limit."""
    if period.limit_nano is None:
        return None
    return Nanos(max(0, period.limit_nano - period.spent_nano - period.held_nano))


async def _warn_used(
    tx: Tx, call_id: str, budget: Budget, limits: tuple[Limit, ...], periods: dict[str, BudgetPeriod]
) -> Nanos | None:
    """What the call has used when the first of its budgets comes to the user's percentage.

    What a call took of an earlier day or month counts there. A percentage that was reached without this call, has
    been warned of.
    """
    if all(limit.nano is None for limit in limits):
        return None
    taken = await budgets.parts(tx, call_id)
    marks = []
    for limit in limits:
        if limit.nano is None:
            continue
        earlier = sum(
            part.held_nano
            for part in taken
            if part.key < limit.key and budgets.kind_of(part.key) == budgets.kind_of(limit.key)
        )
        mark = -(-limit.nano * budget.warn_percent // 100) - periods[limit.key].spent_nano
        if mark > 0:
            marks.append(earlier + mark)
    return Nanos(min(marks)) if marks else None


async def _take(tx: Tx, user_id: str, call_id: str, limits: tuple[Limit, ...], amount: Nanos) -> None:
    """Everywhere or nowhere: what fails here rolls the caller's transaction back."""
    enough = user_credits.c.balance_nano - user_credits.c.held_nano >= amount
    raised = update(user_credits).where(user_credits.c.user_id == user_id, enough)
    raised = raised.values(held_nano=user_credits.c.held_nano + amount, updated_at=UtcNow())
    if (await tx.execute(raised)).rowcount != 1:
        raise Overdrawn("a hold exceeds the balance")
    await budgets.take(tx, user_id, call_id, [limit.key for limit in limits], amount)
    grown = update(credit_holds).where(credit_holds.c.call_id == call_id, credit_holds.c.status == "open")
    await tx.execute(grown.values(amount_nano=credit_holds.c.amount_nano + amount))
