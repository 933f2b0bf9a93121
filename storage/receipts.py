"""Webhooks that were already seen, by a key their sender repeats."""

from __future__ import annotations

from storage.db import Tx, insert
from storage.tables import webhook_receipts


async def first_time(tx: Tx, key: str) -> bool:
    """True once a key. Rolled back with the transaction, so a failed delivery may be repeated."""
    row = insert(tx, webhook_receipts).values(key=key)
    return (await tx.execute(row.on_conflict_do_nothing(index_elements=["key"]))).rowcount == 1
