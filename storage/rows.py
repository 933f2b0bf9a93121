"""From rows to records: a record's fields are the columns read, and lists are read a page at a time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, Table, and_, or_, select

from pipeline.core.errors import Refused
from storage.db import Tx
from storage.records import Page

R = TypeVar("R")


def columns(table: Table, kind: type[Any]) -> list[ColumnElement[Any]]:
    """The columns a record is made of, under the names of its fields."""
    return [table.c[field.name].label(field.name) for field in fields(kind)]


def record(kind: type[R], row: Row[Any]) -> R:
    return kind(**row._mapping)


async def first(tx: Tx, kind: type[R], query: Select[Any]) -> R | None:
    row = (await tx.execute(query)).first()
    return None if row is None else record(kind, row)


async def every(tx: Tx, kind: type[R], query: Select[Any]) -> list[R]:
    return [record(kind, row) for row in await tx.execute(query)]


async def newest_page(
    tx: Tx, kind: type[R], table: Table, condition: ColumnElement[bool], cursor: str | None, limit: int
) -> Page[R]:
    """Newest first by `created_at`, then id. Raises `Refused` for a cursor this function did not make."""
    query = select(*columns(table, kind)).where(condition)
    if cursor is not None:
        at, ident = decode_cursor(cursor, moment_and_id)
        earlier = table.c.created_at < at
        query = query.where(or_(earlier, and_(table.c.created_at == at, table.c.id < ident)))
    query = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
    found = (await tx.execute(query)).all()
    return cut(found, limit, kind, lambda row: f"{row.created_at.isoformat()} {row.id}")


def cut(found: Sequence[Row[Any]], limit: int, kind: type[R], place: Callable[[Row[Any]], str]) -> Page[R]:
    """A page of at most `limit` from one row more than that; `place` names where a row stands."""
    items = [record(kind, row) for row in found[:limit]]
    return Page(items, encode_cursor(place(found[limit - 1])) if len(found) > limit else None)


def encode_cursor(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, parse: Callable[[str], R]) -> R:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return parse(base64.urlsafe_b64decode(padded).decode())
    except (ValueError, binascii.Error):
        raise Refused("invalid_request", "this cursor is none of ours") from None


def moment_and_id(place: str) -> tuple[datetime, str]:
    moment, ident = place.split(" ")
    at = datetime.fromisoformat(moment)
    if at.tzinfo is None or "\0" in ident:
        raise ValueError(place)
    return at, ident
