"""Money set aside for calls before anything is bought: taken in parts, from the balance and from every budget.

All of it under the lock of the user's account, so calls that share one queue there, on however many nodes they
run, and no two of them see the same free cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
    update,
)

from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from storage import budgets
from storage.accounts import lock_account
from storage.budgets import Limit
from storage.columns import UtcNow
from storage.db import Tx
from storage.records import Budget, BudgetPeriod, Fenced, Grant, Hold
from storage.rows import columns, first
from storage.tables import (
    budget_periods,
    calls,
    credit_holds,
    hold_periods,
    user_budget_settings,
    users,
)
from storage.taking import Taken, take


@dataclass(frozen=True, slots=True)
class Ask:
    """A renewal: up to `wanted` more for a call whose hold is `known`, as far as whoever asks knows."""

    call_id: str
    epoch: int
    known: Nanos
    wanted: Nanos


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the user has set, and the moment it is read at."""

    timezone: str
    budget: Budget
    now: datetime


@dataclass(slots=True)
class _CallMoney:
    """A call and its hold; None where there is none. `parts` are what it took of which period."""

    epoch: int | None = None
    final: bool = False
    amount: Nanos | None = None
    status: str | None = None
    parts: list[budgets.Part] = field(default_factory=list)


@dataclass(slots=True)
class _Money:
    """Everything a decision needs to know, as it is while the account is locked."""

    credit: Nanos
    sharing: int = 1
    calls: dict[str, _CallMoney] = field(default_factory=dict)
    periods: dict[str, BudgetPeriod] = field(default_factory=dict)

    def take(self, limits: tuple[Limit, ...], amount: Nanos) -> None:
        """The next call of the same account finds so much less."""
        self.credit = Nanos(self.credit - amount)
        for limit in limits:
            had = self.period(limit)
            self.periods[limit.key] = replace(had, held_nano=Nanos(had.held_nano + amount))

    def period(self, limit: Limit) -> BudgetPeriod:
        """With this limit; one nothing was ever taken from is empty."""
        had = self.periods.get(limit.key, BudgetPeriod(limit.key, None, Nanos(0), Nanos(0)))
        return replace(had, limit_nano=limit.nano)


@dataclass(frozen=True, slots=True)
class _Free:
    """What a call could take now. `share` is its part of what several calls of the user wait for.

    `limits` are those that really end it.
    """

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
    wishes = await _wishes(tx, user_id, now)
    money = await _locked(tx, user_id, [call_id], wishes)
    state = money.calls[call_id]
    if state.epoch is not None and (state.final or state.epoch != epoch):
        return Nanos(0)
    if state.status is not None:
        return Nanos(state.amount or 0) if state.status == "open" else Nanos(0)
    free = _free(money, wishes, call_id, budget_limit)
    granted = Nanos(min(wanted, free.all))
    if granted < at_least:
        return Nanos(0)
    await take(tx, user_id, [Taken(call_id, epoch, granted, free.limits)])
    return granted


async def renew(
    tx: Tx, *, user_id: str, call_id: str, epoch: int, known: Nanos, wanted: Nanos, now: datetime
) -> Grant:
    """Adds up to `wanted` to a call's hold: no more than its share of what is free. How the call stands then.

    `known` is the hold as the caller knows it. One that is larger already has been added to by an earlier try whose
    COMMIT got no answer: it is told and left as it is. Raises `Fenced` for a call that is settled or has another
    epoch, and nothing is changed then.
    """
    granted = await renew_all(tx, user_id=user_id, asks=[Ask(call_id, epoch, known, wanted)], now=now)
    if call_id not in granted:
        raise Fenced(call_id)
    return granted[call_id]


async def renew_all(tx: Tx, *, user_id: str, asks: Sequence[Ask], now: datetime) -> dict[str, Grant]:
    """`renew` for several calls of one account, one after the other, in as many statements as for one.

    Those that are settled or have another epoch are left out of the answer, and are not changed.
    """
    wishes = await _wishes(tx, user_id, now)
    money = await _locked(tx, user_id, [ask.call_id for ask in asks], wishes)
    grants: dict[str, Grant] = {}
    taken: list[Taken] = []
    for ask in asks:
        state = money.calls[ask.call_id]
        if state.final or state.epoch != ask.epoch:
            continue
        if state.status != "open" or state.amount is None:
            grants[ask.call_id] = Grant(Nanos(0), Nanos(0), EndReason.CREDIT, None)
            continue
        free = _free(money, wishes, ask.call_id, None)
        more = Nanos(min(ask.wanted, free.share)) if state.amount <= ask.known else Nanos(0)
        if more > 0:
            taken.append(Taken(ask.call_id, ask.epoch, more, free.limits))
            money.take(free.limits, more)
        amount = Nanos(state.amount + more)
        reach = Nanos(amount + free.share - more)
        grants[ask.call_id] = Grant(amount, reach, free.binds, free.warn_used)
    await take(tx, user_id, taken)
    return grants


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


