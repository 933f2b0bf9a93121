"""What reaches this node from the others: words are taken to whom they concern, and what was left is looked for.

A word is only a reason to look now. Without any, the mailbox of the calls conducted here, the
list of those who want no calls, and this node's own row are read once a second, so a lost
word delays by that much. Another node's word may end calls here; it may never begin one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import structlog

from pipeline.clock import Clock
from pipeline.core.terms import EndReason
from server.desk import Desk
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.news import News
from server.nodes.bus import Word
from server.nodes.following import Following, Forwarding
from storage import addresses, mailbox, opt_outs
from storage.db import Database, DatabaseDown
from storage.records import CallMessage

LOOK_S = 1.0
PURGE_EVERY = 600
"""Looks between two purges of messages that nobody took."""
KEPT = timedelta(minutes=10)

log = structlog.get_logger(__name__)


class Switchboard:
    """`heard` and `catch_up` are called by the bus; `run` is a task of the node."""

    def __init__(
        self, *, node: str, desk: Desk, database: Database, clock: Clock, news: News,
        following: Following, forwarding: Forwarding, stop: Callable[[], None],
    ) -> None:  # fmt: skip
        self._node = node
        self._desk = desk
        self._database = database
        self._clock = clock
        self._news = news
        self._following = following
        self._forwarding = forwarding
        self._stop = stop
        self._look_now = asyncio.Event()
        self._looks = 0

    def heard(self, word: Word) -> None:
        try:
            match word.kind:
                case "news":
                    self._following.heard(word)
                case "follow":
                    self._forwarding.heard(word)
                case _:  # mail, opt_out, drain: what it is about is in the database
                    self._look_now.set()
        except (AttributeError, LookupError, TypeError, ValueError):
            log.warning("bus_word_unreadable", kind=word.kind)

    def catch_up(self) -> None:
        self._look_now.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            try:
                await self.look()
            except DatabaseDown as error:
                log.warning("mailbox_not_read", retryable=error.retryable)
            except Exception as error:  # edge: of one look; the next one finds the rest
                SURPRISES.labels("switchboard").inc()
                log.error("surprise", **whereabouts(error))

    async def look(self) -> None:
        """Read what others left, and act on it. Raises `DatabaseDown`."""
        ongoing = dict(self._desk.ongoing())
        # Whoever rang us is talking of their own will, opted out or not.
        rung = [one for one in ongoing.values() if one.row.direction == "outbound"]
        numbers = {one.row.phone_e164 for one in rung if one.row.phone_e164 is not None}
        async with self._database.read() as tx:
            waits = bool(ongoing) and await mailbox.waits(tx, ongoing)
            unwanted = await opt_outs.among(tx, numbers) if numbers else set[str]()
            draining = await addresses.is_draining(tx, self._node)
        for one in rung:
            if one.row.phone_e164 in unwanted and not one.live.over:
                one.live.ask_hang_up(EndReason.OPTED_OUT, politely=True)
        if waits:
            async with self._database.write() as tx:
                messages = await mailbox.take(tx, ongoing)
            for message in messages:
                try:
                    await self._deliver(message)
                except DatabaseDown as error:  # how far a call has come; its end is never noted this way
                    log.warning("message_not_noted", kind=message.kind, retryable=error.retryable)
        if draining:
            self._stop()
        await self._purge()

    async def _purge(self) -> None:
        self._looks += 1
        if self._looks % PURGE_EVERY == 0:
            async with self._database.write() as tx:
                await mailbox.purge(tx, self._clock.utc() - KEPT)

    async def _deliver(self, message: CallMessage) -> None:
        """What another node heard of this call happens here, as if it had been heard here."""
        ongoing = self._desk.ongoing().get(message.call_id)
        if ongoing is None:
            return
        said = json.loads(message.payload)
        try:
            match message.kind:
                case "answered" if ongoing.outside.owns(said["sid"]):
                    ongoing.outside.leg(said["sid"])
                    ongoing.live.answered()
                    if said["moved"]:
                        self._news.publish(message.call_id, "status", {"status": "in-progress"})
                case "status":
                    sid, status = said["sid"], said["status"]
                    await self._desk.status(sid, message.call_id, status, said["seconds"], said["sequence"])
                case "machine":
                    await self._desk.machine(said["sid"], said["answered_by"])
                case "broken" if said["owner"] == self._node and ongoing.outside.sid == said["sid"]:
                    ongoing.live.broken()  # here it may not have been noticed yet
                case "broken":  # was for the node that had the call before
                    pass
                case "hang_up":
                    ongoing.live.ask_hang_up(EndReason.USER_HUNG_UP)
                case _:
                    log.warning("message_unknown", kind=message.kind)
        except (KeyError, TypeError):
            log.warning("message_unreadable", kind=message.kind)
