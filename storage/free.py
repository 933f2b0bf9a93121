"""What of an account is free for a call: read under the lock of the account, decided without the database.

All a decision needs is read in one statement; the balance, every budget and the calls that share them bound it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

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
)

from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from storage import budgets, periods
from storage.accounts import balance, lock_account
from storage.budgets import Limit
from storage.columns import UtcNow
from storage.db import Tx
from storage.records import Budget, BudgetPeriod
from storage.tables import (
    budget_periods,
    calls,
    credit_holds,
    hold_periods,
    user_budget_settings,
    users,
)

Bounding = Literal["credit", "call", "day", "month"]
"""The balance, or a budget by its kind."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user has set, and the moment it is read at."""

    timezone: str
    budget: Budget
    now: datetime


@dataclass(slots=True)
class CallMoney:
    """A call and its hold; None where there is none. `parts` are what it took of which period.

    `timezone` is the one whose days and months it takes from; empty before it has taken anything.
    """

    epoch: int | None = None
    timezone: str = ""
    final: bool = False
    amount: Nanos | None = None
    status: str | None = None
    parts: list[budgets.Part] = field(default_factory=list)


@dataclass(slots=True)
class Money:
    """Everything a decision needs to know, as it is while the account is locked."""

    credit: Nanos
    sharing: int = 0
    calls: dict[str, CallMoney] = field(default_factory=dict)
    periods: dict[str, BudgetPeriod] = field(default_factory=dict)

    def take(self, limits: tuple[Limit, ...], amount: Nanos) -> None:
        """The next call of the same account finds so much less."""
        self.credit = Nanos(self.credit - amount)
        for limit in limits:
            had = self._own(limit)
            self.periods[limit.key] = replace(had, held_nano=Nanos(had.held_nano + amount), zones=limit.zones)

    def zone(self, call_id: str, wishes: Wishes) -> str:
        """Whose days and months the call takes from. Another zone of its user's does not reach it any more."""
        known = self.calls.get(call_id)
        return wishes.timezone if known is None or not known.timezone else known.timezone

    def limits(self, call_id: str, wishes: Wishes) -> tuple[Limit, ...]:
        """The user's limits for what this call takes now."""
        found = budgets.limits(wishes.budget, self.zone(call_id, wishes), call_id, wishes.now)
        return tuple(
            replace(limit, zones=periods.named(self._own(limit), limit.zones)) if limit.zones else limit
            for limit in found
        )

    def period(self, limit: Limit, zone: str) -> BudgetPeriod:
        """With this limit, and all that counts for it; one nothing was ever taken from is empty."""
        return replace(periods.counted(self._own(limit), zone, self.periods.values()), limit_nano=limit.nano)

    def _own(self, limit: Limit) -> BudgetPeriod:
        return self.periods.get(limit.key, BudgetPeriod(limit.key, None, Nanos(0), Nanos(0)))


@dataclass(frozen=True, slots=True)
class Free:
    """What a call could take now. `share` is its part of what several calls of the user wait for; `by` is what that
    ends at.

    `limits` are those that really end it.
    """

    all: Nanos
    share: Nanos
    by: Bounding
    limits: tuple[Limit, ...]
    warn_used: Nanos | None

    @property
    def binds(self) -> EndReason:
        return EndReason.CREDIT if self.by == "credit" else EndReason.BUDGET


async def wishes_of(tx: Tx, user_id: str, now: datetime | None) -> Wishes:
    """Read before the lock, to hold that for as short as can be: what a user sets counts from the next hold on."""
    wished = user_budget_settings
    query = select(users.c.timezone, UtcNow().label("told"), *(wished.c[name] for name in _SET))
    query = query.select_from(users.outerjoin(wished, wished.c.user_id == users.c.id))
    row = (await tx.execute(query.where(users.c.id == user_id))).one()
    budget = Budget() if row.warn_percent is None else Budget(*(getattr(row, name) for name in _SET))
    return Wishes(row.timezone, budget, row.told if now is None else now)


_SET = tuple(wish.name for wish in fields(Budget))


async def locked(tx: Tx, user_id: str, call_ids: Sequence[str], wishes: Wishes) -> Money:
    """Locks the account, then reads: in a second statement, which sees what others did before they let go of it.

    One statement for all there is to know, since everybody else on the account waits meanwhile.
    """
    account = await lock_account(tx, user_id)
    credit = 0 if account is None else account.balance_nano - account.held_nano
    return await _known(tx, user_id, call_ids, wishes, credit)


