"""Calls whose account was deleted: what is left of them is a name, so that every node can remove its files of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select

from storage.db import Tx, insert
from storage.tables import erased_calls

AWAY = timedelta(days=30)
"""How long a node may have been down and still find what to remove."""


async def note(tx: Tx, call_ids: Collection[str], now: datetime) -> None:
    """In the transaction that deletes the calls."""
    if call_ids:
        rows = [{"call_id": call_id, "erased_at": now} for call_id in call_ids]
        await tx.execute(insert(tx, erased_calls).on_conflict_do_nothing(index_elements=["call_id"]), rows)


async def since(tx: Tx, moment: datetime) -> list[str]:
    """The calls erased at that moment or later."""
    query = select(erased_calls.c.call_id).where(erased_calls.c.erased_at >= moment)
    return list((await tx.execute(query)).scalars())
