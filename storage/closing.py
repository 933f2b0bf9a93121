"""What stays of an account: sums without a name for the operator's books, counts against abuse, and nothing to tell
whose they were. All in the transaction that removes the rest.

Most rows hang on the user's and go with it. The others are named here; `tests/server/test_every_trace.py` fills every
table and finds those that are missing.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Select, delete, func, literal, select, union, update

from storage import charges, inbound, search, strangers, users
from storage.db import Tx, insert
from storage.ids import new_id
from storage.tables import (
    audit_log,
    calls,
    closed_accounts,
    consents,
    credit_transactions,
    jobs,
    operator_losses,
    payment_reversals,
    purchases,
)
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
    await _sever(tx, user_id, mine)
    await charges.forget(tx, list((await tx.execute(mine)).scalars()))
    if not await users.delete(tx, user_id):
        return False
    # A day is enough for the books, and a moment might tell whose they are.
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await tx.execute(insert(tx, closed_accounts).values(**row, closed_at=day))
    await search.forget(tx)
    return True


async def _sever(tx: Tx, user_id: str, mine: Select[tuple[str]]) -> None:
    """What does not go with the user's row: it goes here, or loses what tells whose it was. `mine`: ids of calls."""
    numbers = await _numbers(tx, user_id)
    # Somebody may have rung from a number without proving anything: that call is another account's.
    rung = update(calls).where(calls.c.user_id == strangers.ACCOUNT, calls.c.phone_e164.in_(numbers))
    await tx.execute(rung.values(phone_e164=None))
    await inbound.forget_caller(tx, user_id, numbers)
    about = select(literal("reconcile:") + calls.c.id).where(calls.c.user_id == user_id)
    named = jobs.c.payload.contains(json.dumps(user_id), autoescape=True)
    await tx.execute(delete(jobs).where(jobs.c.id.in_(about) | named))
    await tx.execute(update(audit_log).where(audit_log.c.subject == user_id).values(subject="", detail=""))
    actor = f"user:{user_id}"
    await tx.execute(update(audit_log).where(audit_log.c.actor == actor).values(actor="user: deleted"))
    paid = select(purchases.c.payment_intent).where(purchases.c.user_id == user_id)
    await tx.execute(delete(payment_reversals).where(payment_reversals.c.payment_intent.in_(paid)))
    # Sums by reason stay right; rows of one call stay together, under another name.
    lost = select(operator_losses.c.call_id).where(operator_losses.c.call_id.in_(mine)).distinct()
    for call_id in (await tx.execute(lost)).scalars().all():
        losses = update(operator_losses).where(operator_losses.c.call_id == call_id)
        await tx.execute(losses.values(call_id=new_id()))


async def _numbers(tx: Tx, user_id: str) -> list[str]:
    """The number they have and those they had before."""
    now = select(users_table.c.phone_e164).where(
        users_table.c.id == user_id, users_table.c.phone_e164.is_not(None)
    )
    before = select(consents.c.phone_e164).where(consents.c.user_id == user_id)
    return sorted((await tx.execute(union(now, before))).scalars())
