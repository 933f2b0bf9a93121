"""Money set aside for calls before anything is bought: taken in parts, from the balance and from every budget.

All of it under the lock of the user's account, so calls that share one queue there, on however many nodes they
run, and no two of them see the same free cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from storage import budgets
from storage.db import Tx
from storage.free import CallMoney, Money, Wishes, free_for, hard_limit, locked, room, wishes_of
from storage.periods import kind_of
from storage.records import Fenced, Grant, Hold
from storage.rows import columns, first
from storage.tables import budget_periods, credit_holds
from storage.taking import Taken, take


@dataclass(frozen=True, slots=True)
class Ask:
    """A renewal: up to `wanted` more for a call whose hold is `known`, as far as whoever asks knows."""

    call_id: str
    epoch: int
    known: Nanos
    wanted: Nanos


class Drawing:
    """One account under its lock, that several calls take their first part from, each after the one before.

    Decided in memory, so that a call that gets nothing has changed nothing, and written in one go for all.
    """

    def __init__(self, user_id: str, wishes: Wishes, money: Money) -> None:
        self._user_id = user_id
        self.wishes_of = wishes
        self._money = money
        self._taken: list[Taken] = []

    @property
    def available(self) -> Nanos:
        """What the balance has left for the next call."""
        return self._money.credit

    def first(
        self, call_id: str, epoch: int, *, at_least: Nanos, wanted: Nanos, budget_limit: Nanos | None = None
    ) -> Grant | None:
        """The first part for a call: what is free, up to `wanted`; and how the call stands with it.

        None when not even `at_least` can be had, and for a call that is settled or has another epoch. A call that has
        a hold is told of it. One that `draw` was not told of is new. One that costs nothing has a hold of nothing.
        """
        if at_least < 0:
            raise ValueError("a hold is for no less than nothing")
        money, wishes = self._money, self.wishes_of
        state = money.calls.setdefault(call_id, CallMoney())
        if state.epoch is not None and (state.final or state.epoch != epoch):
            return None
        if state.status is None:
            free = free_for(money, wishes, call_id, budget_limit)
            granted = Nanos(min(wanted, free.all))
            if granted < at_least:
                return None
            self._taken.append(Taken(call_id, epoch, granted, free.limits, money.zone(call_id, wishes)))
            money.take(free.limits, granted)
            money.sharing += 1
            state.status, state.amount = "open", granted
        if state.status != "open" or state.amount is None:
            return None
        free = free_for(money, wishes, call_id, None)
        return Grant(state.amount, Nanos(state.amount + free.share), free.binds, free.warn_used)

    def budgets_left(self, call_id: str) -> dict[str, Nanos]:
        """What is left of each budget that limits this call, by its kind: call, day, month."""
        wishes, left = self.wishes_of, dict[str, Nanos]()
        zone = self._money.zone(call_id, wishes)
        for limit in self._money.limits(call_id, wishes):
            bound = room(self._money.period(hard_limit(limit, wishes.budget, None), zone))
            if bound is not None:
                left[kind_of(limit.key)] = bound
        return left

    async def write(self, tx: Tx) -> None:
        """Sets aside what was given out. Raises `Overdrawn`, for the caller to roll back."""
        taken, self._taken = self._taken, []
        await take(tx, self._user_id, taken)


async def draw(tx: Tx, user_id: str, *, call_ids: Sequence[str] = (), now: datetime | None = None) -> Drawing:
    """Locks the account. `call_ids` are calls that exist already; `now` names the day and the month, the database's
    clock where it is not given."""
    wishes = await wishes_of(tx, user_id, now)
    return Drawing(user_id, wishes, await locked(tx, user_id, call_ids, wishes))


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
    """Sets aside the first part for one call, as `Drawing.first` does; how much that is, 0 for nothing.

    `budget_limit` is a limit of this call beside the user's own.
    """
    if at_least <= 0:
        raise ValueError("a hold is for more than nothing")
    drawing = await draw(tx, user_id, call_ids=[call_id], now=now)
    grant = drawing.first(call_id, epoch, at_least=at_least, wanted=wanted, budget_limit=budget_limit)
    await drawing.write(tx)
    return Nanos(0) if grant is None else grant.held


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
    wishes = await wishes_of(tx, user_id, now)
    money = await locked(tx, user_id, [ask.call_id for ask in asks], wishes)
    grants: dict[str, Grant] = {}
    taken: list[Taken] = []
    for ask in asks:
        state = money.calls[ask.call_id]
        if state.final or state.epoch != ask.epoch:
            continue
        if state.status != "open" or state.amount is None:
            grants[ask.call_id] = Grant(Nanos(0), Nanos(0), EndReason.CREDIT, None)
            continue
        free = free_for(money, wishes, ask.call_id, None)
        more = Nanos(min(ask.wanted, free.share)) if state.amount <= ask.known else Nanos(0)
        if more > 0:
            zone = money.zone(ask.call_id, wishes)
            taken.append(Taken(ask.call_id, ask.epoch, more, free.limits, zone))
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


async def carry_on(tx: Tx, call_id: str, epoch: int) -> None:
    """The call goes on in another process, as of this epoch: what the ones before it wrote down is the past."""
    this = update(credit_holds).where(credit_holds.c.call_id == call_id, credit_holds.c.epoch < epoch)
    await tx.execute(this.values(epoch=epoch))


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
