"""Settles the calls a former process left open: from the journal, then from the carrier.

Runs at start on SQLite, where one process serves and every open call is therefore an
orphan. The call's machine is rebuilt from its journal, told how the carrier saw the end,
and its remaining charges are written. Nothing is dialled or resumed.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from pipeline.carriers.base import Carrier, Leg
from pipeline.clock import Clock
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.call import Call
from pipeline.core.effects import Charge, Effect, Ended, TurnTaken
from pipeline.core.errors import CarrierError, JournalError
from pipeline.core.events import EndReason
from pipeline.core.money import Millis
from pipeline.journal_file import SUFFIX, JournalFile, read_lines, steps
from storage import calls, ledger, turns
from storage.db import Database
from storage.ledger import CallCharges
from storage.records import CallRow, CallStatus

log = structlog.get_logger()


async def settle_orphans(database: Database, carrier: Carrier, clock: Clock, calls_dir: Path) -> int:
    """End and settle every open call; how many there were."""
    async with database.read() as tx:
        orphans = await calls.live(tx)
    for row in orphans:
        leg = await _end_at_carrier(carrier, row)
        effects = _finish(calls_dir / f"{row.id}{SUFFIX}", row, leg)
        await _settle(database, clock, row, effects, leg)
    return len(orphans)


async def _end_at_carrier(carrier: Carrier, row: CallRow) -> Leg | None:
    """What the carrier knows of the call once it is ended; None when it knows nothing."""
    if row.sid is None:
        return None
    try:
        await carrier.hang_up(row.sid)
        return await carrier.fetch(row.sid)
    except CarrierError as error:
        log.warning("orphan_unknown_to_carrier", call=row.id, code=error.code)
        return None


def _finish(path: Path, row: CallRow, leg: Leg | None) -> list[Effect]:
    """All effects of the call, with the end the journal does not have yet; none without a journal."""
    try:
        recorded = list(steps(read_lines(path)))
    except (OSError, JournalError) as error:
        log.error("orphan_without_journal", call=row.id, error=str(error))
        return []
    first = recorded[0].event if recorded else None
    if not isinstance(first, ev.CallStarted):
        return []
    call = Call(first)
    for step in recorded:
        call.step(step.event)
    effects = [journal.parse_effect(line) for step in recorded for line in step.effects]
    sink = JournalFile(path)
    last = recorded[-1].event.at
    for event in (ev.LineDropped(last, EndReason.SERVER_LOST), _last_word(call, last, leg)):
        done = call.step(event)
        sink.append(event, done)
        effects += done
    if call.next_deadline() is not None:
        overdue = ev.Tick(Millis(last + call.limits.carrier_ms))
        done = call.step(overdue)
        sink.append(overdue, done)
        effects += done
    sink.close()
    return effects


def _last_word(call: Call, last: Millis, leg: Leg | None) -> ev.CarrierDone:
    """The carrier's own count, or ours where it has none: the call lasted at least to its last event."""
    if leg is not None and leg.seconds > 0:
        return ev.CarrierDone(last, leg.status, leg.seconds)
    answered = call.spending.answered
    seconds = 0 if answered is None else -(-(last - answered) // 1000)
    return ev.CarrierDone(last, "failed" if answered is None else "completed", seconds)


async def _settle(
    database: Database, clock: Clock, row: CallRow, effects: list[Effect], leg: Leg | None
) -> None:
    charges = tuple(effect for effect in effects if isinstance(effect, Charge))
    ended = next((effect for effect in effects if isinstance(effect, Ended)), None)
    status: CallStatus = "failed" if ended is None or ended.status != "completed" else "completed"
    reason = EndReason.SERVER_LOST if ended is not None and ended.reason is not None else None
    now = clock.utc()
    async with database.write() as tx:
        second = max((charge.second for charge in charges), default=0)
        await ledger.flush(tx, [CallCharges(row.id, row.epoch, charges, second)], now=now)
        for turn in effects:
            if isinstance(turn, TurnTaken):
                await turns.add(
                    tx, row.id, turn.index, turn.role, turn.text, turn.started, turn.ended, turn.interrupted
                )
        seconds = ended.seconds if ended is not None else None
        await calls.advance(tx, row.id, status, at=now, end_reason=reason, carrier_seconds=seconds)
        final = await ledger.finalise(tx, call_id=row.id, epoch=row.epoch, now=now)
    log.info("orphan_settled", call=row.id, total_nano=final.total, operator_nano=final.operator)
