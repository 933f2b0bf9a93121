"""An audit of the books that was asked for in the console: a background job, and its result in the audit log."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from pipeline.clock import Clock
from storage import audit_trail, jobs, overview
from storage.audit import audit
from storage.db import Database, Tx

KIND = "audit"
RESULT = "audit.result"
SHOWN = 20
"""Breaches kept with a result; `callmeback audit` lists them all."""


class AuditBreach(BaseModel):
    invariant: str
    subject: str
    detail: str


class AuditResult(BaseModel):
    """`explained_percent`: of the money moved, how much is accounted for."""

    ok: bool
    calls: int
    charges: int
    explained_percent: float
    breaches: int
    first: list[AuditBreach]


class Auditing:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, _payload: dict[str, Any]) -> None:
        """The job. A read of its own, so that nobody waits for it."""
        async with self._database.read() as tx:
            report = await audit(tx)
        result = AuditResult(
            ok=not report.breaches,
            calls=report.calls,
            charges=report.events,
            explained_percent=round(100 * report.explained_share, 4),
            breaches=len(report.breaches),
            first=[
                AuditBreach(invariant=each.invariant, subject=each.subject, detail=each.detail)
                for each in report.breaches[:SHOWN]
            ],
        )
        async with self._database.write() as tx:
            await audit_trail.note(
                tx, actor="server", action=RESULT, subject="ok" if result.ok else "breached",
                detail=result.model_dump_json(),
            )  # fmt: skip


async def ask_for_audit(tx: Tx, clock: Clock) -> bool:
    """False when one is due or under way already."""
    if await overview.job_waits(tx, KIND):
        return False
    now = clock.utc()
    return await jobs.add(tx, f"{KIND}:{now.isoformat()}", KIND, json.dumps({}), now)
