"""Live events of a call on another node: asked for while somebody here listens, sent while somebody elsewhere does.

The ids are those of the node that conducts the call. What it publishes goes out in batches, a few
a second for all calls that one node follows together; nobody listening means nothing is sent.
Whoever follows asks again and again and says how far it got, so a batch that was lost is sent
again, and a conductor that is gone is noticed in the call's row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from pipeline.clock import Clock
from server.calls.endings import ending, spent
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.news import Item, Listening, News
from server.nodes.bus import Bus, Word
from storage import calls, ledger
from storage.db import Database, DatabaseDown
from storage.records import CallRow, CostLine

RENEW_S = 5.0
"""How often whoever follows a call says so."""
LEASE_S = 15.0
"""How long that holds."""
BATCH_S = 0.25
"""Between two batches to the same node."""
UNDER_WAY_S = 1.0
"""How long a batch may take; a follower that does not have it by then never got it."""
BATCH_CHARS = 6_000
"""Of one word: it fits in a notification."""
BATCH_ITEMS = 100
"""Of one call in one batch; the rest goes with the next."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """A call on another node that is listened to here. Its ids there plus `base` are those here."""

    task: asyncio.Task[None]
    readers: int = 0
    source: str = ""
    base: int = 0


class Following:
    """What is listened to here and happens elsewhere."""

    def __init__(self, database: Database, bus: Bus, news: News, tasks: asyncio.TaskGroup) -> None:
        self._database = database
        self._bus = bus
        self._news = news
        self._tasks = tasks
        self._followed: dict[str, _Followed] = {}

    @contextmanager
    def follow(self, call: CallRow) -> Iterator[None]:
        """While the block runs, `News` here has what happens in the call."""
        followed = self._followed.get(call.id)
        if followed is None:
            followed = self._followed[call.id] = _Followed(self._tasks.create_task(self._keep(call.id)))
        followed.readers += 1
        try:
            yield
        finally:
            followed.readers -= 1
            if followed.readers == 0:
                del self._followed[call.id]
                followed.task.cancel()
                self._news.drop_mirror(call.id)

    def abandon(self) -> None:
        """This node stops: nothing is asked for any more."""
        for followed in self._followed.values():
            followed.task.cancel()

    async def _keep(self, call_id: str) -> None:
        """Runs until nobody listens any more, and is cancelled then."""
        try:
            await self._ask_again(call_id)
        except Exception as error:  # edge: of this call's listeners, who still hear of its end from its row
            SURPRISES.labels("following").inc()
            log.error("surprise", call=call_id, **whereabouts(error))

    async def _ask_again(self, call_id: str) -> None:
        """Ask the conductor, as the row names it, again and again, until the call is settled."""
        settled = False
        while True:
            try:
                async with self._database.read() as tx:
                    row = await calls.get(tx, call_id)
                    bought = (
                        [] if row is None or row.final_at is None else await ledger.cost_lines(tx, call_id)
                    )
                if row is None or (settled and row.final_at is not None):
                    self._end(call_id, row, bought)
                    return
                settled = row.final_at is not None  # its conductor has one period to tell the end itself
                await self._ask(call_id, row.owner)
            except DatabaseDown as error:
                log.warning("following_waits", call=call_id, retryable=error.retryable)
            await asyncio.sleep(RENEW_S)

    def _end(self, call_id: str, row: CallRow | None, bought: Sequence[CostLine]) -> None:
        """The conductor did not tell, or its telling got lost."""
        if row is not None and self._news.knows(call_id):
            self._news.publish(call_id, "cost", spent(row, bought))
            self._news.publish(call_id, "ended", ending(row))
            self._news.close(call_id)

    async def _ask(self, call_id: str, owner: str) -> None:
        followed = self._followed.get(call_id)
        if followed is None or owner == self._bus.node:
            return
        after = self._news.last(call_id) - followed.base if followed.source == owner else 0
        await self._bus.tell(Word("follow", call_id, {"after": after}), to=owner)

    def heard(self, word: Word) -> None:
        """A batch: `items` are `[call, id, kind, data, missed]`, `current` and `closed` are `[call, last id]`."""
        behind = {
            call_id
            for call_id, ident, kind, data, missed in word.data.get("items", ())
            if not self._mirror(word.sender, call_id, Item(ident, kind, data, missed))
        }
        for listed, act in (("current", self._news.completed), ("closed", self._news.close)):
            for call_id, last in word.data.get(listed, ()):
                followed = self._from(word.sender, call_id)
                if followed is None:
                    continue
                if self._news.last(call_id) < followed.base + last:
                    behind.add(call_id)
                else:
                    act(call_id)
        for call_id in behind:
            log.info("following_fell_behind", call=call_id)
            self._tasks.create_task(self._ask(call_id, word.sender))

    def _mirror(self, sender: str, call_id: str, item: Item) -> bool:
        followed = self._from(sender, call_id)
        if followed is None:
            return True
        return self._news.mirror(call_id, Item(followed.base + item.id, item.kind, item.data, item.missed))

    def _from(self, sender: str, call_id: str) -> _Followed | None:
        """The call, if it is followed. A new conductor begins to count anew; ids here go on rising."""
        followed = self._followed.get(call_id)
        if followed is not None and followed.source != sender:
            followed.source, followed.base = sender, self._news.last(call_id)
        return followed


@dataclass(slots=True)
class _Lease:
    listening: Listening
    until: float
    current: bool = False
    """All there was has been sent once."""
    sent: float = 0.0
    before: int = 0
    """When the latest batch went out, and how far those before it came."""

    def lost(self, after: int, now: float) -> bool:
        """Whether a follower that has come so far misses something that is not merely under way."""
        return after < (self.before if now - self.sent < UNDER_WAY_S else self.listening.seen)


class Forwarding:
    """What happens here and is listened to elsewhere. `run` is a task of the node."""

    def __init__(self, bus: Bus, news: News, clock: Clock) -> None:
        self._bus = bus
        self._news = news
        self._clock = clock
        self._leases: dict[str, dict[str, _Lease]] = {}
        self._asked = asyncio.Event()

    def heard(self, word: Word) -> None:
        """Another node follows a call of ours, from the item after `after` on."""
        after = word.data.get("after", 0)
        if not self._news.has_own(word.about) or not isinstance(after, int):
            return
        now = self._clock.seconds()
        of_node = self._leases.setdefault(word.sender, {})
        lease = of_node.get(word.about)
        if lease is None or lease.lost(after, now):
            lease = of_node[word.about] = _Lease(self._news.listen(word.about, after), now, before=after)
        lease.until = now + LEASE_S
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            await self.once()
            if not self._leases:
                self._asked.clear()
            await asyncio.sleep(BATCH_S)

    async def once(self) -> None:
        """One batch to each node that follows anything here."""
        now = self._clock.seconds()
        for node, leases in list(self._leases.items()):
            items: list[list[object]] = []
            current: list[list[object]] = []
            closed: list[list[object]] = []
            for call_id, lease in list(leases.items()):
                before, found = lease.listening.seen, lease.listening.ready(BATCH_ITEMS)
                if found:
                    lease.sent, lease.before = now, before
                items += [[call_id, item.id, item.kind, item.data, item.missed] for item in found]
                if not lease.current and len(found) < BATCH_ITEMS:
                    lease.current = True
                    current.append([call_id, lease.listening.seen])
                if lease.listening.ended:
                    closed.append([call_id, lease.listening.seen])
                if lease.listening.ended or lease.until < now:
                    del leases[call_id]
            if not leases:
                del self._leases[node]
            for data in _words(items, current, closed):
                await self._bus.tell(Word("news", "", data), to=node)


def _words(
    items: list[list[object]], current: list[list[object]], closed: list[list[object]]
) -> Iterator[Mapping[str, Any]]:
    """Batches that fit in a notification each, as far as single items do. What is complete is told with the last."""
    batch: list[list[object]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item, ensure_ascii=False).encode())
        if batch and size + length > BATCH_CHARS:
            yield {"items": batch}
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch or current or closed:
        yield {"items": batch, "current": current, "closed": closed}
