"""A user's prepaid credit: its lock, and postings that are never changed.

Every change of a balance is made under the lock of the user's row. Whoever also locks calls locks those first, by
rising id, then accounts, by rising user id; budget periods need no lock of their own. So no two transactions wait
for each other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select, update

from pipeline.core.money import Nanos
from storage.db import Tx, insert
from storage.records import Balance, Overdrawn
from storage.tables import credit_transactions, user_credits


async def lock_account(tx: Tx, user_id: str) -> Row[tuple[int, int]] | None:
    """Whoever else locks, holds or posts on this account waits until this transaction ends.

    Its balance and what is held of it; None, and no lock, where there is no such account: each user has one from the
    start.
    """
    return (await tx.execute(_account(user_id).with_for_update())).first()


async def balance(tx: Tx, user_id: str) -> Balance:
    """An account nothing was ever granted to is empty."""
    row = (await tx.execute(_account(user_id))).first()
    if row is None:
        return Balance(Nanos(0), Nanos(0), Nanos(0))
    return Balance(Nanos(row.balance_nano), Nanos(row.held_nano), Nanos(row.balance_nano - row.held_nano))


def _account(user_id: str) -> Select[tuple[int, int]]:
    query = select(user_credits.c.balance_nano, user_credits.c.held_nano)
    return query.where(user_credits.c.user_id == user_id)


async def post(
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
