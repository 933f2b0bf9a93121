"""What each persona remembers of each user, and the marks of what was deleted. No query is without both.

A mark is a keyed hash (`storage/number_hashes.py`): there are few enough words to try them all, and what was deleted is
not to be found by that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy import delete as delete_from
from sqlalchemy import update as change

from pipeline.core.memory import Finding, Mark, Memory
from storage.db import Tx, insert
from storage.ids import new_id
from storage.number_hashes import KEYED, keying
from storage.records import Page
from storage.rows import columns, every, first, newest_page, record
from storage.tables import calls, forgotten, memories


async def of(tx: Tx, user_id: str, persona_id: str, *, lock: bool = False) -> list[Memory]:
    """All of them, oldest first. `lock`: whoever changes some waits for whoever changes others."""
    query = select(*columns(memories, Memory)).where(*_of(user_id, persona_id))
    query = query.order_by(memories.c.created_at, memories.c.id)
    return await every(tx, Memory, query.with_for_update(of=memories) if lock else query)


async def page(tx: Tx, user_id: str, persona_id: str, cursor: str | None, limit: int) -> Page[Memory]:
    """Newest first."""
    condition = (memories.c.user_id == user_id) & (memories.c.persona_id == persona_id)
    return await newest_page(tx, Memory, memories, condition, cursor, limit)


async def get(tx: Tx, user_id: str, persona_id: str, memory_id: str) -> Memory | None:
    mine = (*_of(user_id, persona_id), memories.c.id == memory_id)
    return await first(tx, Memory, select(*columns(memories, Memory)).where(*mine))


async def add(
    tx: Tx,
    user_id: str,
    persona_id: str,
    finding: Finding,
    *,
    said_on: date,
    call_id: str | None,
    now: datetime,
) -> Memory:
    row = insert(tx, memories).values(
        id=new_id(), user_id=user_id, persona_id=persona_id, call_id=call_id, kind=finding.kind,
        text=finding.text, subject=finding.subject, importance=finding.importance, said_on=said_on,
        created_at=now, updated_at=now,
    )  # fmt: skip
    return record(Memory, (await tx.execute(row.returning(*columns(memories, Memory)))).one())


async def put(tx: Tx, user_id: str, persona_id: str, memory: Memory) -> None:
    """Writes what changed of a memory that is there."""
    mine = (*_of(user_id, persona_id), memories.c.id == memory.id)
    await tx.execute(
        change(memories).where(*mine).values(
            text=memory.text, importance=memory.importance, said_on=memory.said_on, call_id=memory.call_id,
            updated_at=memory.updated_at,
        )
    )  # fmt: skip


async def remove(tx: Tx, user_id: str, persona_id: str, ids: Sequence[str]) -> None:
    await tx.execute(delete_from(memories).where(*_of(user_id, persona_id), memories.c.id.in_(ids)))


def marker(tx: Tx, user_id: str, persona_id: str) -> Mark:
    """Makes the marks of what this persona is to forget of this user. Raises `NoNumberKey` without the key."""
    keyed = keying(tx)
    return lambda what, words: keyed(unkeyed(user_id, persona_id, what, words))


def unkeyed(user_id: str, persona_id: str, what: str, words: str) -> str:
    """What the key is put to. Rows of older versions hold it as it is, until `key_some`."""
    told = f"{user_id} {persona_id}\n{what}\n{words}"
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()


async def key_some(tx: Tx, limit: int = 500) -> int:
    """Puts the key to marks that an older version left without one, at most to `limit`; to how many."""
    keyed, bare = keying(tx), forgotten.c.mark.not_like(f"{KEYED}%")
    mine = tuple(forgotten.primary_key.columns)
    rows = [
        dict(row)
        for row in (await tx.execute(select(forgotten).where(bare).order_by(*mine).limit(limit))).mappings()
    ]
    if rows:
        # The mark of a word of a fact is two: the fact's and the word's.
        new = [{**row, "mark": " ".join(map(keyed, row["mark"].split(" ")))} for row in rows]
        await tx.execute(insert(tx, forgotten).on_conflict_do_nothing(), new)
        old = [tuple(row[column.name] for column in mine) for row in rows]
        await tx.execute(delete_from(forgotten).where(tuple_(*mine).in_(old)))
    return len(rows)


async def marks(tx: Tx, user_id: str, persona_id: str) -> frozenset[str]:
    """Of all that was deleted."""
    mine = (forgotten.c.user_id == user_id, forgotten.c.persona_id == persona_id)
    return frozenset((await tx.execute(select(forgotten.c.mark).where(*mine))).scalars())


async def mark(tx: Tx, user_id: str, persona_id: str, left: Iterable[str], now: datetime) -> None:
    rows = [
        {"user_id": user_id, "persona_id": persona_id, "mark": each, "created_at": now}
        for each in sorted(left)
    ]
    if rows:
        await tx.execute(insert(tx, forgotten).on_conflict_do_nothing(), rows)


async def unmark(tx: Tx, user_id: str, persona_id: str, left: Iterable[str]) -> None:
    """They may come back: the user says so."""
    mine = (forgotten.c.user_id == user_id, forgotten.c.persona_id == persona_id)
    await tx.execute(delete_from(forgotten).where(*mine, forgotten.c.mark.in_(sorted(left))))


async def remembered(tx: Tx, call_id: str, outcome: str) -> None:
    """What became of remembering a call."""
    await tx.execute(change(calls).where(calls.c.id == call_id).values(memory=outcome))


def _of(user_id: str, persona_id: str) -> tuple[ColumnElement[bool], ...]:
    return (memories.c.user_id == user_id, memories.c.persona_id == persona_id)
