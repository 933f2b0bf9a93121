"""The first event of a call that goes on in this process, made of what the last one wrote down.

Whatever machine the call ran on, all of it is in the ledger and the transcript; a journal on this machine only adds
what had not been written yet, and is written first. Time goes on by the wall clock of the machines, which may differ
or have been moved: a gap counts for a minute at most, and never backwards.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime

from pipeline.core.effects import Message, Role
from pipeline.core.events import Bought, CallResumed, CallStarted, Resumed
from pipeline.core.money import Millis
from server.calls.unheard import notes_of
from server.money.admission import Admissions, Admitted
from server.recovery.settling import Told, is_fresh
from storage import ledger, notes, turns
from storage.db import Tx
from storage.ledger import CallCharges
from storage.records import CallRow

LONGEST_GAP_MS = 60_000
TOLD = ("layers", "phrases", "remember")
ROLES: dict[str, Role] = {"caller": "user", "agent": "assistant"}


async def catch_up(tx: Tx, row: CallRow, known: Told | None, *, node: str, now: datetime) -> bool:
    """Write what the journal has and the ledger has not. False when the journal is not of the latest process."""
    if known is None or not await is_fresh(tx, row, known):
        return False
    second = max((charge.second for charge in known.charges), default=0)
    if await ledger.flush(tx, [CallCharges(row.id, row.epoch, known.charges, second)], node=node, now=now):
        return False
    # The account before a number that is opted out, as whoever places a call locks them.
    await ledger.lock_account(tx, row.user_id)
    await notes.write(tx, row.id, notes_of(known.effects), now)
    return True


async def rebuild(
    tx: Tx, admissions: Admissions, row: CallRow, known: Told | None, now: datetime
) -> Admitted | None:
    """`known` is a journal that was caught up with, None where there is none. None for a call never answered.

    Raises `LookupError` when not enough is known of the call.
    """
    admitted = await admissions.recast(tx, row)
    lines, said = await ledger.cost_lines(tx, row.id), await turns.of_call(tx, row.id)
    answered = _answered(row, known)
    if answered is None:
        return None
    heard = max((turn.ended_ms for turn in said), default=0)
    second = max((line.as_of_second for line in lines), default=0)
    lived = max(0 if known is None else known.last, answered + 1000 * second, heard)
    passed = round((now - row.created_at).total_seconds() * 1000)
    resumed = Resumed(
        answered=answered,
        seq=row.last_seq,
        bought=tuple(Bought(line.line, line.quantity) for line in lines),
        said=tuple(Message(ROLES[turn.role], turn.text) for turn in said),
        reply=max((reply.reply for reply in await notes.eager(tx, row.id)), default=0),
        announced=None if known is None else known.call.announced,
    )
    common = {field.name: getattr(admitted.started, field.name) for field in fields(CallStarted)}
    if known is not None:  # what the call was told at its start, it goes on with
        common |= {name: getattr(known.call.start, name) for name in TOLD}
    at = Millis(min(max(passed, lived), lived + LONGEST_GAP_MS))
    started = CallResumed(**{**common, "at": at}, resumed=resumed)
    return replace(admitted, row=row, started=started)


def _answered(row: CallRow, known: Told | None) -> Millis | None:
    if known is not None and known.call.spending.answered is not None:
        return known.call.spending.answered
    if row.answered_at is None:
        return None
    return Millis(max(0, round((row.answered_at - row.created_at).total_seconds() * 1000)))
