"""A call whose process is gone, taken over: resumed where its callee is still there, settled otherwise.

It is claimed first, by its epoch, so that whoever still had it may write nothing more and two that find it do not both
have it. What its journal on this machine knows and the ledger does not is written before anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import structlog

from pipeline.carriers.base import NO_SUCH_CALL, OVER, Carrier, DialOrder, Leg
from pipeline.clock import Clock
from pipeline.core.call import Call, Phase
from pipeline.core.effects import Charge, Effect, Learned, Unlearned
from pipeline.core.errors import CarrierError, JournalError
from pipeline.core.money import Nanos
from server import remembering
from server.calls.files import Files
from server.calls.orders import longest_s
from server.calls.unheard import notes_of
from server.metrics import TAKEN_OVER
from server.money import reconciling
from server.money.admission import Admissions, Admitted
from server.recovery.rebuilding import catch_up, rebuild
from server.recovery.settling import Told, finish, is_fresh, nothing_since, outcome, told
from storage import calls, ledger, notes
from storage.db import Database, Tx
from storage.ledger import UNCONFIRMED, CallCharges
from storage.records import CallRow, Fenced

log = structlog.get_logger()

TALKED = (Phase.CLOSING, Phase.MACHINE, Phase.HUNG_UP, Phase.ENDED)
"""A call that had come so far is not taken up again: there is nobody to talk to, or nothing more to say."""


LAST_WORD_TRIES, LAST_WORD_S = 4, 1.0
"""How often, and how far apart, the carrier is asked again until it says that the call is over."""


class Takeovers:
    """As this node, `node`, makes them. Journals lie in `calls_dir`."""

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        clock: Clock,
        calls_dir: Path,
        admissions: Admissions,
        node: str,
        *,
        order: Callable[[CallRow], DialOrder],
        files: Callable[[CallRow, ExitStack], Files],
    ) -> None:
        """`order`: by which a call was dialled, to be found at the carrier.

        `files`: opens new ones for a call that goes on; raises `OSError`.
        """
        self._database = database
        self._carrier = carrier
        self._clock = clock
        self._calls_dir = calls_dir
        self._admissions = admissions
        self.node = node
        self._order = order
        self._files = files

    async def claim(self, found: CallRow) -> CallRow | None:
        """None when another node was faster, or the call is closed by now."""
        async with self._database.write() as tx:
            return await calls.claim(tx, found.id, found.epoch, self.node)

    async def resume(self, row: CallRow, opened: ExitStack) -> tuple[Admitted, Files] | None:
        """What a claimed call goes on with, and its new files, which `opened` closes; None when it cannot.

        One that is over is settled then; one of which too little is known is this node's, and found by its sweeps.
        Raises `DatabaseDown`.
        """
        try:
            resumed = await self._resume(row, opened)
        except (JournalError, OSError, LookupError, Fenced) as error:
            log.error("call_not_resumable", call=row.id, why=type(error).__name__)
            return None
        if resumed is None:
            try:
                await self.settle(row)
            except (CarrierError, Fenced):
                log.warning("orphan_waits_for_carrier", call=row.id)
            return None
        TAKEN_OVER.labels("resumed").inc()
        return resumed

    async def _resume(self, row: CallRow, opened: ExitStack) -> tuple[Admitted, Files] | None:
        known = told(self._calls_dir, row)
        now = self._clock.utc()
        async with self._database.write() as tx:
            fresh = await catch_up(tx, row, known, node=self.node, now=now)
            if known is not None and fresh and known.call.phase in TALKED:
                return None
            caught_up = await calls.get(tx, row.id)
            if caught_up is None:
                return None
            admitted = await rebuild(tx, self._admissions, caught_up, known if fresh else None, now)
            if admitted is None:
                return None
            files = self._begun(admitted.row, opened)
            call = Call(admitted.started) if known is None or not fresh else known.call
            await self._lose(tx, row, call, fresh=fresh)
            await ledger.carry_on(tx, row.id, row.epoch)
            return await self._admissions.topped_up(tx, admitted), files

    def _begun(self, row: CallRow, opened: ExitStack) -> Files:
        """Before the one there was becomes the past: without a new journal it still tells all that there is."""
        try:
            return self._files(row, opened)
        except OSError as error:  # of the disk: inside a transaction it would pass for the database's
            raise JournalError("no new journal") from error

    async def settle(self, row: CallRow) -> None:
        """End a claimed call at the carrier and close its books.

        From the first try on nobody is connected to it any more, whoever the carrier asks: a hang-up that got no answer
        may still be carried out. Raises `DatabaseDown`, `OSError`, `CarrierError` while its leg may go on,
        `JournalError` when the ledger does not take the charges, and `Fenced` when it was gone on with meanwhile;
        nothing is written then.
        """
        async with self._database.write() as tx:
            if not await calls.to_be_ended(tx, row.id, row.epoch, self._clock.utc()):
                raise Fenced(row.id)
        leg = await self._end_at_carrier(row)
        known = told(self._calls_dir, row)
        async with self._database.read() as tx:
            fresh = known is not None and await is_fresh(tx, row, known)
            call, effects = (
                (known.call, self._finished(known, leg))
                if known is not None and fresh
                else await self._from_ledger(tx, row, leg)
            )
        await self._write(row, call, effects, leg, fresh=fresh)

    def _finished(self, known: Told, leg: Leg | None) -> list[Effect]:
        known.finish(leg)
        return known.effects

    async def _from_ledger(self, tx: Tx, row: CallRow, leg: Leg | None) -> tuple[Call | None, list[Effect]]:
        """The last effects of a machine rebuilt from what was written; none for a call that bought nothing."""
        if row.last_seq == 0:
            return None, []
        admitted = await rebuild(tx, self._admissions, row, None, row.created_at)
        if admitted is None:
            return None, []
        call = Call(admitted.started)
        return call, finish(call, admitted.started.at, leg)

    async def _end_at_carrier(self, row: CallRow) -> Leg | None:
        """What the carrier knows of the call once it is ended; None when it knows nothing.

        Raises `CarrierError` while the leg may go on: books are not closed over one that runs. Past the carrier's own
        limit it is over whatever is heard, and what the carrier counted is found out afterwards.
        """
        if row.channel == "browser":  # which ended with its process
            return None
        leg = None
        try:
            sid = row.sid or await self._unnoted(row)
            if sid is None:
                return None
            await self._carrier.hang_up(sid)
            leg = await self._carrier.fetch(sid)
            for _ in range(LAST_WORD_TRIES):  # its own count comes a moment after the end
                if leg.complete:
                    return leg
                await asyncio.sleep(LAST_WORD_S)
                leg = await self._fetched(sid) or leg
        except CarrierError as error:
            log.warning("orphan_unknown_to_carrier", call=row.id, code=error.code)
            if error.code == NO_SUCH_CALL:
                return None
        limit = row.created_at + timedelta(seconds=longest_s(row))
        if (leg is None or leg.status not in OVER) and self._clock.utc() < limit:
            raise CarrierError("the leg may go on", retryable=True)
        return leg

    async def _fetched(self, sid: str) -> Leg | None:
        """None where no answer comes: what was said of the leg before is still so."""
        try:
            return await self._carrier.fetch(sid)
        except CarrierError as error:
            log.warning("orphan_not_looked_up", code=error.code)
            return None

    async def _unnoted(self, row: CallRow) -> str | None:
        """The leg of a call whose process died between its dial and the note of it: it may ring all the same.

        None where it was never dialled. Raises `CarrierError`: as long as nobody says so its phone stays busy.
        """
        leg = await self._carrier.find(self._order(row), row.created_at)
        if leg is None:
            return None
        async with self._database.read() as tx:
            other = await calls.by_sid(tx, leg.sid)
        if other is not None and other.id != row.id:
            return None
        log.warning("dial_found", call=row.id, status=leg.status)
        return leg.sid

    async def _write(
        self, row: CallRow, call: Call | None, effects: list[Effect], leg: Leg | None, *, fresh: bool
    ) -> None:
        charges = tuple(effect for effect in effects if isinstance(effect, Charge))
        status, reason, seconds = outcome(row, effects, leg)
        now = self._clock.utc()
        async with self._database.write() as tx:
            second = max((charge.second for charge in charges), default=0)
            owed = CallCharges(row.id, row.epoch, charges, second)
            if await ledger.flush(tx, [owed], node=self.node, now=now):
                raise JournalError("its charges do not continue those of the ledger")
            sid = None if leg is None else leg.sid
            await calls.advance(
                tx, row.id, status, at=now, sid=sid, end_reason=reason, carrier_seconds=seconds
            )
            if call is not None:
                await self._lose(tx, row, call, fresh=fresh)
            final = await ledger.finalise(tx, call_id=row.id, epoch=row.epoch, now=now)
            # Behind the account, as a number that is opted out is locked by whoever places a call.
            await notes.write(tx, row.id, notes_of(effects), now)
            for taught in effects:
                if isinstance(taught, Learned | Unlearned):
                    await remembering.keep(tx, row.id, taught, now)
            await reconciling.schedule(tx, row.id, now)
        TAKEN_OVER.labels("settled").inc()
        log.info("orphan_settled", call=row.id, total_nano=final.total, operator_nano=final.operator)

    async def _lose(self, tx: Tx, row: CallRow, call: Call, *, fresh: bool) -> None:
        """What the process had asked for last: as far as it is known, and where it is not, the most it can be."""
        amount = call.unconfirmed if fresh else call.largest_lump
        if amount <= 0 or (not fresh and await nothing_since(tx, self._calls_dir, row)):
            return
        reason, now = f"{UNCONFIRMED}:{row.epoch}", self._clock.utc()
        if await ledger.lose(tx, call_id=row.id, reason=reason, amount=Nanos(amount), now=now):
            log.warning("purchases_unconfirmed", call=row.id, amount_nano=amount, known=fresh)
