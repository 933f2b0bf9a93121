"""Rows that only count for a while, and when each is too old: what the daily retention removes besides old calls.

None of them waits for somebody to do something: a server nobody uses forgets as surely as a busy one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, delete, exists, select, true

from storage.db import Tx
from storage.erasures import AWAY
from storage.tables import (
    bus_parcels,
    codes_sent,
    dials,
    erased_calls,
    inbound_rings,
    payment_reversals,
    phone_verifications,
    purchases,
    stream_tokens,
    token_blacklist,
)

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Ageing:
    """Rows of the moment's table, those for which `only` holds, are too old once it lies so far back."""

    moment: Column[datetime]
    kept: timedelta
    only: ColumnElement[bool] = field(default_factory=true)


AGEING = (
    # Limits look back a day.
    Ageing(dials.c.at, 2 * DAY),
    Ageing(inbound_rings.c.at, 2 * DAY),
    Ageing(codes_sent.c.at, 2 * DAY),
    # How many different numbers somebody proved is counted over 30 days.
    Ageing(phone_verifications.c.created_at, 31 * DAY),
    # Good for nothing any more.
    Ageing(token_blacklist.c.exp, DAY),
    Ageing(stream_tokens.c.expires_at, DAY),
    Ageing(bus_parcels.c.created_at, DAY),
    # Of a payment nobody here knows: its word may still be on its way, for three days; or its account was deleted.
    Ageing(
        payment_reversals.c.created_at,
        7 * DAY,
        only=~exists().where(purchases.c.payment_intent == payment_reversals.c.payment_intent),
    ),
    # Every node has had the time to remove its files of them.
    Ageing(erased_calls.c.erased_at, 2 * AWAY),
)


async def purge(tx: Tx, now: datetime, limit: int) -> int:
    """Removes at most `limit` rows a table; how many in all."""
    gone = 0
    for ageing in AGEING:
        table = ageing.moment.table
        (key,) = table.primary_key.columns
        query = select(key).where(ageing.moment < now - ageing.kept, ageing.only)
        old = (await tx.execute(query.limit(limit))).scalars().all()
        if old:
            gone += (await tx.execute(delete(table).where(key.in_(old)))).rowcount
    return gone
