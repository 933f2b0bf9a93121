"""What a call came to whose process is gone: read from its journal, from the ledger, and from the carrier.

The journal is the better witness and lies on the machine that wrote it. Elsewhere the machine is rebuilt from what
the ledger has; what was bought in the last second before the process died is then not known, and is the operator's.
In both cases the carrier's own count of seconds settles the minutes. Writes only through `storage`, and only for a
call that was claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from pipeline.carriers.base import Leg
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.call import Call
from pipeline.core.effects import Charge, Effect, Ended
from pipeline.core.errors import JournalError
from pipeline.core.money import Millis
from pipeline.core.terms import EndReason
from pipeline.journal_file import JournalFile, Step, mend, numbered, read_lines, steps
from storage import charges, ledger
from storage.db import Tx
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus

log = structlog.get_logger()


@dataclass(slots=True)
class Told:
    """A call as its latest journal on this machine tells it: all that it did up to its last event at `last`."""

    path: Path
    part: int
    """The epoch of the process that wrote it."""
    call: Call
    effects: list[Effect]
    last: Millis

    @property
    def charges(self) -> tuple[Charge, ...]:
        return tuple(effect for effect in self.effects if isinstance(effect, Charge))

    @property
    def ended(self) -> bool:
        return any(isinstance(effect, Ended) for effect in self.effects)

    def finish(self, leg: Leg | None) -> None:
        """The end the journal does not have yet. Raises `OSError` where the file cannot be continued."""
        if not self.ended:
            sink = JournalFile(self.path)
            try:
                self.effects += finish(self.call, self.last, leg, sink)
            finally:
                sink.close()


def told(folder: Path, row: CallRow) -> Told | None:
    """What this machine has of the call; None when that is nothing.

    Raises `JournalError` for a journal that cannot be read, `OSError` for one that cannot be mended.
    """
    files = numbered(folder, row.id)
    if not files:
        log.error("orphan_without_journal", call=row.id)
        return None
    for part, path in sorted(files.items(), reverse=True):
        mend(path)
        # One that was only opened: whether the call went on with it its hold knows (`is_fresh`).
        if recorded := list(steps(read_lines(path))):
            call, effects = _replayed(path, row, recorded)
            return Told(path, part, call, effects, recorded[-1].event.at)
    return None


async def nothing_since(tx: Tx, folder: Path, row: CallRow) -> bool:
    """Whether the latest process, on this machine, has bought nothing that its journal would have had: it has none.

    What cannot be written down is not bought. To be asked after `told`, which cuts half a first line off.
    """
    held = await ledger.hold_of(tx, row.id)
    latest = None if held is None else numbered(folder, row.id).get(held.epoch)
    return latest is not None and latest.stat().st_size == 0


async def is_fresh(tx: Tx, row: CallRow, known: Told) -> bool:
    """Whether this is the journal of the call's latest process.

    It is not where the call went on elsewhere since, on a machine whose journal this one has not, nor where the ledger
    went further. A process that lost its call goes on writing for a moment, so nothing in such a journal, its end
    neither, is the call's. Raises `JournalError` where the journal went further and something is missing in between.
    """
    held = await ledger.hold_of(tx, row.id)
    if held is not None and known.part < held.epoch:
        return False
    begins = known.call.start.resumed.seq if isinstance(known.call.start, ev.CallResumed) else 0
    seqs = [begins, *(charge.seq for charge in known.charges)]
    if row.last_seq > seqs[-1] or row.last_seq < begins:
        return False
    if seqs != list(range(begins, begins + len(seqs))):
        raise JournalError("its charges do not continue those of the ledger")
    if row.last_seq == begins:
        return True
    last = known.charges[row.last_seq - begins - 1]
    return await charges.tile(tx, row.id, last.seq) == (last.line, last.from_qty, last.to_qty)


def finish(call: Call, last: Millis, leg: Leg | None, sink: JournalFile | None = None) -> list[Effect]:
    """Tell a machine that stands still since `last` how it ended, and have its last effects."""
    effects: list[Effect] = []
    for event in (ev.LineDropped(last, EndReason.SERVER_LOST), _last_word(call, last, leg)):
        effects += _stepped(call, event, sink)
    if call.next_deadline() is not None:
        effects += _stepped(call, ev.Tick(Millis(last + call.limits.carrier_ms)), sink)
    return effects


def outcome(
    row: CallRow, effects: Sequence[Effect], leg: Leg | None
) -> tuple[CallStatus, EndReason | None, int | None]:
    """How the call ended: by its machine; without one by what the carrier says and the row knows."""
    ended = next((effect for effect in effects if isinstance(effect, Ended)), None)
    if ended is not None:
        lost = EndReason.SERVER_LOST if ended.reason is not None else None
        return _terminal(ended.status), lost, ended.seconds
    if row.answered_at is None and (leg is None or leg.seconds == 0):
        return _terminal("failed" if leg is None else leg.status), None, None
    return "completed", EndReason.SERVER_LOST, None if leg is None else leg.seconds


def _terminal(status: str) -> CallStatus:
    return next((known for known, rank in STATUS_RANK.items() if known == status and rank == OVER), "failed")


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


def _stepped(call: Call, event: ev.Event, sink: JournalFile | None) -> list[Effect]:
    done = call.step(event)
    if sink is not None:
        sink.append(event, done)
    return done


def _last_word(call: Call, last: Millis, leg: Leg | None) -> ev.CarrierDone:
    """The carrier's own count, or ours where it has none: the call lasted at least to its last event."""
    if leg is not None and leg.seconds:
        return ev.CarrierDone(last, leg.status, leg.seconds)
    answered = call.spending.answered
    seconds = 0 if answered is None else -(-(last - answered) // 1000)
    return ev.CarrierDone(last, "failed" if answered is None else "completed", seconds)
