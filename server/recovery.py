"""Settles the calls nobody conducts any more: from the journal, then from what the carrier says.

Such a call belonged to a process that is gone, or was placed by a COMMIT whose answer got
lost. It is claimed first, so that whoever still had it may write nothing more. Then its
machine is rebuilt from its journal, told how the carrier saw the end, and what it still owes
is written. Nothing is dialled or resumed. One call's trouble stays its own: a call that
cannot be settled stays open and the next one is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from pipeline.carriers.base import Carrier, Leg
from pipeline.clock import Clock
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.call import Call
from pipeline.core.effects import Charge, Effect, Ended, Learned, Unlearned
from pipeline.core.errors import CarrierError, JournalError
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason
from pipeline.journal_file import SUFFIX, JournalFile, Step, mend, read_lines, steps
from server import remembering
from server.errors import whereabouts
from server.metrics import SURPRISES
from storage import calls, ledger, nodes, notes
from storage.db import Database, DatabaseDown
from storage.ledger import CallCharges
from storage.nodes import NodeLock
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus

log = structlog.get_logger()

EVERY_S = 30.0
"""Between two looks. A call is settled at the second one that finds nobody on it."""
SIGN_S = 5.0
"""Between two signs of life of this node; less than `EVERY_S`, so that a restart of the database, which
takes all of them away, makes no orphan of a call that goes on."""


class Orphans:
    """The calls without a conductor, as this node finds them."""

    def __init__(
        self, database: Database, carrier: Carrier, clock: Clock, calls_dir: Path, lock: NodeLock
    ) -> None:
        self._database = database
        self._carrier = carrier
        self._clock = clock
        self._calls_dir = calls_dir
        self._lock = lock
        self._seen: frozenset[str] = frozenset()
        self._left: set[str] = set()

    async def settle_all(self) -> int:
        """At start, when this node has no calls yet: settle what dead nodes left; how many that was."""
        return await self._settle(await self._find(_nobody))

    async def run(self, conducts: Callable[[str], bool]) -> None:
        """Show that this node lives, and look again and again. `conducts` knows the calls this node is on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show())
            while True:
                await asyncio.sleep(EVERY_S)
                try:
                    await self.look(conducts)
                except DatabaseDown as error:
                    log.warning("orphans_not_looked_for", retryable=error.retryable)

    async def look(self, conducts: Callable[[str], bool]) -> int:
        """Settle what had no conductor at the last look either: a call just placed or just ended has none."""
        found = await self._find(conducts)
        again = [row for row in found if row.id in self._seen]
        self._seen = frozenset(row.id for row in found)
        return await self._settle(again)

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SIGN_S)
            try:
                await self._lock.take()
            except DatabaseDown as error:
                log.warning("node_lock_lost", retryable=error.retryable)

    async def _find(self, conducts: Callable[[str], bool]) -> list[CallRow]:
        own = self._lock.node
        async with self._database.read() as tx:
            rows = [row for row in await calls.live(tx) if row.id not in self._left]
            others = {row.owner for row in rows} - {own}
            dead = {owner for owner in others if not await nodes.is_alive(tx, owner)}
        return [row for row in rows if row.owner in dead or (row.owner == own and not conducts(row.id))]

    async def _settle(self, orphans: list[CallRow]) -> int:
        settled = 0
        for row in orphans:
            try:
                settled += await self._settle_one(row)
            except DatabaseDown as error:  # the next look finds it again
                log.warning("orphan_waits", call=row.id, retryable=error.retryable)
            except Exception as error:  # edge: of one call; it stays open, for the next start to try again
                self._left.add(row.id)
                SURPRISES.labels("recovery").inc()
                detail = str(error) if isinstance(error, JournalError) else None
                log.error("orphan_left_open", call=row.id, detail=detail, **whereabouts(error))
        return settled

    async def _settle_one(self, found: CallRow) -> bool:
        """False when another node was faster."""
        async with self._database.write() as tx:
            row = await calls.claim(tx, found.id, found.epoch, self._lock.node)
        if row is None:
            return False
        leg = await self._end_at_carrier(row)
        effects = _finish(self._calls_dir / f"{row.id}{SUFFIX}", row, leg)
        await self._write(row, effects, leg)
        return True

    async def _end_at_carrier(self, row: CallRow) -> Leg | None:
        """What the carrier knows of the call once it is ended; None when it knows nothing."""
        if row.sid is None:
            return None
        try:
            await self._carrier.hang_up(row.sid)
            return await self._carrier.fetch(row.sid)
        except CarrierError as error:
            log.warning("orphan_unknown_to_carrier", call=row.id, code=error.code)
            return None

    async def _write(self, row: CallRow, effects: list[Effect], leg: Leg | None) -> None:
        """Raises `JournalError` when the ledger does not take the charges; nothing is written then."""
        charges = tuple(effect for effect in effects if isinstance(effect, Charge))
        status, reason, seconds = _outcome(row, effects, leg)
        now = self._clock.utc()
        async with self._database.write() as tx:
            second = max((charge.second for charge in charges), default=0)
            owed = CallCharges(row.id, row.epoch, charges, second)
            if await ledger.flush(tx, [owed], node=self._lock.node, now=now):
                raise JournalError("its charges do not continue those of the ledger")
            noted = [effect for effect in effects if isinstance(effect, notes.Note)]
            await notes.write(tx, row.id, noted, now)
            await calls.advance(tx, row.id, status, at=now, end_reason=reason, carrier_seconds=seconds)
            final = await ledger.finalise(tx, call_id=row.id, epoch=row.epoch, now=now)
            for taught in effects:
                if isinstance(taught, Learned | Unlearned):
                    await remembering.keep(tx, row.id, taught, now)
        log.info("orphan_settled", call=row.id, total_nano=final.total, operator_nano=final.operator)


