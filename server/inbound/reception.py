"""Somebody rings: answered or not, asked for a PIN, and put through as a user or as a stranger.

The menu is the carrier's (`<Gather>`), before there is a media socket: so no digit of a PIN reaches the sound, the
journal or the core. What it came to is kept with the carrier's name of the call, since each step may land on another
node. The call itself begins when the menu is over, on the node that is told so; its time and its minutes count from
the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from pipeline.core.money import parse_usd
from server.calls.answers import new_token
from server.calls.files import open_files
from server.desk import Desk
from server.inbound import call_back, keyed, replies
from server.inbound.door import BUSY, FULL, Door
from server.inbound.partners import stranger_order, user_order
from server.inbound.pins import Pins
from server.inbound.replies import Asked, Connected, Dismissed, Reply, Turned
from server.inbound.senders import caller
from server.metrics import INBOUND
from server.money.admission import Admissions
from server.parts import Rung
from server.settings import Settings
from storage import calls, inbound, ledger, personas, strangers, users
from storage.db import Database
from storage.inbound import Ring
from storage.records import User

log = structlog.get_logger(__name__)

WORDS = {
    "insufficient_credit": replies.NO_MONEY,
    "budget_exhausted": replies.NO_MONEY,
    "call_in_progress": replies.TOO_MANY,
}
"""Why a user is not put through, where it is worth saying."""


class _Gone(Exception):
    """The same call is past the menu already."""


class Reception:
    def __init__(
        self, *, settings: Settings, database: Database, clock: Clock, desk: Desk, admissions: Admissions,
        pins: Pins,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._database = database
        self._clock = clock
        self._desk = desk
        self._admissions = admissions
        self._pins = pins
        self._door = Door(settings, admissions, desk)
        self.answered: Callable[[str, str], Awaitable[str | None]] = desk.answered
        """A token for a call that began already, on whichever node."""

    async def rung(self, sid: str, sender: str) -> Reply:
        """The carrier asks what to do with a call. Asked again it answers the same."""
        number, now = caller(sender), self._clock.utc()
        async with self._database.write() as tx:
            ring = await inbound.find(tx, sid)
            if ring is None:
                user = None if number is None else await users.by_number(tx, number)
                why = await self._door.closed(tx, number, user, now)
                if why not in {None, FULL}:
                    return _turned(why)
                ring = await inbound.begin(tx, sid, number, None if user is None else user.id, now)
            else:
                why = self._door.full()
        if ring.stage != "menu":
            return await self._once_more(ring)
        return replies.welcome(self._settings, full=why == FULL)

    async def keyed(self, sid: str, sender: str, digits: str) -> Reply:
        """What the caller of the menu keyed in, or nothing in time."""
        number, given = caller(sender), keyed.read(digits)
        async with self._database.read() as tx:
            ring = await inbound.find(tx, sid)
        if ring is None:
            return Dismissed(replies.LOST)
        if ring.stage != "menu":
            return await self._once_more(ring)
        rung, user = Rung(ring.call_id, sid, ring.at, number), None
        try:
            user = None if given is None else await self._pins.owner(sid, number, given)
            if user is not None and given is not None and given.call_back:
                return await self._ring_back(rung, user)
            if user is None and given is not None and await self._pins.again(sid):
                return Asked(replies.WRONG)
            return await self._put_through(rung, user)
        except Refused as refused:
            if user is not None and refused.code == "overloaded":
                return Asked(replies.FULL)
            return await self._dismiss(sid, refused.code, known=user is not None)
        except _Gone:
            return await self._once_more(ring)

    async def _put_through(self, rung: Rung, user: User | None) -> Reply:
        """The call begins. Raises `Refused`, and nothing has happened then."""
        with self._desk.deciding(), ExitStack() as opened:
            async with self._database.write() as tx:
                self._desk.check_room()
                now = self._clock.utc()
                if user is None:
                    daily = parse_usd(self._settings.inbound_daily_usd)
                    # Strangers queue here, so that each is counted before the next is asked about.
                    payer = await strangers.provide(tx, daily, rung.call_id, now)
                    why = await self._door.closed_to_strangers(tx, rung.e164, now, rung.sid)
                    if why is not None:
                        raise Refused(why, "no stranger is put through")
                    order = await stranger_order(tx, self._settings, rung)
                else:
                    # Before the row of who rings: whoever deletes the account takes both in this order.
                    await ledger.lock_account(tx, user.id)
                    payer = user
                    order = await user_order(tx, user, self._settings.inbound_max_minutes, now, rung)
                if not await inbound.move(tx, rung.sid, "stranger" if user is None else "known"):
                    raise _Gone
                admitted = await self._admissions.admit(tx, payer, order, None)
                await calls.advance(tx, rung.call_id, "in-progress", at=rung.at, sid=rung.sid)
                if user is not None:
                    await personas.met(tx, user.id, order.persona_id, now)
                token = await new_token(tx, rung.call_id, rung.sid, now)
                row = replace(admitted.row, status="in-progress", answered_at=rung.at, sid=rung.sid)
                files = open_files(self._settings, self._clock, row, opened)
            opened.pop_all()
            self._desk.begin(replace(admitted, row=row), files)
        INBOUND.labels("stranger" if user is None else "known").inc()
        log.info("call_came_in", call=rung.call_id, known=user is not None)
        return Connected(rung.call_id, token)

    async def _ring_back(self, rung: Rung, user: User) -> Reply:
        async with self._database.write() as tx:
            if not await inbound.move(tx, rung.sid, "call_back"):
                raise _Gone
            await call_back.plan(tx, rung.sid, user.id, self._clock.utc())
        INBOUND.labels("call_back").inc()
        return Dismissed(replies.RUNG_BACK)

    async def _dismiss(self, sid: str, code: str, *, known: bool) -> Reply:
        async with self._database.write() as tx:
            await inbound.move(tx, sid, "left")
        INBOUND.labels("dismissed").inc()
        log.info("caller_dismissed", code=code, known=known)
        if known:
            return Dismissed(WORDS.get(code, replies.NOT_NOW))
        return Dismissed(replies.NO_STRANGERS if code == "users_only" else replies.NOT_NOW)

    async def _once_more(self, ring: Ring) -> Reply:
        """The carrier's question came twice: the answer to the first may not have reached it."""
        if ring.stage == "call_back":
            return Dismissed(replies.RUNG_BACK)
        token = await self.answered(ring.call_id, ring.sid)
        return Dismissed(replies.LOST) if token is None else Connected(ring.call_id, token)


def _turned(why: str) -> Turned:
    INBOUND.labels(why).inc()
    log.info("caller_turned_away", why=why)
    return Turned(busy=why == BUSY)