async def _wishes(tx: Tx, user_id: str, now: datetime | None) -> _Wishes:
    """Read before the lock, to hold that for as short as can be: what a user sets counts from the next hold on."""
    wished = user_budget_settings
    query = select(users.c.timezone, UtcNow().label("told"), *(wished.c[name] for name in _SET))
    query = query.select_from(users.outerjoin(wished, wished.c.user_id == users.c.id))
    row = (await tx.execute(query.where(users.c.id == user_id))).one()
    budget = Budget() if row.warn_percent is None else Budget(*(getattr(row, name) for name in _SET))
    return _Wishes(row.timezone, budget, row.told if now is None else now)


_SET = tuple(wish.name for wish in fields(Budget))


async def _locked(tx: Tx, user_id: str, call_ids: Sequence[str], wishes: _Wishes) -> _Money:
    """Locks the account, then reads: in a second statement, which sees what others did before they let go of it.

    One statement for all there is to know, since everybody else on the account waits meanwhile.
    """
    account = await lock_account(tx, user_id)
    credit = 0 if account is None else account.balance_nano - account.held_nano
    money = _Money(Nanos(credit), calls={call_id: _CallMoney() for call_id in call_ids})
    keys = list(budgets.calendar(wishes.timezone, wishes.now)) + [f"call:{call_id}" for call_id in call_ids]
    for what, name, key, one, two, three in await tx.execute(
        _KNOWN, {"of_user": user_id, "of_calls": list(call_ids), "of_keys": keys}
    ):
        match what:
            case "call":
                money.calls[name].epoch, money.calls[name].final = one, bool(two)
            case "hold":
                money.calls[name].amount, money.calls[name].status = Nanos(one), key
            case "part":
                money.calls[name].parts.append(budgets.Part(key, Nanos(one), Nanos(two)))
            case "period":
                money.periods[key] = BudgetPeriod(key, three, Nanos(one), Nanos(two))
            case "sharing":
                money.sharing = max(1, one)
    return money


def _everything() -> CompoundSelect[Any]:
    """Rows of (what, name, key, number, number, number): calls, their holds and what those took, periods, and how
    many calls of the user money is held for."""
    mine = bindparam("of_user", type_=Text)
    asked, keys = (
        bindparam("of_calls", type_=Text, expanding=True),
        bindparam("of_keys", type_=Text, expanding=True),
    )
    none, no_number = literal(""), cast(null(), BigInteger)
    final = case((calls.c.final_at.is_not(None), 1), else_=0)
    hold, part, period, others = (
        credit_holds.c,
        hold_periods.c,
        budget_periods.c,
        credit_holds.alias("others"),
    )
    return union_all(
        select(literal("call"), calls.c.id, none, calls.c.epoch, final, no_number).where(
            calls.c.id.in_(asked)
        ),
        select(literal("hold"), hold.call_id, hold.status, hold.amount_nano, no_number, no_number).where(
            hold.call_id.in_(asked)
        ),
        select(literal("part"), part.call_id, part.key, part.held_nano, part.spent_nano, no_number).where(
            part.call_id.in_(asked)
        ),
        select(
            literal("period"), none, period.key, period.spent_nano, period.held_nano, period.limit_nano
        ).where(period.user_id == mine, period.key.in_(keys)),
        select(literal("sharing"), none, none, func.count(), no_number, no_number).where(
            others.c.user_id == mine, others.c.status == "open"
        ),
    )


_KNOWN = _everything()


def _free(money: _Money, wishes: _Wishes, call_id: str, budget_limit: Nanos | None) -> _Free:
    limits = budgets.limits(wishes.budget, wishes.timezone, call_id, wishes.now)
    hard = tuple(_hard(limit, wishes.budget, budget_limit) for limit in limits)
    left = [(room(money.period(limit)), budgets.kind_of(limit.key) == "call") for limit in hard]
    bounded = [(amount, own) for amount, own in left if amount is not None]
    budgeted = min((amount for amount, _ in bounded), default=None)
    shared = min((amount if own else amount // money.sharing for amount, own in bounded), default=None)
    part = money.credit // money.sharing
    return _Free(
        all=Nanos(money.credit if budgeted is None else min(money.credit, budgeted)),
        share=Nanos(part if shared is None else min(part, shared)),
        binds=EndReason.CREDIT if shared is None or part < shared else EndReason.BUDGET,
        limits=hard,
        warn_used=_warn_used(money, call_id, wishes.budget, limits),
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


def _warn_used(money: _Money, call_id: str, budget: Budget, limits: tuple[Limit, ...]) -> Nanos | None:
    """What the call has used when the first of its budgets comes to the user's percentage.

    What a call took of an earlier day or month counts there. A percentage that was reached without this call, has
    been warned of.
    """
    marks = []
    for limit in limits:
        if limit.nano is None:
            continue
        earlier = sum(
            part.held_nano
            for part in money.calls[call_id].parts
            if part.key < limit.key and budgets.kind_of(part.key) == budgets.kind_of(limit.key)
        )
        mark = -(-limit.nano * budget.warn_percent // 100) - money.period(limit).spent_nano
        if mark > 0:
            marks.append(earlier + mark)
    return Nanos(min(marks)) if marks else None
