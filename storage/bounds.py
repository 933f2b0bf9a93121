"""How far a call's money reaches, for whoever watches it.

Read without the account's lock, so it may be old by a moment: it is shown, and nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.core.money import Nanos
from storage.db import Tx
from storage.free import Bounding, free_for, seen, wishes_of
from storage.records import CallRow


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a call may come to as things stand, and what that ends `by`.

    `warn_used` is what it has used when the first of the user's budgets comes to their percentage; None without any.
    """

    by: Bounding
    most: Nanos
    warn_used: Nanos | None


async def bound(tx: Tx, call: CallRow, now: datetime) -> Bound | None:
    """None for a call that nothing is held for any more."""
    wishes = await wishes_of(tx, call.user_id, now)
    money = await seen(tx, call.user_id, [call.id], wishes)
    state = money.calls[call.id]
    if state.status != "open" or state.amount is None:
        return None
    free = free_for(money, wishes, call.id, None)
    return Bound(free.by, Nanos(state.amount + free.share), free.warn_used)
