"""The calls of all nodes, for the routes of this one: a request may land anywhere, the call is conducted in one place.

A call of this node goes straight to its desk. For one of another, what the request says is left
in that node's mailbox and rung for; its media socket is relayed. A call whose node is gone is
nobody's here: recovery settles it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import BadStream, Refused
from pipeline.ports import Line
from pipeline.runner import LiveCall
from server.browser import BrowserCalls
from server.calls.answers import goes_on, hash_of, new_token, take_answer
from server.desk import Desk
from server.inbound.reception import Reception
from server.nodes.bus import Bus, Word
from server.nodes.following import Following
from server.nodes.passes import Passes
from server.nodes.relay import RelayedCall, Relays
from server.parts import PlaceCall
from server.samples import Samples
from storage import addresses, calls, mailbox, opt_outs, stream_tokens
from storage.db import Database, DatabaseDown, Tx
from storage.records import CallRow, StreamToken, User

log = structlog.get_logger(__name__)

TAKEN_S = 3.0
"""How long another node has to take a message before it counts as gone; it looks once a second."""
LOOK_S = 0.1


class Anywhere:
    """Has the methods of `server/desk.py` that routes use, for any call."""

    def __init__(
        self, *, desk: Desk, bus: Bus, database: Database, clock: Clock, passes: Passes, relays: Relays,
        following: Following, reception: Reception,
    ) -> None:  # fmt: skip
        self.passes = passes
        self._reception = reception
        reception.answered = self.answered
        self._desk = desk
        self._bus = bus
        self._database = database
        self._clock = clock
        self._relays = relays
        self._following = following
        desk.browser.elsewhere = self._relay_page

    # -- for users ---------------------------------------------------------------------

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        return await self._desk.place(user, order, idem)

    async def hang_up(self, user_id: str, call_id: str) -> CallRow:
        """End a call of the user's. One that is over stays as it is.

        One that nobody has just now, or that is being taken over, is ended by whoever goes on with it.
        """
        if call_id in self._desk.ongoing():
            return await self._desk.hang_up(user_id, call_id)
        async with self._database.write() as tx:
            row = await calls.get_for(tx, user_id, call_id)
            if row is None:
                raise Refused("not_found", "There is no such call.", status=404)
            if row.final_at is None:
                await mailbox.put_once(tx, row.id, "hang_up", "{}", self._clock.utc())
        if row.final_at is None:
            await self._ring(row.id, row.owner or None)
        return row

    async def opt_out(self, e164: str, how: str) -> None:
        """Nobody rings this number from now on, on any node; a call to it ends."""
        async with self._database.write() as tx:
            await opt_outs.add(tx, e164, how, self._clock.utc())
        await self._bus.tell(Word("opt_out", ""))

    @property
    def browser(self) -> BrowserCalls:
        return self._desk.browser

    @property
    def samples(self) -> Samples:
        return self._desk.samples

    @property
    def reception(self) -> Reception:
        return self._reception

    @contextmanager
    def follow(self, call: CallRow) -> Iterator[bool]:
        """While the block runs, this node's news have what happens in the call. Yields whether that is elsewhere."""
        if self._desk.conducts(call.id) or call.final_at is not None:
            yield False
        else:
            with self._following.follow(call):
                yield True

    # -- for the carrier -----------------------------------------------------------------

    async def answered(self, call_id: str, sid: str) -> str | None:
        """The callee picked up: a fresh token for the media socket, or None when nobody is to take the call."""
        if self._desk.conducts(call_id):
            return await self._desk.answered(call_id, sid)
        async with self._database.write(urgent=True) as tx:
            row = await calls.get(tx, call_id)
            if row is None or await self._other(tx, row) is None:
                return None
            answer = await take_answer(tx, call_id, sid, self._clock.utc())
            if answer is None:
                return None
            owner = await self._leave(tx, row, "answered", {"sid": sid, "moved": answer.moved})
        await self._ring(call_id, owner)
        return answer.token

    async def resumed(self, call_id: str, sid: str) -> str | None:
        """The media socket is gone and the callee is not: a token for another one, or None to hang up.

        A node that is alive goes on with its call; of one that is gone this one takes it over.
        """
        if not self._desk.conducts(call_id) and await self._told_of_the_break(call_id, sid):
            async with self._database.write(urgent=True) as tx:
                return await new_token(tx, call_id, sid, self._clock.utc())
        return await self._desk.resumed(call_id, sid)

    async def _told_of_the_break(self, call_id: str, sid: str) -> bool:
        """Whether another node conducts the call and knows now that its line is gone."""
        async with self._database.write() as tx:
            row = await calls.get(tx, call_id)
            if row is None or row.sid != sid or row.answered_at is None or not goes_on(row):
                return False
            owner = await self._leave(tx, row, "broken", {"sid": sid, "owner": row.owner})
        if owner is None:
            return False
        await self._ring(call_id, owner)
        due = self._clock.seconds() + TAKEN_S
        while self._clock.seconds() < due:
            await asyncio.sleep(LOOK_S)
            async with self._database.read() as tx:
                if not await mailbox.waits(tx, [call_id]):
                    return True
        return False

    async def attach(self, token: str, call_sid: str, line: Line) -> LiveCall | RelayedCall:
        """Spend a stream token. Raises `BadStream` unless it is a call's whose node can be reached."""
        async with self._database.read() as tx:
            known = await stream_tokens.find(tx, hash_of(token))
        if known is None:  # who merely guesses does not queue for the writer
            raise BadStream("no such stream token")
        if self._desk.conducts(known.call_id):
            return await self._desk.attach(token, call_sid, line)
        async with self._database.write() as tx:
            spent = await stream_tokens.spend(tx, hash_of(token), self._clock.utc())
            row = await calls.get(tx, known.call_id)
            url = None if row is None else await self._other(tx, row)
        if spent is None or spent.call_sid != call_sid or row is None:
            raise BadStream("no such stream token")
        return await self._relay(url, row, spent, line)

    async def _relay_page(self, row: CallRow, ticket: StreamToken, line: Line) -> RelayedCall:
        """A page whose socket is here talks to a call on another node. Raises `BadStream`."""
        async with self._database.read() as tx:
            url = await self._other(tx, row)
        return await self._relay(url, row, ticket, line)

    async def _relay(self, url: str | None, row: CallRow, spent: StreamToken, line: Line) -> RelayedCall:
        if url is None:
            raise BadStream("the node of the call is gone")
        return await self._relays.open(url, row.owner, row.id, spent.token_hash, line)

    async def status(self, sid: str, call_id: str, status: str, seconds: int | None, sequence: int) -> None:
        """A status callback, as `Desk.status` takes it."""
        said = {"sid": sid, "status": status, "seconds": seconds, "sequence": sequence}
        if not await self._passed_on(call_id, sid, "status", said):
            await self._desk.status(sid, call_id, status, seconds, sequence)

    async def machine(self, sid: str, answered_by: str) -> None:
        if not await self._passed_on("", sid, "machine", {"sid": sid, "answered_by": answered_by}):
            await self._desk.machine(sid, answered_by)

    async def _passed_on(self, call_id: str, sid: str, kind: str, said: Mapping[str, object]) -> bool:
        """Whether the call is another node's, which then has the message."""
        here = self._desk.ongoing()
        if call_id in here or any(ongoing.outside.sid == sid for ongoing in here.values()):
            return False
        async with self._database.write() as tx:
            row = await calls.get(tx, call_id) if call_id else await calls.by_sid(tx, sid)
            owner = None if row is None else await self._leave(tx, row, kind, said)
        if row is None or owner is None:
            return False
        await self._ring(row.id, owner)
        return True

    # -- for other nodes -----------------------------------------------------------------

    def join(self, call_id: str, line: Line) -> LiveCall:
        """A relayed line for a call of this desk. Raises `BadStream`."""
        return self._desk.join(call_id, line)

    async def _other(self, tx: Tx, row: CallRow) -> str | None:
        """Where the other node that conducts the call is reached; None when none does."""
        if row.final_at is not None or row.owner in {"", self._bus.node}:
            return None
        return await addresses.url_of(tx, row.owner)

    async def _leave(self, tx: Tx, row: CallRow, kind: str, said: Mapping[str, object]) -> str | None:
        """Put a message in the mailbox of the call's node; which one that is, None when there is none."""
        if await self._other(tx, row) is None:
            return None
        await mailbox.put(tx, row.id, kind, json.dumps(said), self._clock.utc())
        return row.owner

    async def _ring(self, call_id: str, owner: str | None) -> None:
        if owner is not None:
            await self._bus.tell(Word("mail", call_id), to=owner)

    # -- stopping ------------------------------------------------------------------------

    @property
    def live_calls(self) -> int:
        """Calls that need this node: those it conducts and those whose sound it relays."""
        return self._desk.live_calls + len(self._relays)

    async def drain(self, patience_s: float) -> None:
        """Take no new calls; return when nothing here is needed any more. Raises `TimeoutError`."""
        try:
            async with self._database.write() as tx:
                await addresses.drain(tx, self._bus.node)
        except DatabaseDown as error:  # the others find out by asking
            log.warning("drain_not_noted", retryable=error.retryable)
        while True:  # a socket may still come in while the last of the desk's calls ends
            await asyncio.gather(self._desk.drain(patience_s), self._relays.drain(patience_s))
            if not self.live_calls:
                return

    def hurry(self) -> None:
        """Whoever drains waits no longer: goodbye now."""
        self._desk.hurry()
        self._relays.hurry()
