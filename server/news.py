"""What happens in live calls, for whoever listens: publish, listen, close. In memory only.

Each call keeps its latest items in one ring; a listener has a place in it and no queue of
its own, so listeners cost nothing and cannot hold anything up. One that falls behind the
ring loses the oldest items and is told how many. Nothing here knows HTTP or the database.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "turn", "cost", "warning", "ended"]

RING = 512
"""Items kept of one call."""

CLOSED_BYTES = 2 * 1024 * 1024
"""Memory for items of calls that ended, for readers who come back for the last of them: some twenty calls of two
minutes. Of a call that is forgotten here its rows still tell."""

ITEM_BYTES = 120
"""An item without its data, and its place in a ring."""

LISTENED = 4096
"""Calls that may be listened to before anything was published of them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that happened. Ids rise by one within a call; `missed` items before it were dropped."""

    id: int
    kind: Kind
    data: Mapping[str, object]
    missed: int = 0


@dataclass(slots=True)
class _Topic:
    ring: deque[Item]
    last: int = 0
    mirrored: bool = False
    complete: bool = False
    """All that another node had of this call when it was asked is here."""
    closed: bool = False
    bytes: int = 0
    """Of its items, once it is closed."""
    waiting: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Listening:
    """The items of one call from a point on; ends when the call is closed and all were read.

    `__anext__` may be cancelled (by a timeout) and called again: nothing is lost by it.
    """

    def __init__(self, topic: _Topic, after: int, *, ahead: bool = False) -> None:
        self._topic = topic
        self._seen = after if 0 <= after <= topic.last or ahead else 0

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> Item:
        while True:
            item = self._next()
            if item is not None:
                return item
            if self._topic.closed:
                raise StopAsyncIteration
            self._topic.waiting += 1
            try:
                await self._topic.changed.wait()
            finally:
                self._topic.waiting -= 1

    @property
    def seen(self) -> int:
        """The id of the last item that was read."""
        return self._seen

    @property
    def ended(self) -> bool:
        """The call is closed and everything was read."""
        return self._topic.closed and self._seen >= self._topic.last

    def ready(self, most: int) -> list[Item]:
        """Up to so many items that wait to be read, without waiting."""
        found: list[Item] = []
        while len(found) < most and (item := self._next()) is not None:
            found.append(item)
        return found

    def _next(self) -> Item | None:
        ring = self._topic.ring
        if self._seen > self._topic.last and self._topic.complete:
            self._seen = 0  # whoever counts now never came so far
        if self._seen >= self._topic.last:
            return None
        oldest = ring[0].id
        missed = max(0, oldest - self._seen - 1)
        item = ring[self._seen + missed + 1 - oldest]
        self._seen = item.id
        return Item(item.id, item.kind, item.data, missed) if missed else item


class News:
    """The calls of this process, and those of others that somebody here listens to. Not thread-safe: used from the
    event loop only."""

    def __init__(
        self, *, ring: int = RING, closed_bytes: int = CLOSED_BYTES, listened: int = LISTENED
    ) -> None:
        self._ring = ring
        self._keep_closed = closed_bytes
        self._closed_bytes = 0
        self._keep_listened = listened
        self._live: dict[str, _Topic] = {}
        self._silent: OrderedDict[str, _Topic] = OrderedDict()
        self._closed: OrderedDict[str, _Topic] = OrderedDict()

    def publish(self, call_id: str, kind: Kind, data: Mapping[str, object]) -> None:
        """Tell all listeners; `data` must be JSON and must not be changed afterwards."""
        if call_id in self._closed:
            return
        topic = self._opened(call_id)
        topic.mirrored = False
        topic.last += 1
        topic.ring.append(Item(topic.last, kind, data))
        topic.wake()

    def mirror(self, call_id: str, item: Item) -> bool:
        """Tell listeners here what happened in a call on another node, under the id that it has there.

        One that is known already is passed over. False when items before it are missing: it is not kept then,
        unless it says itself that they are gone.
        """
        if call_id in self._closed:
            return True
        topic = self._opened(call_id)
        topic.mirrored = True
        if item.id <= topic.last:
            return True
        if item.id > topic.last + 1:
            if item.missed < item.id - topic.last - 1:
                return False
            topic.ring.clear()  # ids in a ring have no gaps
        topic.last = item.id
        topic.ring.append(Item(item.id, item.kind, item.data))
        topic.wake()
        return True

    def completed(self, call_id: str) -> None:
        """All that another node has of this call is mirrored here by now."""
        topic = self._live.get(call_id) or self._silent.get(call_id)
        if topic is not None:
            topic.complete = True
            topic.wake()

    def last(self, call_id: str) -> int:
        """The id of the latest item of this call; 0 before the first."""
        topic = self._live.get(call_id) or self._closed.get(call_id)
        return 0 if topic is None else topic.last

    def has_own(self, call_id: str) -> bool:
        """Whether what is kept of this call was published here, not on another node."""
        topic = self._live.get(call_id) or self._closed.get(call_id)
        return topic is not None and not topic.mirrored

    def drop_mirror(self, call_id: str) -> None:
        """Nobody here listens to this call of another node any more."""
        topic = self._live.get(call_id)
        if topic is not None and topic.mirrored:
            del self._live[call_id]

    def close(self, call_id: str) -> None:
        """The call is over: listeners end once they have read what is left. Closing twice is no error."""
        if call_id in self._closed:
            return
        topic = self._live.pop(call_id, None) or self._silent.pop(call_id, None) or self._new()
        topic.closed = True
        topic.wake()
        topic.bytes = ITEM_BYTES + sum(_bytes(item) for item in topic.ring)
        self._closed[call_id] = topic
        self._closed_bytes += topic.bytes
        while self._closed_bytes > self._keep_closed:
            _, oldest = self._closed.popitem(last=False)
            self._closed_bytes -= oldest.bytes

    def listen(self, call_id: str, after: int = 0, *, ahead: bool = False) -> Listening:
        """Items with an id above `after`, then whatever comes. An `after` not yet reached means from the start.

        With `ahead` the call is another node's, and only when all it has is here is it known what was reached.
        """
        topic = self._live.get(call_id) or self._closed.get(call_id) or self._silent.get(call_id)
        if topic is None:
            topic = self._silent[call_id] = self._new()
            if len(self._silent) > self._keep_listened:
                # Ends the longest waiting one's stream instead of leaving it open for ever.
                _, oldest = self._silent.popitem(last=False)
                oldest.closed = True
                oldest.wake()
        return Listening(topic, after, ahead=ahead)

    def listeners(self, call_id: str) -> int:
        """How many have read everything of this call and wait for more."""
        topic = self._live.get(call_id) or self._silent.get(call_id)
        return 0 if topic is None else topic.waiting

    def knows(self, call_id: str) -> bool:
        """Whether anything of this call is kept here."""
        return call_id in self._live or call_id in self._closed

    def _opened(self, call_id: str) -> _Topic:
        topic = self._live.get(call_id)
        if topic is None:
            topic = self._silent.pop(call_id, None) or self._new()
            self._live[call_id] = topic
        return topic

    def _new(self) -> _Topic:
        return _Topic(deque(maxlen=self._ring))


def _bytes(item: Item) -> int:
    """About what it takes in memory; values inside of values are not looked at."""
    return ITEM_BYTES + sys.getsizeof(item.data) + sum(map(sys.getsizeof, item.data.values()))
