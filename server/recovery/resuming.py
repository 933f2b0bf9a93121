"""The carrier asks how to go on with a call whose media socket is gone: who may connect it again, and when.

A call that this process is on takes another socket. One of a process that is gone is taken over; whether it is gone
is told by its lease, or at once by its session lock. Where neither says so the answer waits a little, as long as the
carrier does: a machine that vanished leaves its lock for a while. Everything else is hung up: a call that is over, one
that was never answered, one that lives elsewhere.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import structlog

from pipeline.clock import Clock
from server.calls.answers import goes_on
from server.calls.files import Files
from server.money.admission import Admitted
from server.recovery.takeover import Takeovers
from storage import calls, nodes
from storage.db import Database
from storage.records import CallRow

log = structlog.get_logger()

PATIENCE_S = 11.0
"""Longest wait for the owner's lease to run out; the carrier waits 15 s for an answer."""
ASK_AGAIN_S = 0.5


class Resuming:
    def __init__(self, database: Database, clock: Clock, takeovers: Takeovers) -> None:
        self._database = database
        self._clock = clock
        self._takeovers = takeovers
        self._busy: set[str] = set()

    def taking(self, call_id: str) -> bool:
        """Whether the call is just being taken over here."""
        return call_id in self._busy

    async def take(self, call_id: str, sid: str, opened: ExitStack) -> tuple[Admitted, Files] | None:
        """The call of a process that is gone, to go on with here, and its new files, which `opened` closes.

        None to hang up. Raises `DatabaseDown`.
        """
        if call_id in self._busy:  # the carrier asks twice
            return None
        self._busy.add(call_id)
        try:
            row = await self._orphan(call_id, sid)
            claimed = None if row is None else await self._takeovers.claim(row)
            return None if claimed is None else await self._takeovers.resume(claimed, opened)
        finally:
            self._busy.discard(call_id)

    async def _orphan(self, call_id: str, sid: str) -> CallRow | None:
        """The call, once nobody has it."""
        due = self._clock.seconds() + PATIENCE_S
        while True:
            async with self._database.read() as tx:
                row = await calls.get(tx, call_id)
                if row is None or row.sid != sid or row.answered_at is None or row.final_at is not None:
                    return None
                if not goes_on(row):
                    return None
                gone = row.owner == self._takeovers.node or not await nodes.is_alive(tx, row.owner)
                if gone or await nodes.expired(tx, [row.owner]):
                    return row
            if self._clock.seconds() >= due:
                log.warning("call_lives_elsewhere", call=call_id)
                return None
            await asyncio.sleep(ASK_AGAIN_S)
