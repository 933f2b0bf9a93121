"""The transcript of a call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select

from pipeline.core.effects import TurnTaken
from storage.db import Tx, insert
from storage.records import Speaking, TurnRow
from storage.rows import columns, every
from storage.tables import call_turns


async def add(
    tx: Tx,
    call_id: str,
    index: int,
    role: Speaking,
    text: str,
    started_ms: int,
    ended_ms: int,
    interrupted: bool,
) -> bool:
    """False when this turn was written before; it stays as it was."""
    row = insert(tx, call_turns).values(
        call_id=call_id, index=index, role=role, text=text, started_ms=started_ms, ended_ms=ended_ms,
        interrupted=interrupted,
    )  # fmt: skip
    return (await tx.execute(row.on_conflict_do_nothing(index_elements=["call_id", "turn"]))).rowcount == 1


def row(call_id: str, turn: TurnTaken) -> dict[str, object]:
    return {
        "call_id": call_id, "index": turn.index, "role": turn.role, "text": turn.text,
        "started_ms": turn.started, "ended_ms": turn.ended, "interrupted": turn.interrupted,
    }  # fmt: skip


async def add_all(tx: Tx, rows: Sequence[Mapping[str, object]]) -> None:
    """As `add`, for the turns of any number of calls."""
    await tx.execute(
        insert(tx, call_turns).on_conflict_do_nothing(index_elements=["call_id", "turn"]), list(rows)
    )


async def of_call(tx: Tx, call_id: str) -> list[TurnRow]:
    query = select(*columns(call_turns, TurnRow)).where(call_turns.c.call_id == call_id)
    return await every(tx, TurnRow, query.order_by(call_turns.c.index))


async def waits(tx: Tx, call_ids: Collection[str]) -> Mapping[str, list[int]]:
    """How long, in milliseconds, each answer of these calls was waited for; a call without any is left out."""
    query = select(call_turns.c.call_id, call_turns.c.audible_ms).where(
        call_turns.c.call_id.in_(list(call_ids)), call_turns.c.audible_ms.is_not(None)
    )
    found: dict[str, list[int]] = defaultdict(list)
    for call_id, ms in await tx.execute(query):
        found[call_id].append(ms)
    return found
