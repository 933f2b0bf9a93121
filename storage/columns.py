"""How a value lies in a column, the same on SQLite and PostgreSQL. Used by the tables and by the migrations.

Moments are UTC: on PostgreSQL `timestamptz`, on SQLite text of one fixed width, so that comparing the text
compares the moments. Both come back as aware datetimes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Dialect, Integer, Text, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from pipeline.core.errors import Refused

BIG_ID = BigInteger().with_variant(Integer, "sqlite")
"""A row number the database hands out; SQLite does so for INTEGER only."""


class Unstorable(Refused):
    """Text that not every database can hold, refused before it gets there."""

    def __init__(self) -> None:
        super().__init__("invalid_request", "text may contain neither NUL nor half of a surrogate pair")


class Moment(TypeDecorator[datetime]):
    """An aware datetime, stored and returned as UTC, to the microsecond. A naive one is a `ValueError`."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sqlite.DATETIME())
        return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment has a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text that came from outside. Raises `Unstorable` where PostgreSQL could not hold it either."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and ("\0" in value or not encodable(value)):
            raise Unstorable
        return value


class Numbers(TypeDecorator[tuple[int, ...]]):
    """A short tuple of whole numbers, as a JSON list in text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(list(value), separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[int, ...] | None:
        return None if value is None else tuple(int(number) for number in json.loads(value))


def encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class UtcNow(FunctionElement[datetime]):
    """The database's own clock, as a `Moment` lies in a column; for defaults of rows written by hand."""

    type = Moment()
    inherit_cache = True


@compiles(UtcNow, "sqlite")
def _sqlite_now(element: UtcNow, compiler: SQLCompiler, **kw: object) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'"


@compiles(UtcNow, "postgresql")
def _postgresql_now(element: UtcNow, compiler: SQLCompiler, **kw: object) -> str:
    return "now()"


def name(column: str = "id") -> Column[str]:
    """A primary key of text."""
    return Column(column, Text, primary_key=True)


def words(column: str, default: str | None = "") -> Column[str]:
    """Text from outside, never NULL; `default=None` for one that has to be given."""
    return Column(
        column, Words, nullable=False, server_default=None if default is None else text(f"'{default}'")
    )


def nanos(column: str) -> Column[int]:
    """Money, never NULL, 0 at first."""
    return Column(column, BigInteger, nullable=False, server_default=text("0"))


def count(column: str, default: int = 0) -> Column[int]:
    return Column(column, BigInteger, nullable=False, server_default=text(str(default)))


def moment(column: str) -> Column[Any]:
    """A moment that may not have come yet."""
    return Column(column, Moment)


def written(column: str = "created_at") -> Column[Any]:
    """When the row was written, by the database's clock unless told."""
    return Column(column, Moment, nullable=False, server_default=UtcNow())


def check(condition: str, label: str) -> CheckConstraint:
    return CheckConstraint(condition, name=f"ck_{label}")
