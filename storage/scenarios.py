"""A user's own call templates. Everybody sees and changes only theirs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as change

from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.ids import new_id
from storage.records import Page, Scenario
from storage.rows import columns, cut, decode_cursor, first, moment_and_id, newest_page, record
from storage.tables import call_scenario_templates as templates


async def page(tx: Tx, user_id: str, cursor: str | None, limit: int) -> Page[Scenario]:
    return await newest_page(tx, Scenario, templates, templates.c.user_id == user_id, cursor, limit)


async def popular(tx: Tx, user_id: str, cursor: str | None, limit: int) -> Page[Scenario]:
    """The most used first, the newer of two that are used as often. Raises `Refused` for a foreign cursor."""
    query = select(*columns(templates, Scenario)).where(templates.c.user_id == user_id)
    if cursor is not None:
        uses, at, ident = decode_cursor(cursor, _uses_moment_and_id)
        newer = or_(templates.c.created_at < at, and_(templates.c.created_at == at, templates.c.id < ident))
        query = query.where(or_(templates.c.uses < uses, and_(templates.c.uses == uses, newer)))
    order = (templates.c.uses.desc(), templates.c.created_at.desc(), templates.c.id.desc())
    found = (await tx.execute(query.order_by(*order).limit(limit + 1))).all()
    return cut(found, limit, Scenario, lambda row: f"{row.uses} {row.created_at.isoformat()} {row.id}")


def _uses_moment_and_id(place: str) -> tuple[int, datetime, str]:
    uses, _, rest = place.partition(" ")
    if not uses.isdecimal() or len(uses) > 18:  # within 64 bits
        raise ValueError(place)
    return (int(uses), *moment_and_id(rest))


async def add(
    tx: Tx,
    user_id: str,
    *,
    title: str,
    prompt: str,
    opening: str = "",
    max_minutes: int | None = None,
    now: datetime,
) -> Scenario:
    row = insert(tx, templates).values(
        id=new_id(), user_id=user_id, title=title, prompt=prompt, opening=opening, max_minutes=max_minutes,
        created_at=now, updated_at=now,
    )  # fmt: skip
    return record(Scenario, (await tx.execute(row.returning(*columns(templates, Scenario)))).one())


async def get(tx: Tx, user_id: str, scenario_id: str) -> Scenario | None:
    mine = (templates.c.id == scenario_id, templates.c.user_id == user_id)
    return await first(tx, Scenario, select(*columns(templates, Scenario)).where(*mine))


async def update(
    tx: Tx,
    user_id: str,
    scenario_id: str,
    *,
    title: str | None = None,
    prompt: str | None = None,
    opening: str | None = None,
    max_minutes: int | None = None,
) -> Scenario | None:
    """Changes what is given; `max_minutes=0` lifts the limit. None when the user has no such scenario."""
    given = {"title": title, "prompt": prompt, "opening": opening, "max_minutes": max_minutes}
    values: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if max_minutes == 0:
        values["max_minutes"] = None
    mine = (templates.c.id == scenario_id, templates.c.user_id == user_id)
    changed = change(templates).where(*mine).values(**values, updated_at=UtcNow())
    row = (await tx.execute(changed.returning(*columns(templates, Scenario)))).first()
    return None if row is None else record(Scenario, row)


async def delete(tx: Tx, user_id: str, scenario_id: str) -> bool:
    mine = (templates.c.id == scenario_id, templates.c.user_id == user_id)
    return (await tx.execute(delete_from(templates).where(*mine))).rowcount == 1


async def used(tx: Tx, scenario_id: str, times: int = 1) -> None:
    """So many calls were placed with it."""
    once_more = change(templates).where(templates.c.id == scenario_id)
    await tx.execute(once_more.values(uses=templates.c.uses + times, last_used_at=UtcNow()))
