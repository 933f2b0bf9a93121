"""Everything kept of one user, table by table, for the user to take along.

Found by the columns that say whose a row is, so a new table is in it without being listed here. Secrets are left
out, what proves who somebody is and hashes of what is there in words: they are not about them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, Table, select, tuple_

from pipeline.core.money import Nanos, usd
from storage.db import Database
from storage.tables import calls, metadata, users

CHUNK = 200
"""Rows read at a time, each time in a transaction of its own: whoever reads slowly holds nothing up."""

SECRET = frozenset(
    {
        "password_hash",
        "code_hash",
        "inbound_pin_hash",
        "token_hash",
        "session_jti",
        "jti",
        "idem_hash",
        "token_version",
        "number_hash",
        "prefix_hash",
        "network_hash",
    }
)
SECRET_TABLES = frozenset({"stream_tokens", "token_blacklist"})
"""Tables of nothing but secrets and the machine's own notes."""

SECTIONS: Mapping[str, str] = {
    "users": "profile",
    "call_turns": "transcripts",
    "credit_transactions": "ledger",
    "user_credits": "credit",
    "user_budget_settings": "budget",
    "user_persona_relationships": "relationships",
    "call_scenario_templates": "scenarios",
}
"""What a table is called for its owner, where that is not its own name."""


def tables() -> list[tuple[str, Table]]:
    """Every table that has rows of users, under its name in the export; the profile comes first."""
    found = [
        (SECTIONS.get(table.name, table.name), table)
        for table in metadata.sorted_tables
        if table.name not in SECRET_TABLES and _whose(table) is not None
    ]
    return sorted(found, key=lambda item: item[1] is not users)


async def rows(database: Database, table: Table, user_id: str) -> AsyncIterator[dict[str, Any]]:
    """The user's rows as JSON values: money as US dollars, moments as ISO 8601."""
    owned = _whose(table)
    assert owned is not None
    shown = [column for column in table.c if column.name not in SECRET]
    key = list(table.primary_key.columns)
    last: tuple[Any, ...] | None = None
    while True:
        query = _after(select(*shown, *(column.label(f"key_{n}") for n, column in enumerate(key))), key, last)
        async with database.read() as tx:
            found = (await tx.execute(query.where(owned(user_id)).limit(CHUNK))).all()
        for row in found:
            values = tuple(row)
            yield dict(_named(column.name, value) for column, value in zip(shown, values, strict=False))
            last = values[len(shown) :]
        if len(found) < CHUNK:
            return


def _after(query: Select[Any], key: list[Any], last: tuple[Any, ...] | None) -> Select[Any]:
    ordered = query.order_by(*key)
    return ordered if last is None else ordered.where(tuple_(*key) > tuple_(*last))


def _whose(table: Table) -> Any:
    """A condition on its rows, made from a user's id; None where nobody's."""
    if table is users:
        return lambda user_id: users.c.id == user_id
    if "user_id" in table.c:
        return lambda user_id: table.c.user_id == user_id
    if "call_id" in table.c:
        return lambda user_id: table.c.call_id.in_(_calls_of(user_id))
    for parent in {key.column.table for key in table.foreign_keys}:
        if "user_id" in parent.c:
            (link,) = [key for key in table.foreign_keys if key.column.table is parent]
            return lambda user_id: link.parent.in_(select(link.column).where(parent.c.user_id == user_id))
    return None


def _calls_of(user_id: str) -> Any:
    return select(calls.c.id).where(calls.c.user_id == user_id)


def _named(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_nano") or name == "nano":
        return name.removesuffix("nano") + "usd", None if value is None else usd(Nanos(value))
    return name, value.isoformat() if isinstance(value, datetime | date) else value
