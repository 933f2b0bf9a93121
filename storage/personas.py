"""The personas and what each of them is to a user."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import select

from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.records import Persona, Relationship
from storage.rows import columns, every, first
from storage.tables import calls, forgotten, memories, personas, scheduled_calls
from storage.tables import user_persona_relationships as relations


async def all(tx: Tx) -> list[Persona]:
    query = select(*columns(personas, Persona))
    return await every(tx, Persona, query.order_by(personas.c.position, personas.c.id))


async def by_id(tx: Tx, persona_id: str) -> Persona | None:
    return await first(tx, Persona, select(*columns(personas, Persona)).where(personas.c.id == persona_id))


async def put(tx: Tx, persona: Persona) -> Persona:
    """Adds it, or puts it in the place of the one with its id."""
    values: dict[str, Any] = {field.name: getattr(persona, field.name) for field in fields(Persona)}
    row = insert(tx, personas).values(values)
    anew = {name: value for name, value in values.items() if name != "id"}
    await tx.execute(row.on_conflict_do_update(index_elements=["id"], set_=anew))
    return persona


async def delete(tx: Tx, persona_id: str) -> bool:
    """False, and nothing is changed, where anybody's rows hang on it."""
    for table in (calls, scheduled_calls, memories, forgotten, relations):
        if (
            await tx.execute(select(table.c.persona_id).where(table.c.persona_id == persona_id).limit(1))
        ).first():
            return False
    return (await tx.execute(delete_from(personas).where(personas.c.id == persona_id))).rowcount == 1


async def relationship(tx: Tx, user_id: str, persona_id: str) -> Relationship:
    """What was recorded, or strangers who may become friends."""
    ours = (relations.c.user_id == user_id, relations.c.persona_id == persona_id)
    found = await first(tx, Relationship, select(*columns(relations, Relationship)).where(*ours))
    return found or Relationship(user_id, persona_id)


async def closest(tx: Tx, user_id: str) -> Persona | None:
    """The one the user had to do with last, in words or in a call, or the first there is; None without any."""
    theirs = select(*columns(personas, Persona)).join(relations, relations.c.persona_id == personas.c.id)
    query = theirs.where(relations.c.user_id == user_id).order_by(
        relations.c.updated_at.desc(), personas.c.id
    )
    return await first(tx, Persona, query.limit(1)) or next(iter(await all(tx)), None)


async def put_relationship(
    tx: Tx, user_id: str, persona_id: str, *, kind: str, notes: str, voice: str = "", manner: str = ""
) -> Relationship:
    """Replaces the words, keeps the history."""
    told: dict[str, Any] = {"kind": kind, "notes": notes, "voice": voice, "manner": manner}
    row = insert(tx, relations).values(user_id=user_id, persona_id=persona_id, **told)
    anew = {**told, "updated_at": UtcNow()}
    await tx.execute(row.on_conflict_do_update(index_elements=["user_id", "persona_id"], set_=anew))
    return await relationship(tx, user_id, persona_id)


async def met(tx: Tx, user_id: str, persona_id: str, at: datetime) -> None:
    """They had a call that was answered."""
    row = insert(tx, relations).values(
        user_id=user_id, persona_id=persona_id, calls=1, last_call_at=at, updated_at=at
    )
    once_more = {"calls": relations.c.calls + 1, "last_call_at": at, "updated_at": at}
    await tx.execute(row.on_conflict_do_update(index_elements=["user_id", "persona_id"], set_=once_more))
