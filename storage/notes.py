"""What a call noted beside money: its transcript, what was cut off, how fast turns were answered, replies begun early,
opting out.

Writing the same note twice changes nothing, so a call can be written again from its journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, select, update

from pipeline.core.effects import EagerSettled, OptedOut, TurnTaken, TurnTimed
from storage import opt_outs, turns
from storage.db import Tx, insert
from storage.records import EagerReply
from storage.rows import columns, every
from storage.tables import call_eager_replies, call_turns, calls, users


@dataclass(frozen=True, slots=True)
class Unheard:
    """Of the agent's turn `index`: what was to be said after it was cut off."""

    index: int
    text: str


Note = TurnTaken | TurnTimed | EagerSettled | OptedOut | Unheard
"""An `Unheard` comes after its turn."""


async def write(tx: Tx, call_id: str, notes: Sequence[Note], now: datetime) -> None:
    await write_all(tx, {call_id: notes}, now)


async def write_all(tx: Tx, noted: Mapping[str, Sequence[Note]], now: datetime) -> None:
    """The notes of several calls, by their ids: one statement a kind, however many there are."""
    taken: list[dict[str, Any]] = []
    unheard: list[dict[str, Any]] = []
    timed: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    for call_id, note in ((call_id, note) for call_id, notes in noted.items() for note in notes):
        match note:
            case TurnTaken():
                taken.append(turns.row(call_id, note))
            case Unheard(index, text):
                unheard.append({"of_id": call_id, "of_turn": index, "unheard": text})
            case TurnTimed():
                timed.append({"of_id": call_id, "of_turn": note.index, **_stages(note)})
            case EagerSettled(reply, committed, nano):
                settled.append({"call_id": call_id, "reply": reply, "committed": committed, "nano": nano})
            case OptedOut():
                await _opted_out(tx, call_id, note.how, now)
    if taken:
        await turns.add_all(tx, taken)
    for known in (unheard, timed):
        if known:
            await tx.execute(_OF_TURN, known)
    if settled:
        rows = insert(tx, call_eager_replies).on_conflict_do_nothing(index_elements=["call_id", "reply"])
        await tx.execute(rows, settled)


async def eager(tx: Tx, call_id: str) -> list[EagerReply]:
    query = select(*columns(call_eager_replies, EagerReply)).where(call_eager_replies.c.call_id == call_id)
    return await every(tx, EagerReply, query.order_by(call_eager_replies.c.reply))


def _stages(note: TurnTimed) -> dict[str, int]:
    return {
        "end_of_turn_ms": note.end_of_turn_ms,
        "first_token_ms": note.first_token_ms,
        "first_audio_ms": note.first_audio_ms,
        "first_frame_ms": note.first_frame_ms,
        "audible_ms": note.audible_ms,
    }


_OF_TURN = update(call_turns).where(
    call_turns.c.call_id == bindparam("of_id"), call_turns.c.index == bindparam("of_turn")
)
"""Sets whatever columns it is given of a turn that is there."""


async def _opted_out(tx: Tx, call_id: str, how: str, now: datetime) -> None:
    """The number the call is on; of a call in the browser, the one its user has proved, if they have."""
    proved = case((users.c.phone_verified_at.is_not(None), users.c.phone_e164), else_=None)
    meant = case((calls.c.channel == "browser", proved), else_=calls.c.phone_e164)
    query = select(meant).join(users, users.c.id == calls.c.user_id).where(calls.c.id == call_id)
    number = (await tx.execute(query)).scalar_one_or_none()
    if number is not None:
        await opt_outs.add(tx, number, how, now)
