"""A user who rang would rather be rung: dialled like any order of theirs, on their credit, with the guard's leave.

A background job, so that it outlives the node that heard of it. Its idempotency key is the call it came from, so it
rings once however often it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from pipeline.core.guard import Purpose
from server.inbound.partners import user_order
from server.metrics import INBOUND
from server.parts import PlaceCall
from storage import jobs, users
from storage.db import Database, Tx
from storage.records import CallRow, User

log = structlog.get_logger(__name__)

KIND = "call_back"
SOON = timedelta(seconds=5)
"""After they were told so: by then they have hung up."""
PATIENCE = timedelta(minutes=10)
"""Later than that nobody waits for the phone to ring any more."""
AGAIN = timedelta(seconds=15)
PASSES = frozenset({"overloaded", "rate_limited", "call_in_progress"})
"""Refusals that a little waiting may help against."""


class Placing(Protocol):
    """What is needed of the desk. Raises `Refused`; then nothing was dialled."""

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow: ...


async def plan(tx: Tx, sid: str, user_id: str, now: datetime) -> None:
    payload = json.dumps({"user": user_id, "sid": sid, "asked": now.isoformat()})
    await jobs.add(tx, f"{KIND}:{sid}", KIND, payload, now + SOON)


class CallBack:
    """The handler of `KIND`."""

    def __init__(self, database: Database, clock: Clock, desk: Placing) -> None:
        self._database = database
        self._clock = clock
        self._desk = desk

    async def __call__(self, payload: Mapping[str, Any]) -> datetime | None:
        now, asked = self._clock.utc(), datetime.fromisoformat(payload["asked"])
        async with self._database.read() as tx:
            user = await users.by_id(tx, payload["user"])
            if user is None:
                return None
            order = await user_order(tx, user, None, now, None)
        order = PlaceCall(
            order.persona_id, order.scenario_id, order.context, None, "phone", purpose=Purpose.CALL_BACK
        )
        # A blank, which no client's own Idempotency-Key may contain.
        key = f"{KIND} {payload['sid']}"
        try:
            await self._desk.place(user, order, (key, hashlib.sha256(key.encode()).hexdigest()))
        except Refused as refused:
            again = now + max(AGAIN, timedelta(seconds=refused.retry_after or 0))
            if refused.code in PASSES and again - asked <= PATIENCE:
                return again
            INBOUND.labels("call_back_refused").inc()
            log.warning("call_back_refused", user=user.id, code=refused.code)
            await self._note(user, refused.code, now)
        else:
            await self._note(user, "", None)
        return None

    async def _note(self, user: User, missed: str, at: datetime | None) -> None:
        """They were told that their phone rings: why it does not, they find in their account."""
        async with self._database.write() as tx:
            await users.note_call_back(tx, user.id, missed, at)
