"""A closed call held against the carrier's own record, a minute, ten minutes and an hour after it closed.

The carrier's seconds settle its minutes, whenever they come: the call is adjusted, visibly. Its price covers the
connection alone and comes later still; where it differs from ours by more than a hundredth the operator is told, for
then the price list is wrong. The user is never charged for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from pipeline.carriers.base import OVER, Carrier, Leg
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from server.metrics import CALLS_ADJUSTED, PRICES_DIFFER, UNRECONCILED
from storage import audit_trail, calls, jobs, ledger
from storage.db import Database, Tx
from storage.records import CallRow

log = structlog.get_logger()

KIND = "reconcile"
STEPS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
"""After the call's books were closed; behind the last one it is left as it is."""
TOLERATED_PERCENT = 1


async def schedule(tx: Tx, call_id: str, now: datetime) -> None:
    """With the closing of a call's books."""
    await jobs.add(tx, f"{KIND}:{call_id}", KIND, json.dumps({"call": call_id}), now + STEPS[0])


class Reconciliation:
    """The handler of `KIND`."""

    def __init__(self, database: Database, carrier: Carrier, clock: Clock) -> None:
        self._database = database
        self._carrier = carrier
        self._clock = clock

    async def __call__(self, payload: Mapping[str, Any]) -> datetime | None:
        async with self._database.read() as tx:
            row = await calls.get(tx, str(payload["call"]))
        if row is None or row.sid is None or row.final_at is None or row.channel == "browser":
            return None  # no carrier has a record of it
        try:
            leg = await self._carrier.fetch(row.sid)
        except CarrierError as error:
            log.warning("carrier_record_not_had", call=row.id, code=error.code)
            return self._later(row)
        if leg.seconds is None or leg.status not in OVER:  # what is known stands until it says
            return self._later(row)
        if leg.seconds != (row.carrier_seconds or 0):
            await self._adjust(row, leg.seconds)
        if leg.price_nano is None and leg.seconds:
            return self._later(row)
        await self._compare(row, leg)
        return None

    def _later(self, row: CallRow) -> datetime | None:
        if row.final_at is None:
            return None
        now = self._clock.utc()
        due = next((row.final_at + step for step in STEPS if row.final_at + step > now), None)
        if due is None:
            UNRECONCILED.inc()
            log.warning("call_not_reconciled", call=row.id)
        return due

    async def _adjust(self, row: CallRow, seconds: int) -> None:
        now = self._clock.utc()
        async with self._database.write() as tx:
            changed = await ledger.adjust(tx, call_id=row.id, carrier_seconds=seconds, now=now)
            if changed is None:  # within the minute that was bought
                return
            detail = f"{row.carrier_seconds} s -> {seconds} s, {row.total_nano} -> {changed.total} nano"
            await audit_trail.note(tx, actor="reconciliation", action="adjust", subject=row.id, detail=detail)
        CALLS_ADJUSTED.inc()
        log.warning("call_adjusted", call=row.id, seconds=seconds, total_nano=changed.total)

    async def _compare(self, row: CallRow, leg: Leg) -> None:
        if leg.price_nano is None:
            return
        async with self._database.write() as tx:
            lines = await ledger.cost_lines(tx, row.id)
            ours = sum(line.amount_nano for line in lines if line.service == "carrier")
            if abs(leg.price_nano - ours) * 100 <= TOLERATED_PERCENT * ours:
                return
            detail = f"carrier {leg.price_nano} nano, ours {ours} nano"
            await audit_trail.note(tx, actor="reconciliation", action="price", subject=row.id, detail=detail)
        PRICES_DIFFER.inc()
        log.error("carrier_price_differs", call=row.id, carrier_nano=leg.price_nano, ours_nano=ours)
