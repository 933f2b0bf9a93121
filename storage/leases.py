"""Until when something claimed stays claimed, by the database's clock: the one clock all nodes share."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select

from storage.columns import UtcNow
from storage.db import Tx


async def database_now(tx: Tx) -> datetime:
    """On PostgreSQL the moment the transaction began."""
    found: datetime = (await tx.execute(select(UtcNow()))).scalar_one()
    return found


async def lease(tx: Tx, seconds: int) -> datetime:
    """The end of a lease that begins now."""
    return await database_now(tx) + timedelta(seconds=seconds)
