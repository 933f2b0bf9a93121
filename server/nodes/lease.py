"""Whether this node may still act for its calls: its lease, its pulse, and what is asked after a gap.

Every two seconds the lease in `nodes` is renewed; who does not renew it for ten may have its calls taken over.
A process that was frozen does not know that it was, so it feels its own pulse: where more than a second passed
between two beats, by the monotonic clock or by the one that also counts a machine's sleep, the time of its calls
stands still at the gap's beginning and nothing is bought. Where the lease may have run out meanwhile the database
is asked whose the calls are, and in any case the carrier whether they go on. Only then the time goes on.

A database that does not answer makes no gap: a call then lives on in the money set aside for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from pipeline.carriers.base import Carrier
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from pipeline.core.money import Millis
from server.metrics import GAPS
from storage import calls, nodes
from storage.db import Database, DatabaseDown
from storage.nodes import LEASE_S, NodeLock

log = structlog.get_logger()

RENEW_S = 2.0
BEAT_S = 0.25
GAP_S = 1.0
"""So long between two beats is a gap; shorter ones are a busy machine."""
ASK_AGAIN_S = 1.0
ASKED_AT_A_TIME = 16
"""Calls the carrier is asked about at the same time."""


class Conducted(Protocol):
    """A call of this node, as far as a gap concerns it."""

    @property
    def call_id(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def sid(self) -> str | None: ...

    def fence(self) -> None:
        """It is somebody else's now."""

    def carrier_done(self, status: str, seconds: int) -> None: ...


class Lease:
    """One node's. `run` is a task of the server, and with it the only one that moves the pulse."""

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        clock: Clock,
        lock: NodeLock,
        conducted: Callable[[], Collection[Conducted]],
        health: Callable[[], str] = str,
    ) -> None:
        self._database = database
        self._carrier = carrier
        self._clock = clock
        self._lock = lock
        self._conducted = conducted
        self._health = health
        self._beat = clock.seconds()
        self._awake = clock.boot_seconds()
        self._valid_until = self._awake + LEASE_S
        self._steady = asyncio.Event()
        self._steady.set()

    # -- for calls -------------------------------------------------------------------------

    def counted(self, now: Millis) -> Millis:
        return Millis(min(now, round((self._beat + GAP_S) * 1000)))

    async def steady(self) -> None:
        if self._gap() > GAP_S:
            self._steady.clear()  # whoever runs first after a gap notices it
        await self._steady.wait()

    # -- for the server --------------------------------------------------------------------

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_always())
            while True:
                await asyncio.sleep(BEAT_S)
                if (gap := self._gap()) > GAP_S or not self._steady.is_set():
                    await self._account_for(gap)
                self._feel()

    def _feel(self) -> None:
        self._beat, self._awake = self._clock.seconds(), self._clock.boot_seconds()
        self._steady.set()

    def _gap(self) -> float:
        return max(self._clock.seconds() - self._beat, self._clock.boot_seconds() - self._awake)

    async def _renew_always(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self.renew()
            except DatabaseDown as error:
                log.warning("lease_not_renewed", retryable=error.retryable)

    async def renew(self) -> None:
        """Raises `DatabaseDown`. The lease counts from before it was asked for."""
        asked = self._clock.boot_seconds()
        await self._lock.take()
        async with self._database.write() as tx:
            await nodes.renew(tx, self._lock.node, self._health())
        self._valid_until = asked + LEASE_S

    async def _account_for(self, gap: float) -> None:
        """Find out what happened to our calls while this process did not run."""
        self._steady.clear()
        GAPS.inc()
        log.warning("process_stood_still", seconds=round(gap, 1), calls=len(self._conducted()))
        if self._clock.boot_seconds() >= self._valid_until:
            await self._ask_whose()
        asking = asyncio.Semaphore(ASKED_AT_A_TIME)
        async with asyncio.TaskGroup() as tasks:
            for conducted in self._conducted():
                if conducted.sid is not None:
                    tasks.create_task(self._ask_carrier(conducted, conducted.sid, asking))

    async def _ask_whose(self) -> None:
        """However long that takes: without an answer they may be somebody else's."""
        while True:
            mine = {conducted.call_id: conducted for conducted in self._conducted()}
            try:
                async with self._database.read() as tx:
                    epochs = await calls.epochs(tx, mine)
                await self.renew()
            except DatabaseDown as error:
                log.error("calls_owner_unknown", calls=len(mine), retryable=error.retryable)
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            for call_id, conducted in mine.items():
                if epochs.get(call_id) != conducted.epoch:
                    log.warning("call_taken_over", call=call_id)
                    conducted.fence()
            return

    async def _ask_carrier(self, conducted: Conducted, sid: str, asking: asyncio.Semaphore) -> None:
        """A carrier that cannot say, or not yet how long it took, is believed when it does: its own count settles the
        call."""
        try:
            async with asking:
                leg = await self._carrier.fetch(sid)
        except CarrierError as error:
            log.warning("carrier_not_asked", call=conducted.call_id, code=error.code)
            return
        if leg.complete:
            conducted.carrier_done(leg.status, leg.counted)
