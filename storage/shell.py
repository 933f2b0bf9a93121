"""SQL typed by a person, run with bound parameters: what `callmeback sql` does.

Parameters are `:name` or `?`, never text pasted into the statement. Several statements run in one transaction.
What comes back is plain JSON: moments as ISO 8601, exact numbers as strings, bytes in hex.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from pipeline.core.errors import CallMeBackError
from storage.db import Database, Tx

Parameter = str | int | float | bool | None
Json = str | int | float | bool | None
Row = dict[str, Json]

# Comments and quoted text hold no parameters and end no statement.
_TOKEN = re.compile(
    r"""
    --[^\n]* | /\*.*?\*/                                 # comments
  | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`            # text and quoted names
  | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$                      # PostgreSQL's dollar quotes
  | ::                                                   # PostgreSQL's casts
  | :(?P<name>[A-Za-z_]\w*) | (?P<place>\?) | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)


class SqlError(CallMeBackError):
    """The statement is wrong, or the database refused it; says which in the database's words."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the driver wants it, with its values in order."""

    text: str
    values: tuple[Parameter, ...]


async def run_sql(
    database: Database, text: str, parameters: Mapping[str, Parameter] | Sequence[Parameter] = ()
) -> list[Row]:
    """The rows of all statements, in order. Raises `SqlError`, and `DatabaseDown` when the database is away.

    On SQLite a single SELECT reads beside a running server; everything else takes the writer's lock for a moment.
    """
    statements = list(split(text, parameters, database.dialect))
    reads = database.dialect == "sqlite" and len(statements) == 1 and _only_reads(statements[0])
    rows: list[Row] = []
    try:
        async with database.read() if reads else database.write() as tx:
            for statement in statements:
                rows += await _run(tx, statement)
    except SQLAlchemyError as error:
        raise SqlError(str(getattr(error, "orig", None) or error)) from error
    return rows


def split(
    text: str,
    parameters: Mapping[str, Parameter] | Sequence[Parameter],
    dialect: Literal["sqlite", "postgresql"],
) -> Iterator[Statement]:
    """The statements of a text. Raises `SqlError` for a parameter that is missing or left over."""
    named = parameters if isinstance(parameters, Mapping) else {}
    placed = () if isinstance(parameters, Mapping) else tuple(parameters)
    used: set[str] = set()
    taken = 0
    out, values, done = "", list[Parameter](), 0
    for token in _TOKEN.finditer(text):
        out += text[done : token.start()]
        done = token.end()
        name = token["name"]
        if name is not None or (token["place"] and (placed or dialect == "sqlite")):
            if name is None:
                if taken >= len(placed):
                    raise SqlError(f"{len(placed)} values for more question marks")
                value = placed[taken]
                taken += 1
            elif name in named:
                value = named[name]
                used.add(name)
            else:
                raise SqlError(f"no value for :{name}")
            values.append(value)
            out += "?" if dialect == "sqlite" else f"${len(values)}"
        elif token["end"] and (dialect == "postgresql" or sqlite3.complete_statement(f"{out};")):
            if _TOKEN.sub("", out).strip():
                yield Statement(out.strip(), tuple(values))
            out, values = "", []
        else:
            out += token[0]
    out += text[done:]
    if _TOKEN.sub("", out).strip() or values:
        yield Statement(out.strip(), tuple(values))
    if len(used) < len(named) or taken < len(placed):
        left = sorted(named.keys() - used) or [str(value) for value in placed[taken:]]
        raise SqlError(f"not used: {', '.join(left)}")


def _only_reads(statement: Statement) -> bool:
    return statement.text.lstrip("(").split(None, 1)[0].upper() in {"SELECT", "VALUES", "EXPLAIN"}


async def _run(tx: Tx, statement: Statement) -> list[Row]:
    result = await tx.exec_driver_sql(statement.text, statement.values)
    if not result.returns_rows:
        return []
    return [{key: plain(value) for key, value in row.items()} for row in result.mappings()]


def plain(value: object) -> Json:
    """A value JSON can hold without loss."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value)
