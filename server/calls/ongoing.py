"""One call this process is on, from the dial to its closed ledger. Nothing it raises reaches another call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from pipeline.core.errors import CarrierError
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from pipeline.runner import LiveCall
from server.calls.endings import ending
from server.calls.outside import Outside
from server.metrics import CALLS_ENDED, SURPRISES
from server.money.flush import Account, Flush
from server.news import News
from storage import calls
from storage.db import Database, DatabaseDown
from storage.records import OVER, STATUS_RANK, CallRow, Fenced, Grant

log = structlog.get_logger()

AGAIN_S = 0.5
"""Between two tries to read what became of the call."""


@dataclass(slots=True)
class Ongoing:
    """The machine, the leg and the account of one call. `run` is its task."""

    row: CallRow
    live: LiveCall
    outside: Outside
    account: Account
    flush: Flush
    database: Database
    news: News

    @property
    def call_id(self) -> str:
        return self.row.id

    @property
    def epoch(self) -> int:
        return self.row.epoch

    @property
    def sid(self) -> str | None:
        """The carrier's name of the leg; None for a call in a browser, which no carrier knows."""
        return None if self.row.channel == "browser" else self.outside.sid

    def carrier_done(self, status: str, seconds: int) -> None:
        self.live.carrier_done(status, seconds)

    async def run(self, ring: Coroutine[Any, Any, None] | None) -> None:
        """Live through the call while `ring` dials it, then settle. Cancelled, it leaves the ledger open.

        A call that goes on here after another process is not dialled again.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                if ring is not None:
                    tasks.create_task(ring)
                await self.live.run()
        except* Exception:  # edge: a fault of ours ends this call and no other
            SURPRISES.labels("call").inc()
            log.exception("call_failed", call=self.row.id)
        try:
            if self.outside.ended is None:
                await self._rescue()
            await self._close_books()
        except Exception:  # edge: of one call; the ledger stays open and is settled at the next start
            SURPRISES.labels("settlement").inc()
            log.exception("call_not_settled", call=self.row.id)
        finally:
            self.news.close(self.row.id)
            await asyncio.to_thread(self._close_journal)

    async def _rescue(self) -> None:
        """The machine itself failed: end the leg and settle with what was charged."""
        self.outside.broken(self.account.total)
        self.outside.no_leg()
        try:
            await self.outside.hang_up()
        except CarrierError as error:
            log.error("rescue_failed", call=self.row.id, error=error.detail)

    async def _close_books(self) -> None:
        """Settle what the call cost, however long the database makes us wait, then tell whoever listens."""
        ended = self.outside.ended
        if ended is None:
            return
        CALLS_ENDED.labels(str(ended.reason or "unanswered")).inc()
        try:
            final = await self.flush.settle(self.account, ended)
            log.info("call_settled", call=self.row.id, total_nano=final.total, operator_nano=final.operator)
        except Fenced:
            log.warning("call_settled_elsewhere", call=self.row.id)
        row = await self._as_settled()
        if row is not None and STATUS_RANK[row.status] == OVER:  # else it goes on elsewhere
            self.news.publish(row.id, "status", {"status": row.status})
            self.news.publish(row.id, "ended", ending(row))

    async def _as_settled(self) -> CallRow | None:
        """The row, however long that takes too: whoever listens waits for the end."""
        while True:
            try:
                async with self.database.read() as tx:
                    return await calls.get(tx, self.row.id)
            except DatabaseDown as error:
                log.warning("end_not_told_yet", call=self.row.id, retryable=error.retryable)
            await asyncio.sleep(AGAIN_S)

    def fence(self) -> None:
        """Another process took the call over: being fenced means hanging up, as far as it is still ours to."""
        self.outside.fenced()
        self.flush.forget(self.account)
        self.live.ask_hang_up(EndReason.SERVER_LOST)

    def granted(self, grant: Grant) -> None:
        """So much is held now; the margin is not the call's to spend."""
        margin = self.account.margin
        self.live.allowed(
            Nanos(grant.held - margin), Nanos(grant.reach - margin), grant.binds, grant.warn_used
        )

    def disk_lost(self, error: OSError) -> None:
        self.live.journal_lost(error)

    def _close_journal(self) -> None:
        try:
            self.account.journal.close()
        except OSError as error:
            log.error("journal_not_closed", call=self.row.id, error=error.strerror)
