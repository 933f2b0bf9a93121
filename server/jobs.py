"""Carries out the background work of the `jobs` table: one claimed job at a time, by the handler of its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from pipeline.clock import Clock
from server.errors import whereabouts
from server.metrics import SURPRISES
from storage import jobs
from storage.db import Database, DatabaseDown

log = structlog.get_logger()

Handler = Callable[[Mapping[str, Any]], Awaitable[datetime | None]]
"""What is to be done with a payload; when to do it again, None when it is done. Doing it twice does no harm."""

EVERY_S = 5.0
AT_ONCE = 16
AGAIN = timedelta(minutes=1)
"""After a handler failed."""
ATTEMPTS = 10
"""After so many a job that fails is given up."""


class Jobs:
    """Handlers are given before `run`, which is a task of the server."""

    def __init__(self, database: Database, clock: Clock, node: str, handlers: Mapping[str, Handler]) -> None:
        self._database = database
        self._clock = clock
        self._node = node
        self._handlers = handlers

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.once()
            except DatabaseDown as error:
                log.warning("jobs_not_looked_for", retryable=error.retryable)

    async def once(self) -> int:
        """Do what is due; how many that were. Raises `DatabaseDown`."""
        async with self._database.write() as tx:
            claimed = await jobs.claim(tx, self._handlers, self._node, self._clock.utc(), AT_ONCE)
        for job in claimed:
            again = await self._do(job)
            async with self._database.write() as tx:
                await jobs.put_back(tx, job, self._node, again)
        return len(claimed)

    async def _do(self, job: jobs.Job) -> datetime | None:
        try:
            return await self._handlers[job.kind](job.payload)
        except DatabaseDown:
            return self._clock.utc() + AGAIN
        except Exception as error:  # edge: of one job; the others are done all the same
            SURPRISES.labels("jobs").inc()
            log.error(
                "job_failed", job=job.id, job_kind=job.kind, attempts=job.attempts, **whereabouts(error)
            )
            return None if job.attempts >= ATTEMPTS else self._clock.utc() + AGAIN
