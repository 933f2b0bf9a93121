"""What stays of an account for the operator's books: sums without a name, in the transaction that removes the rest."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, literal, select, update

from storage import search, strangers, users
from storage.db import Tx, insert
from storage.tables import calls, closed_accounts, credit_transactions, jobs, operator_losses
from storage.tables import users as users_table


async def close(tx: Tx, user_id: str, now: datetime) -> bool:
    """Removes the account and all that hangs on it; what credit was left is the operator's. False when none was.

    All its calls have to be final, or what is still to be settled would be missing from the sums.
    """
    postings = select(
        func.coalesce(
            func.sum(credit_transactions.c.amount_nano).filter(credit_transactions.c.kind != "usage"), 0
        ),
        func.coalesce(
            -func.sum(credit_transactions.c.amount_nano).filter(credit_transactions.c.kind == "usage"), 0
        ),
    ).where(credit_transactions.c.user_id == user_id)
    granted, used = (await tx.execute(postings)).one()
    mine = select(calls.c.id).where(calls.c.user_id == user_id)
    lost = select(func.coalesce(func.sum(operator_losses.c.amount_nano), 0)).where(
        operator_losses.c.call_id.in_(mine)
    )
    row = {
        "calls": (await tx.execute(select(func.count()).select_from(mine.subquery()))).scalar_one(),
        "granted_nano": int(granted),
        "usage_nano": int(used),
        "forfeited_nano": int(granted) - int(used),
        "losses_nano": int((await tx.execute(lost)).scalar_one()),
    }
    # Somebody may have rung from the number without proving anything: that call is another account's.
    number = select(users_table.c.phone_e164).where(users_table.c.id == user_id).scalar_subquery()
    rung = update(calls).where(calls.c.user_id == strangers.ACCOUNT, calls.c.phone_e164 == number)
    await tx.execute(rung.values(phone_e164=None))
    about = select(literal("reconcile:") + calls.c.id).where(calls.c.user_id == user_id)
    await tx.execute(delete(jobs).where(jobs.c.id.in_(about)))
    if not await users.delete(tx, user_id):
        return False
    # A day is enough for the books, and a moment might tell whose they are.
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await tx.execute(insert(tx, closed_accounts).values(**row, closed_at=day))
    await search.forget(tx)
    return True
