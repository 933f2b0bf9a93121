"""Runs background work that is neither money nor dialling: due jobs, a few at a time, each under a lease.

A handler gets the job's payload and returns None when the work is done, or the moment (UTC) at which it is to run
again. One that raises is tried again, later each time, and after `ATTEMPTS` tries left dead for somebody to look at.
A worker that dies loses its lease, so a handler may run twice for one job and has to bear that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from pipeline.clock import Clock
from server.errors import whereabouts
from server.metrics import JOBS, JOBS_RUN, SURPRISES
from storage import jobs
from storage.db import Database, DatabaseDown
from storage.jobs import Job

log = structlog.get_logger()

Handler = Callable[[dict[str, Any]], Awaitable[datetime | None]]

POLL_S = 2.0
LEASE_S = 120
PATIENCE_S = 90.0
"""How long one run may take: less than the lease, so that nobody else has the job meanwhile."""
AT_ONCE = 4
ATTEMPTS = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 3600


def pause(attempts: int) -> timedelta:
    """How long to wait after so many failures."""
    return timedelta(seconds=min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 3 ** (min(attempts, ATTEMPTS) - 1)))


class Jobs:
    """One for each node. Only kinds that have a handler here are taken, and only while `taking` says so."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        node: str,
        handlers: Mapping[str, Handler],
        taking: Callable[[], bool],
        lasting: Collection[str] = (),
    ) -> None:
        """`lasting`: kinds that come round again and again. They are tried again however often they fail."""
        self._database = database
        self._clock = clock
        self._node = node
        self._handlers = handlers
        self._taking = taking
        self._lasting = frozenset(lasting)
        self._running = 0

    async def run(self) -> None:
        """Until cancelled; what is then under way is cancelled too, and taken again once its lease is over."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self.look(tasks)
                except DatabaseDown as error:
                    log.warning("jobs_not_looked_at", retryable=error.retryable)
                except Exception as error:  # edge: of one look; the next one finds the rest
                    SURPRISES.labels("jobs").inc()
                    log.error("surprise", **whereabouts(error))
                await asyncio.sleep(POLL_S)

    async def look(self, tasks: asyncio.TaskGroup) -> None:
        """Takes what is due, as far as there is room for it, and runs it in `tasks`."""
        for job in await self._claim():
            self._running += 1
            tasks.create_task(self._one(job))

    async def _claim(self) -> list[Job]:
        async with self._database.read() as tx:
            counts = await jobs.counts(tx)
        for kind in {*self._handlers, *(kind for kind, _ in counts)}:
            waiting = counts.get((kind, "pending"), 0) + counts.get((kind, "claimed"), 0)
            JOBS.labels(kind, "waiting").set(waiting)
            for state in ("failing", "dead"):
                JOBS.labels(kind, state).set(counts.get((kind, state), 0))
        free = AT_ONCE - self._running
        if not counts or free <= 0 or not self._taking():
            return []
        async with self._database.write() as tx:
            return await jobs.claim(
                tx, node=self._node, kinds=list(self._handlers), now=self._clock.utc(), lease_s=LEASE_S, limit=free
            )  # fmt: skip

    async def _one(self, job: Job) -> None:
        try:
            await self._settle(job, await self._tried(job))
        except DatabaseDown as error:
            log.warning("job_not_noted", job=job.id, retryable=error.retryable)
        except Exception as error:  # edge: of one job; its lease runs out, and it is taken again
            SURPRISES.labels("jobs").inc()
            log.error("surprise", job=job.id, **whereabouts(error))
        finally:
            self._running -= 1

    async def _tried(self, job: Job) -> datetime | str | None:
        """When to run again, None when done, or in words what went wrong."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._handlers[job.kind](json.loads(job.payload))
        except Exception as error:  # edge: of one job, counted with its outcome
            log.error("job_failed", job=job.id, attempt=job.attempts, **whereabouts(error))
            return type(error).__name__

    async def _settle(self, job: Job, outcome: datetime | str | None) -> None:
        now = self._clock.utc()
        async with self._database.write() as tx:
            if isinstance(outcome, str):
                last = job.attempts >= ATTEMPTS and job.kind not in self._lasting
                due_at = None if last else now + pause(job.attempts)
                await jobs.failed(tx, job, self._node, outcome, due_at)
                told = "dead" if last else "failed"
            elif outcome is None:
                await jobs.done(tx, job, self._node, now)
                told = "done"
            else:
                await jobs.again(tx, job, self._node, outcome)
                told = "done"
        JOBS_RUN.labels(job.kind, told).inc()
