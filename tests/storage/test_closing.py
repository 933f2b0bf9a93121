"""An account is deleted in statements that each do a bounded amount of work."""

from __future__ import annotations

import pytest
from sqlalchemy import event, insert

from storage import charges, closing
from storage.db import Database
from storage.tables import call_cost_events as tiles
from tests.storage.world import NOON, call, person, rows


async def test_no_single_statement_removes_all_tiles_of_an_account(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL a statement may take two seconds: as long as there is a most, an account can be too large."""
    monkeypatch.setattr(charges, "CALLS_AT_ONCE", 2)
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)
        mine, theirs = [await call(tx, user) for _ in range(5)], await call(tx, other)
        bought = {"line": "llm:m:token_in", "from_qty": 0, "to_qty": 1, "nano": 1, "seq": 1, "second": 0}
        await tx.execute(insert(tiles), [{**bought, "call_id": row.id} for row in (*mine, theirs)])
    removed: list[tuple[str, int]] = []
    async with database.write() as tx:

        def executed(_connection: object, cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("DELETE FROM"):
                removed.append((statement.split()[2], getattr(cursor, "rowcount", -1)))

        event.listen(tx.sync_connection, "after_cursor_execute", executed)
        assert await closing.close(tx, user.id, NOON)
    of_tiles = [count for table, count in removed if table == "call_cost_events"]
    assert of_tiles == [2, 2, 1]
    assert [table for table, _ in removed if table in {"call_cost_events", "users"}][-1] == "users"
    assert await rows(database, "SELECT call_id FROM call_cost_events") == [(theirs.id,)]
