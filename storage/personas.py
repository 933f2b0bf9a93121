"""The personas and what each of them is to a user."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.records import Persona, Relationship
from storage.rows import columns, every, first
from storage.tables import personas
from storage.tables import user_persona_relationships as relations


async def all(tx: Tx) -> list[Persona]:
    query = select(*columns(personas, Persona))
    return await every(tx, Persona, query.order_by(personas.c.position, personas.c.id))


async def by_id(tx: Tx, persona_id: str) -> Persona | None:
    return await first(tx, Persona, select(*columns(personas, Persona)).where(personas.c.id == persona_id))


async def relationship(tx: Tx, user_id: str, persona_id: str) -> Relationship:
    """What was recorded, or strangers who may become friends."""
    ours = (relations.c.user_id == user_id, relations.c.persona_id == persona_id)
    found = await first(tx, Relationship, select(*columns(relations, Relationship)).where(*ours))
    return found or Relationship(user_id, persona_id)


async def put_relationship(tx: Tx, user_id: str, persona_id: str, *, kind: str, notes: str) -> Relationship:
    """Replaces the words, keeps the history."""
    row = insert(tx, relations).values(user_id=user_id, persona_id=persona_id, kind=kind, notes=notes)
    anew = {"kind": kind, "notes": notes, "updated_at": UtcNow()}
    await tx.execute(row.on_conflict_do_update(index_elements=["user_id", "persona_id"], set_=anew))
    return await relationship(tx, user_id, persona_id)


async def met(tx: Tx, user_id: str, persona_id: str, at: datetime) -> None:
    """They had a call that was answered."""
    row = insert(tx, relations).values(
        user_id=user_id, persona_id=persona_id, calls=1, last_call_at=at, updated_at=at
    )
    once_more = {"calls": relations.c.calls + 1, "last_call_at": at, "updated_at": at}
    await tx.execute(row.on_conflict_do_update(index_elements=["user_id", "persona_id"], set_=once_more))
