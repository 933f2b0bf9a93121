"""What was done by hand or by itself and somebody may ask about later. Only ever added to."""

from __future__ import annotations

from storage.db import Tx, insert
from storage.tables import audit_log


async def note(tx: Tx, *, actor: str, action: str, subject: str, detail: str = "") -> None:
    await tx.execute(insert(tx, audit_log).values(actor=actor, action=action, subject=subject, detail=detail))
