"""Finds the calls nobody conducts any more, at start and again and again, and has them taken over.

Such a call belonged to a process that is gone or frozen, as its lease tells, or was placed by a COMMIT whose answer
got lost. A call whose callee is still there is usually not found here: the carrier asks what to do with it long
before the lease runs out (`resuming.py`). One call's trouble stays its own: a call that cannot be settled stays open,
the next one is looked at, and it is tried again after a while.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import CarrierError, JournalError
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.recovery.takeover import Takeovers
from storage import calls, nodes
from storage.db import Database, DatabaseDown
from storage.nodes import KEPT_S, LEASE_S
from storage.records import CallRow, Fenced

log = structlog.get_logger()

EVERY_S = 2.0
"""Between two looks, give or take a quarter, so that nodes do not look at the same moment."""
OWN_S = 30.0
"""A call of this very node that it is not on is settled when it has been so for this long: one that was just placed or
has just ended looks the same."""
AWAY_S = 5.0
"""Looks farther apart than this: the database was away, or this process was. Others may have been without it too."""
AT_A_TIME = 16
"""Calls that are settled at the same time. One whose carrier does not answer takes ten seconds to fail."""
LEFT_S, LEFT_MOST_S = 30.0, 900.0
"""How long one that could not be settled is left alone before the next try: at first, and at most. It doubles."""


@dataclass(frozen=True, slots=True)
class _Left:
    """A call that could not be settled: not looked at before `due`, and `pause_s` after that if it fails again."""

    due: float
    pause_s: float


class Orphans:
    """The calls without a conductor, as this node finds them."""

    def __init__(
        self, database: Database, clock: Clock, takeovers: Takeovers, lease_s: float = LEASE_S
    ) -> None:
        """`lease_s`: how old a sign of life may be. The carrier must have asked how to go on before that."""
        self._database = database
        self._clock = clock
        self._takeovers = takeovers
        self._lease_s = lease_s
        self._node = takeovers.node
        self._looked: float | None = None
        self._believed_from = 0.0
        self._seen: dict[str, float] = {}
        self._begun: set[str] = set()
        self._left: dict[str, _Left] = {}
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._under_way: set[str] = set()

    async def settle_all(self) -> int:
        """When this node has no calls yet: settle what dead nodes left; how many that was.

        For a carrier that went with the node that is gone: no lease is waited for. Of processes that are there but let
        their lease run out the looks judge, in their time.
        """
        async with self._database.read() as tx:
            rows = await calls.live(tx)
            others = {row.owner for row in rows} - {self._node}
            dead = {owner for owner in others if not await nodes.is_alive(tx, owner)}
        async with asyncio.TaskGroup() as tasks:
            settling = self._settle([row for row in rows if row.owner in {*dead, self._node}], tasks)
        return sum(task.result() for task in settling)

    async def run(self, conducts: Callable[[str], bool]) -> None:
        """Look at once, and again and again. `conducts` knows the calls this node is on."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self.look(conducts, tasks)
                except DatabaseDown as error:
                    log.warning("orphans_not_looked_for", retryable=error.retryable)
                await asyncio.sleep(EVERY_S * random.uniform(0.75, 1.25))  # no secret

    async def look(
        self, conducts: Callable[[str], bool], tasks: asyncio.TaskGroup
    ) -> list[asyncio.Task[bool]]:
        """Settle what dead nodes left, and what this node has had and not been on for a while.

        Each in a task of its own, so that the next look waits for none of them; whether it was settled is its result.
        """
        now, under_way = self._clock.seconds(), frozenset(self._under_way)
        async with self._database.read() as tx:
            live = await calls.live(tx)
            self._left = {row.id: self._left[row.id] for row in live if row.id in self._left}
            rows = [row for row in live if row.id not in self._left or now >= self._left[row.id].due]
            dead = await nodes.expired(tx, {row.owner for row in rows} - {self._node}, self._believed())
        # Also one of another node's: the machine that lost it still writes to its journal here.
        rows = [row for row in rows if not conducts(row.id)]
        own = [row.id for row in rows if row.owner == self._node]
        self._seen = {call_id: self._seen.get(call_id, now) for call_id in own}
        mine = {call_id for call_id, since in self._seen.items() if now - since >= OWN_S} | self._begun
        # One that was under way when its row was read may be settled by now.
        rows = [row for row in rows if row.id not in under_way]
        found = [row for row in rows if row.owner in dead or (row.owner == self._node and row.id in mine)]
        return self._settle(found, tasks)

    def _believed(self) -> float:
        """How old a sign of life may be, once the database has answered.

        A database that comes back finds every lease run out, and whoever asks first would end the calls of all others.
        So after a while without it each has the time of a lease to be heard again; who gave theirs back is gone.
        Whoever has just started cannot tell whether it was away.
        """
        now, before = self._clock.seconds(), self._looked
        self._looked = now
        if before is None or now - before > AWAY_S:
            self._believed_from = now + self._lease_s
            log.log(
                logging.INFO if before is None else logging.WARNING,
                "leases_not_judged",
                seconds=self._lease_s,
            )
        return self._lease_s if now >= self._believed_from else KEPT_S

    def _settle(self, orphans: list[CallRow], tasks: asyncio.TaskGroup) -> list[asyncio.Task[bool]]:
        """Side by side, for each waits for the carrier, and none for another."""
        self._under_way |= {row.id for row in orphans}
        return [tasks.create_task(self._settle_one(row)) for row in orphans]

    async def _settle_one(self, row: CallRow) -> bool:
        try:
            async with self._places:
                # One of which the carrier has not said yet that it is over is ours since an earlier look.
                ours = row.id in self._begun and row.owner == self._node
                claimed = row if ours else await self._takeovers.claim(row)
                if claimed is not None:
                    self._begun.add(row.id)
                    await self._takeovers.settle(claimed)
                self._begun.discard(row.id)
                return claimed is not None
        except Fenced:  # the carrier asked, and it goes on
            self._begun.discard(row.id)
            log.info("orphan_goes_on", call=row.id)
        except DatabaseDown as error:  # the next look finds it again
            log.warning("orphan_waits", call=row.id, retryable=error.retryable)
        except CarrierError:  # its leg may go on; so does the next look
            log.warning("orphan_waits_for_carrier", call=row.id)
        except Exception as error:  # edge: of one call; it stays open, and is tried again after a while
            self._leave(row)
            SURPRISES.labels("recovery").inc()
            detail = str(error) if isinstance(error, JournalError) else None
            log.error("orphan_left_open", call=row.id, detail=detail, **whereabouts(error))
        finally:
            self._under_way.discard(row.id)
        return False

    def _leave(self, row: CallRow) -> None:
        """What is wrong with it may pass, as with a file that cannot be read just now, or be mended by somebody."""
        before = self._left.get(row.id)
        pause_s = LEFT_S if before is None else before.pause_s
        self._left[row.id] = _Left(self._clock.seconds() + pause_s, min(2 * pause_s, LEFT_MOST_S))
