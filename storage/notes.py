"""What a call noted beside money: its transcript, how fast turns were answered, replies begun early, opting out.

Writing the same note twice changes nothing, so a call can be written again from its journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update

from pipeline.core.effects import EagerSettled, OptedOut, TurnTaken, TurnTimed
from storage import opt_outs, turns
from storage.db import Tx, insert
from storage.records import EagerReply
from storage.rows import columns, every
from storage.tables import call_eager_replies, call_turns, calls

Note = TurnTaken | TurnTimed | EagerSettled | OptedOut


async def write(tx: Tx, call_id: str, notes: Sequence[Note], now: datetime) -> None:
    for note in notes:
        match note:
            case TurnTaken():
                await turns.add(
                    tx, call_id, note.index, note.role, note.text, note.started, note.ended, note.interrupted
                )
            case TurnTimed():
                await _timed(tx, call_id, note)
            case EagerSettled():
                row = insert(tx, call_eager_replies).values(
                    call_id=call_id, reply=note.reply, committed=note.committed, nano=note.nano
                )
                await tx.execute(row.on_conflict_do_nothing(index_elements=["call_id", "reply"]))
            case OptedOut():
                await _opted_out(tx, call_id, note.how, now)


async def eager(tx: Tx, call_id: str) -> list[EagerReply]:
    query = select(*columns(call_eager_replies, EagerReply)).where(call_eager_replies.c.call_id == call_id)
    return await every(tx, EagerReply, query.order_by(call_eager_replies.c.reply))


async def _timed(tx: Tx, call_id: str, note: TurnTimed) -> None:
    await tx.execute(
        update(call_turns)
        .where(call_turns.c.call_id == call_id, call_turns.c.index == note.index)
        .values(
            end_of_turn_ms=note.end_of_turn_ms,
            first_token_ms=note.first_token_ms,
            first_audio_ms=note.first_audio_ms,
            first_frame_ms=note.first_frame_ms,
            audible_ms=note.audible_ms,
        )
    )


async def _opted_out(tx: Tx, call_id: str, how: str, now: datetime) -> None:
    number = (await tx.execute(select(calls.c.phone_e164).where(calls.c.id == call_id))).scalar_one_or_none()
    if number is not None:
        await opt_outs.add(tx, number, how, now)