async def seen(tx: Tx, user_id: str, call_ids: Sequence[str], wishes: Wishes) -> Money:
    """The same without the lock: for showing, not for deciding."""
    return await _known(tx, user_id, call_ids, wishes, (await balance(tx, user_id)).available)


async def _known(tx: Tx, user_id: str, call_ids: Sequence[str], wishes: Wishes, credit: int) -> Money:
    money = Money(Nanos(credit), calls={call_id: CallMoney() for call_id in call_ids})
    keys = periods.near(wishes.now) + [f"call:{call_id}" for call_id in call_ids]
    for what, name, key, one, two, three in await tx.execute(
        _KNOWN, {"of_user": user_id, "of_calls": list(call_ids), "of_keys": keys}
    ):
        match what:
            case "call":
                money.calls[name].epoch, money.calls[name].final = one, bool(two)
            case "hold":
                money.calls[name].amount, money.calls[name].status = Nanos(one), key
            case "zone":
                money.calls[name].timezone = key
            case "part":
                money.calls[name].parts.append(budgets.Part(key, Nanos(one), Nanos(two)))
            case "period":
                money.periods[key] = BudgetPeriod(key, three, Nanos(one), Nanos(two), name)
            case "sharing":
                money.sharing = one
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
        select(literal("zone"), hold.call_id, hold.timezone, no_number, no_number, no_number).where(
            hold.call_id.in_(asked)
        ),
        select(literal("part"), part.call_id, part.key, part.held_nano, part.spent_nano, no_number).where(
            part.call_id.in_(asked)
        ),
        select(
            literal("period"),
            period.zones,
            period.key,
            period.spent_nano,
            period.held_nano,
            period.limit_nano,
        ).where(period.user_id == mine, period.key.in_(keys)),
        select(literal("sharing"), none, none, func.count(), no_number, no_number).where(
            others.c.user_id == mine, others.c.status == "open"
        ),
    )


_KNOWN = _everything()


def free_for(money: Money, wishes: Wishes, call_id: str, budget_limit: Nanos | None) -> Free:
    sharing = max(1, money.sharing)
    zone, limits = money.zone(call_id, wishes), money.limits(call_id, wishes)
    hard = tuple(hard_limit(limit, wishes.budget, budget_limit) for limit in limits)
    left = [(room(money.period(limit, zone)), periods.kind_of(limit.key)) for limit in hard]
    bounded: list[tuple[Nanos, Bounding]] = [(amount, kind) for amount, kind in left if amount is not None]
    bounded.append((money.credit, "credit"))  # last: of equals the budget is named
    shares = [(amount if kind == "call" else amount // sharing, kind) for amount, kind in bounded]
    share, by = min(shares, key=lambda each: each[0])
    return Free(
        all=min(amount for amount, _ in bounded),
        share=Nanos(share),
        by=by,
        limits=hard,
        warn_used=_warn_used(money, call_id, zone, wishes.budget, limits),
    )


def hard_limit(limit: Limit, budget: Budget, budget_limit: Nanos | None) -> Limit:
    """What really ends a call: not a budget that only warns; for the call itself also the limit given with it."""
    known = [limit.nano] if budget.auto_cutoff else []
    if periods.kind_of(limit.key) == "call":
        known.append(budget_limit)
    return replace(limit, nano=min((nano for nano in known if nano is not None), default=None))


def room(period: BudgetPeriod) -> Nanos | None:
    """What of a budget is neither spent nor held; None without a limit."""
    if period.limit_nano is None:
        return None
    return Nanos(max(0, period.limit_nano - period.spent_nano - period.held_nano))


def _warn_used(
    money: Money, call_id: str, zone: str, budget: Budget, limits: tuple[Limit, ...]
) -> Nanos | None:
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
            if part.key < limit.key and periods.kind_of(part.key) == periods.kind_of(limit.key)
        )
        mark = -(-limit.nano * budget.warn_percent // 100) - money.period(limit, zone).spent_nano
        if mark > 0:
            marks.append(earlier + mark)
    return Nanos(min(marks)) if marks else None
