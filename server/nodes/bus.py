"""Words from node to node: one seam, in this process or over PostgreSQL's LISTEN and NOTIFY.

A word that matters only tells where to look; what it is about is in the database, so a word
that is lost delays and loses nothing. Whoever hears is told when words may have been lost.
Nothing is decided here about what a word means.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog

from pipeline.clock import Clock
from server.errors import whereabouts
from server.metrics import BUS_WORDS, SURPRISES
from storage import notices
from storage.db import Database, DatabaseDown
from storage.notices import Notices

Kind = Literal["mail", "opt_out", "drain", "follow", "news"]

CHECK_S = 5.0
"""Between two looks whether the listening connection lives."""
AGAIN_S = 1.0
"""After a connection that was lost or could not be had."""
UNREAD = 10_000
"""Notifications that may wait; more are dropped, and whoever hears is told to look."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `about` names what it concerns: a call, a node. `data` is JSON. `sender` is the node that said it."""

    kind: Kind
    about: str
    data: Mapping[str, Any] = field(default_factory=dict)
    sender: str = ""


class Hearer(Protocol):
    """Whoever listens on a node. Neither waits nor raises."""

    def heard(self, word: Word) -> None: ...

    def catch_up(self) -> None:
        """Words may have been lost, or this is the start: look in the database."""


class Bus(Protocol):
    """How this node reaches the others."""

    @property
    def node(self) -> str: ...

    async def tell(self, word: Word, to: str | None = None) -> None:
        """Say something to one node, or to all, oneself included. Best effort: a database that is down loses it."""

    async def run(self, hearer: Hearer) -> None:
        """Listen until cancelled. Words of one sender come in the order in which they were told."""


class Wire:
    """What nodes in one process hang on."""

    def __init__(self) -> None:
        self.hearers: dict[str, Hearer] = {}


class LocalBus:
    """Of a node that is alone, or in tests of several in one process."""

    def __init__(self, node: str, wire: Wire | None = None) -> None:
        self.node = node
        self._wire = wire or Wire()

    async def tell(self, word: Word, to: str | None = None) -> None:
        said = Word(word.kind, word.about, word.data, self.node)
        BUS_WORDS.labels(word.kind, "out").inc()
        for node, hearer in list(self._wire.hearers.items()):
            if to in {None, node}:
                # Not at once: whoever tells is never called back from within.
                asyncio.get_running_loop().call_soon(_hear, hearer, said)

    async def run(self, hearer: Hearer) -> None:
        self._wire.hearers[self.node] = hearer
        hearer.catch_up()
        try:
            await asyncio.Event().wait()
        finally:
            del self._wire.hearers[self.node]


class PostgresBus:
    """Over one PostgreSQL: a channel for each node and one for all, heard on one connection."""

    def __init__(self, node: str, database: Database, clock: Clock) -> None:
        self.node = node
        self._database = database
        self._clock = clock
        self._unread: asyncio.Queue[str] = asyncio.Queue(UNREAD)
        self._lost = asyncio.Event()
        self._overrun = False

    async def tell(self, word: Word, to: str | None = None) -> None:
        body = json.dumps(
            {"kind": word.kind, "about": word.about, "data": word.data, "sender": self.node},
            separators=(",", ":"), ensure_ascii=False,
        )  # fmt: skip
        try:
            async with self._database.write() as tx:
                if len(body.encode()) > notices.MAX_BYTES:
                    body = json.dumps({"parcel": await notices.post_parcel(tx, body, self._clock.utc())})
                await notices.notify(tx, _channel(to), body)
        except DatabaseDown as error:
            log.warning("bus_word_lost", kind=word.kind, retryable=error.retryable)
        else:
            BUS_WORDS.labels(word.kind, "out").inc()

    async def run(self, hearer: Hearer) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(hearer))
            while True:
                try:
                    await self._listen(hearer)
                except DatabaseDown as error:
                    log.warning("bus_not_listening", retryable=error.retryable)
                except Exception as error:  # edge: of one connection; the next one may do
                    SURPRISES.labels("bus").inc()
                    log.error("surprise", **whereabouts(error))
                await asyncio.sleep(AGAIN_S)

    async def _listen(self, hearer: Hearer) -> None:
        """Until the connection is lost."""
        self._lost.clear()
        listening = Notices(self._database, (_channel(None), _channel(self.node)), self._came, self._lost.set)
        try:
            await listening.open()
            # Only now: what is told from here on is heard, what was told before is looked up.
            hearer.catch_up()
            while not self._lost.is_set():
                try:
                    async with asyncio.timeout(CHECK_S):
                        await self._lost.wait()
                except TimeoutError:
                    await listening.check()
            log.warning("bus_connection_lost")
        finally:
            await listening.close()

    def _came(self, text: str) -> None:
        try:
            self._unread.put_nowait(text)
        except asyncio.QueueFull:
            self._overrun = True

    async def _read(self, hearer: Hearer) -> None:
        while True:
            text = await self._unread.get()
            try:
                word = await self._opened(text)
            except DatabaseDown as error:
                log.warning("bus_parcel_lost", retryable=error.retryable)
                word = None
            if word is not None:
                _hear(hearer, word)
            if word is None or (self._overrun and self._unread.empty()):
                self._overrun = False
                hearer.catch_up()

    async def _opened(self, text: str) -> Word | None:
        """The word of a notification; None for one that cannot be read, whoever sent it."""
        try:
            found = json.loads(text)
            if "parcel" in found:
                async with self._database.read() as tx:
                    body = await notices.parcel(tx, found["parcel"])
                if body is None:
                    return None
                found = json.loads(body)
            return Word(found["kind"], found["about"], found["data"], found["sender"])
        except (ValueError, KeyError, TypeError):
            log.warning("bus_word_unreadable")
            return None


def _hear(hearer: Hearer, word: Word) -> None:
    BUS_WORDS.labels(word.kind, "in").inc()
    hearer.heard(word)


def _channel(node: str | None) -> str:
    return "callmeback" if node is None else f"callmeback_{node}"
