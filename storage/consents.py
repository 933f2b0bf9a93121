"""What people agreed to: who, for which number, to which text, when, from where and how. Only ever added to."""

from __future__ import annotations

from datetime import datetime

from storage.db import Tx, insert
from storage.ids import new_id
from storage.tables import consents


async def add(
    tx: Tx, user_id: str, e164: str, *, text_version: str, method: str, ip: str, now: datetime
) -> None:
    row = {
        "id": new_id(), "user_id": user_id, "phone_e164": e164, "text_version": text_version, "method": method,
        "ip": ip, "created_at": now,
    }  # fmt: skip
    await tx.execute(insert(tx, consents).values(row))
