"""What people agreed to: who, for which number, to which text, when, from where and how. Only ever added to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.db import Tx, insert
from storage.ids import new_id
from storage.records import Page
from storage.rows import newest_page
from storage.tables import consents


@dataclass(frozen=True, slots=True)
class Consent:
    """`method`: by what it was given, or taken back; `text_version`: the text it was given to."""

    id: str
    phone_e164: str
    text_version: str
    method: str
    created_at: datetime


async def add(
    tx: Tx, user_id: str, e164: str, *, text_version: str, method: str, ip: str, now: datetime
) -> None:
    row = {
        "id": new_id(), "user_id": user_id, "phone_e164": e164, "text_version": text_version, "method": method,
        "ip": ip, "created_at": now,
    }  # fmt: skip
    await tx.execute(insert(tx, consents).values(row))


async def page(tx: Tx, user_id: str, cursor: str | None, limit: int) -> Page[Consent]:
    """One person's, newest first."""
    return await newest_page(tx, Consent, consents, consents.c.user_id == user_id, cursor, limit)