def _nobody(_call_id: str) -> bool:
    return False


def _outcome(
    row: CallRow, effects: list[Effect], leg: Leg | None
) -> tuple[CallStatus, EndReason | None, int | None]:
    """How the call ended: by its machine; without a journal by what the carrier says and the row knows."""
    ended = next((effect for effect in effects if isinstance(effect, Ended)), None)
    if ended is not None:
        lost = EndReason.SERVER_LOST if ended.reason is not None else None
        return _terminal(ended.status), lost, ended.seconds
    if row.answered_at is None and (leg is None or leg.seconds == 0):
        return _terminal("failed" if leg is None else leg.status), None, None
    return "completed", EndReason.SERVER_LOST, None if leg is None else leg.seconds


def _terminal(status: str) -> CallStatus:
    return next((known for known, rank in STATUS_RANK.items() if known == status and rank == OVER), "failed")


def _finish(path: Path, row: CallRow, leg: Leg | None) -> list[Effect]:
    """All effects of the call, with the end the journal does not have yet; none without a journal.

    Raises `JournalError` for a journal that cannot be read, `OSError` for one that cannot be continued.
    """
    try:
        mend(path)
    except FileNotFoundError:  # it lies on another machine, or nothing was bought before the process ended
        log.error("orphan_without_journal", call=row.id)
        return []
    recorded = list(steps(read_lines(path)))
    if not recorded:
        return []
    call, effects = _replayed(path, row, recorded)
    if any(isinstance(effect, Ended) for effect in effects):
        return effects
    sink = JournalFile(path)
    try:
        last = recorded[-1].event.at
        for event in (ev.LineDropped(last, EndReason.SERVER_LOST), _last_word(call, last, leg)):
            effects += _stepped(call, event, sink)
        if call.next_deadline() is not None:
            effects += _stepped(call, ev.Tick(Millis(last + call.limits.carrier_ms)), sink)
    finally:
        sink.close()
    return effects


def _replayed(path: Path, row: CallRow, recorded: list[Step]) -> tuple[Call, list[Effect]]:
    """The machine after its last recorded event, and what it did.

    Of a last step that was half written the machine knows the rest; the file gets it too. Elsewhere a
    difference means that this version decides otherwise: what was recorded is what happened.
    """
    first = recorded[0].event
    if not isinstance(first, ev.CallStarted):
        raise JournalError("a journal begins with CallStarted")
    call = Call(first)
    effects: list[Effect] = []
    for step in recorded:
        done = call.step(step.event)
        lines = tuple(journal.effect_line(effect) for effect in done)
        if lines == step.effects:
            effects += done
        elif step is recorded[-1] and lines[: len(step.effects)] == step.effects:
            missing = lines[len(step.effects) :]
            log.warning("orphan_step_completed", call=row.id, line=step.line, missing=len(missing))
            mend(path, missing)
            effects += done
        else:
            log.error("orphan_replays_differently", call=row.id, line=step.line)
            effects += [journal.parse_effect(line) for line in step.effects]
    return call, effects


def _stepped(call: Call, event: ev.Event, sink: JournalFile) -> list[Effect]:
    done = call.step(event)
    sink.append(event, done)
    return done


def _last_word(call: Call, last: Millis, leg: Leg | None) -> ev.CarrierDone:
    """The carrier's own count, or ours where it has none: the call lasted at least to its last event."""
    if leg is not None and leg.seconds > 0:
        return ev.CarrierDone(last, leg.status, leg.seconds)
    answered = call.spending.answered
    seconds = 0 if answered is None else -(-(last - answered) // 1000)
    return ev.CarrierDone(last, "failed" if answered is None else "completed", seconds)
