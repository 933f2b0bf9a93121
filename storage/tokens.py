"""Tokens that were logged out. A row goes once the token has expired (`storage/ageing.py`)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from storage.db import Tx, insert
from storage.tables import token_blacklist


async def blacklist(tx: Tx, jti: str, user_id: str, exp: datetime) -> None:
    """Doing so again changes nothing."""
    row = insert(tx, token_blacklist).values(jti=jti, user_id=user_id, exp=exp)
    await tx.execute(row.on_conflict_do_nothing(index_elements=["jti"]))


async def is_blacklisted(tx: Tx, jti: str) -> bool:
    return (
        await tx.execute(select(token_blacklist.c.jti).where(token_blacklist.c.jti == jti))
    ).first() is not None
