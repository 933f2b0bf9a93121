"""The account that pays for strangers who ring: the operator's, with a budget a day like anybody's.

It is a user nobody can log in as. What a trial costs goes through the same holds, budgets, postings and audit as any
call; what it has is granted call by call, never more than a day's budget at a time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pipeline.core.money import Nanos, usd
from storage import budgets, ledger, periods
from storage.accounts import lock_account
from storage.db import Tx, insert
from storage.free import room
from storage.records import Budget, BudgetPeriod, User
from storage.tables import user_credits, users
from storage.users import by_id

ACCOUNT = "strangers"
"""Its id, and in the place of an address: no address is so short of an @."""

NAME = "Strangers who ring"


async def provide(tx: Tx, daily: Nanos, call_id: str, now: datetime) -> User:
    """The account, with a day's budget of `daily` and credit up to that. Others who provide for a call wait."""
    row = {
        "id": ACCOUNT,
        "email": ACCOUNT,
        "password_hash": "",
        "name": NAME,
        "created_at": now,
        "updated_at": now,
    }
    # On any conflict: its address is unique as its id is, and of two at one moment either may be met first.
    await tx.execute(insert(tx, users).values(row).on_conflict_do_nothing())
    opened = insert(tx, user_credits).values(user_id=ACCOUNT, updated_at=now)
    await tx.execute(opened.on_conflict_do_nothing(index_elements=["user_id"]))
    account = await lock_account(tx, ACCOUNT)
    wished = Budget(daily_nano=daily, warn_percent=100)
    if await budgets.budget(tx, ACCOUNT) != wished:
        await budgets.put_budget(tx, ACCOUNT, wished)
    free = 0 if account is None else account.balance_nano - account.held_nano
    if free < daily:
        await ledger.grant(
            tx, user_id=ACCOUNT, amount=Nanos(daily - free), kind="grant", idem_key=f"stranger:{call_id}",
            note=f"for strangers, {usd(daily)} USD a day", now=now,
        )  # fmt: skip
    user = await by_id(tx, ACCOUNT)
    if user is None:
        raise LookupError(ACCOUNT)
    return user


async def today(tx: Tx, daily: Nanos, now: datetime) -> BudgetPeriod:
    """Today, by UTC's calendar, under a budget of `daily`."""
    day, _ = periods.calendar("UTC", now)
    return replace(await budgets.period(tx, ACCOUNT, day), limit_nano=daily)


async def left_today(tx: Tx, daily: Nanos, now: datetime) -> Nanos:
    """What of today's budget, by UTC's calendar, is neither spent nor held."""
    return room(await today(tx, daily, now)) or Nanos(0)
