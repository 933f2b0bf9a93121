"""Calls in a browser: a leg that no carrier carries. Who is on the line and for how long is known here alone.

To the call it is a phone that is picked up when the page's socket has shown its ticket and put
down when the page says so. A socket that is gone without a word may be followed by another, as
after a reload: the page that comes last is the phone. Seconds count from the first sound's way in to its end, and
nothing of them is a carrier's to charge.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.carriers.base import Leg
from pipeline.clock import Clock
from pipeline.core.errors import BadStream, CarrierError, Refused
from pipeline.ports import Line, Talking
from server.auth import Session
from server.calls.answers import hash_of
from server.calls.ongoing import Ongoing
from server.errors import not_found
from server.news import News
from storage import calls, personas, stream_tokens
from storage.db import Database
from storage.records import OVER, STATUS_RANK, CallRow, StreamToken

PREFIX = "browser:"
TICKET_LIFE = timedelta(seconds=30)

Report = Callable[[str, int], None]
"""Told the last status of a call and its whole seconds."""


def sid_of(call_id: str) -> str:
    """What stands where a carrier's id of the call would."""
    return f"{PREFIX}{call_id}"


@dataclass(slots=True)
class _Leg:
    report: Report
    since: float | None = None
    over: Leg | None = None


class BrowserLegs:
    """The browser calls of this process, as `server/calls/outside.py` ends and counts them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._legs: dict[str, _Leg] = {}

    def expect(self, call_id: str, report: Report) -> str:
        """A page will come for this call; the leg's id."""
        sid = sid_of(call_id)
        self._legs[sid] = _Leg(report)
        return sid

    def picked_up(self, sid: str) -> bool:
        """The page is on the line. A second time changes nothing and answers False."""
        leg = self._known(sid)
        if leg.since is not None:
            return False
        leg.since = self._clock.seconds()
        return True

    def forget(self, sid: str) -> None:
        self._legs.pop(sid, None)

    async def hang_up(self, sid: str) -> None:
        """The call is over: its seconds are told. One that is over already stays so."""
        leg = self._known(sid)
        if leg.over is None:
            leg.over = self._ended(sid, leg)
            leg.report(leg.over.status, leg.over.counted)

    async def fetch(self, sid: str) -> Leg:
        leg = self._known(sid)
        return leg.over or Leg(sid, "ringing" if leg.since is None else "in-progress", 0)

    def _ended(self, sid: str, leg: _Leg) -> Leg:
        if leg.since is None:
            return Leg(sid, "canceled", 0)
        return Leg(sid, "completed", -int(-(self._clock.seconds() - leg.since) // 1))

    def _known(self, sid: str) -> _Leg:
        leg = self._legs.get(sid)
        if leg is None:
            raise CarrierError("no browser is on this call")
        return leg


@dataclass(frozen=True, slots=True)
class Ticket:
    """Lets one socket onto one call, once, until `expires_at`."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Joined:
    """A page that is on its call, and the session it has to keep."""

    live: Talking
    ticket: StreamToken


Elsewhere = Callable[[CallRow, StreamToken, Line], Awaitable[Talking]]
"""Connects a page here with its call on another node. Raises `BadStream`."""


async def _nowhere(row: CallRow, _ticket: StreamToken, _line: Line) -> Talking:
    raise BadStream("the call is not conducted here")


class BrowserCalls:
    """The way onto a browser call. `find` knows the calls this process is on, `elsewhere` the way to all others."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        news: News,
        legs: BrowserLegs,
        find: Callable[[str], Ongoing | None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._legs = legs
        self._find = find
        self.elsewhere: Elsewhere = _nowhere

    async def ticket(self, session: Session, call_id: str) -> Ticket:
        """A ticket for a browser call of the user's that waits for its page. Raises `Refused`."""
        text = secrets.token_urlsafe(32)
        expires_at = self._clock.utc() + TICKET_LIFE
        async with self._database.write() as tx:
            row = await calls.get_for(tx, session.user.id, call_id)
            if row is None:
                raise not_found()
            if row.channel != "browser" or STATUS_RANK[row.status] == OVER:
                raise Refused(
                    "invalid_request", "This call is over, or rings a telephone and no browser.", status=409
                )
            sid, kept = sid_of(call_id), hash_of(text)
            jti, version = session.claims.jti, session.claims.token_version
            await stream_tokens.add(
                tx, kept, call_id, sid, expires_at, session_jti=jti, session_version=version
            )
        return Ticket(text, expires_at)

    async def join(self, ticket: str, line: Line) -> Joined:
        """Put the page on its call. Raises `BadStream` unless the ticket is fresh, unspent and of a call under way."""
        now, kept = self._clock.utc(), hash_of(ticket)
        async with self._database.read() as tx:  # who merely guesses does not queue for the writer
            if await stream_tokens.find(tx, kept) is None:
                raise BadStream("no such ticket")
        async with self._database.write() as tx:
            spent = await stream_tokens.spend(tx, kept, now)
            row = None if spent is None else await calls.get(tx, spent.call_id)
            if spent is None or row is None or spent.call_sid != sid_of(row.id):
                raise BadStream("no such ticket")
            ongoing = self._find(row.id)
            if STATUS_RANK[row.status] == OVER or (ongoing is not None and ongoing.live.over):
                raise BadStream("the call is over")
            if await calls.advance(tx, row.id, "in-progress", at=now, sid=spent.call_sid):
                await personas.met(tx, row.user_id, row.persona_id, now)
        if ongoing is None:
            return Joined(await self.elsewhere(row, spent, line), spent)
        self.pick_up(ongoing, line)
        return Joined(ongoing.live, spent)

    def pick_up(self, ongoing: Ongoing, line: Line) -> None:
        """A page whose right to it was proved is this call's phone from now on. Raises `BadStream` when it is over."""
        sid = sid_of(ongoing.row.id)
        first = self._legs.picked_up(sid)
        ongoing.outside.leg(sid)
        ongoing.live.answered()
        ongoing.live.broken()  # of a page that was there before it may not have been noticed yet
        ongoing.live.attach(line)
        if first:
            self._news.publish(ongoing.row.id, "status", {"status": "in-progress"})

    async def may_stay(self, ticket: StreamToken) -> bool:
        """Whether the session that fetched the ticket still holds."""
        async with self._database.read() as tx:
            return await stream_tokens.session_holds(tx, ticket)
