"""One chain for both databases: what it makes, that it is safe to run by many, what it brings along."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

import storage
from storage import migrate_by_alembic
from storage.db import Database
from storage.migrate import latest, migrate, pending
from storage.tables import metadata
from tests.storage.world import rows

ROOT = Path(storage.__file__).parent.parent
SEARCH = ("turn_search", "turn_words", "uq_turn_words", "ix_call_turns_search")
RAW_USER = (
    "INSERT INTO users (id, email, password_hash, name, phone)"
    " VALUES ('u1', 'raw@example.com', 'h', 'Raw', '+12025550101')"
)


async def test_a_new_database_gets_every_version_once(empty_url: str) -> None:
    missing = await pending(empty_url)
    assert missing >= 4
    assert await migrate(empty_url) == missing
    assert await pending(empty_url) == 0
    assert await migrate(empty_url) == 0


def test_the_newest_version_is_found_without_alembic() -> None:
    """Which takes a good part of a server's start to load, and has nothing to do at most of them."""
    assert latest() == migrate_by_alembic.scripts().get_current_head()
    program = "import sys, server.calls.live, server.serving; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


async def test_the_chain_makes_the_tables_the_code_uses(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        # Of the search index only the databases know what it looks like; tests/storage/test_search.py uses it.
        ours = {"include_object": lambda _object, name, *_rest: not str(name).startswith(SEARCH)}
        return list(compare_metadata(MigrationContext.configure(connection, opts=ours), metadata))

    async with database.read() as tx:
        assert await tx.run_sync(differences) == []


async def test_every_table_of_the_design_is_there(database: Database) -> None:
    named = """
        users calls scheduled_calls token_blacklist user_credits credit_transactions user_budget_settings personas
        user_persona_relationships call_cost_breakdowns call_scenario_templates call_cost_events pricing call_turns
        memories stream_tokens credit_holds budget_periods phone_verifications nodes webhook_receipts consents
        opt_outs operator_losses audit_log jobs"""
    for name in named.split():
        await rows(database, f"SELECT * FROM {name} LIMIT 1")


async def test_two_processes_at_once_migrate_once(empty_url: str) -> None:
    program = (
        "import asyncio, sys; from storage.migrate import migrate; print(asyncio.run(migrate(sys.argv[1])))"
    )
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, empty_url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    answers = [await process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    applied = sorted(int(out) for out, _ in answers)
    assert applied[0] == 0 < applied[1]
    assert await pending(empty_url) == 0


async def test_the_settled_statements_run_unchanged(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(text(RAW_USER))
        await tx.execute(text("INSERT INTO calls (id, user_id, persona_id) VALUES ('c1', 'u1', 'brad')"))
        await tx.execute(text("UPDATE calls SET twilio_call_sid = 'CA1' WHERE id = 'c1'"))
    assert await rows(database, "SELECT id FROM users WHERE email = 'raw@example.com'") == [("u1",)]
    assert await rows(database, "SELECT twilio_call_sid, status FROM calls") == [("CA1", "queued")]
    assert len(await rows(database, "SELECT * FROM personas WHERE id = 'sarah'")) == 1


async def test_nobody_can_log_in_to_a_fresh_database(database: Database) -> None:
    assert await rows(database, "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE user_credits SET balance_nano = -1",
        "UPDATE user_credits SET held_nano = -1",
        "UPDATE user_credits SET held_nano = 6",
        "INSERT INTO budget_periods (user_id, key, limit_nano, spent_nano, held_nano) VALUES ('u1', 'k', 5, 3, 3)",
        "INSERT INTO budget_periods (user_id, key, held_nano) VALUES ('u1', 'k', -1)",
        "INSERT INTO user_budget_settings (user_id, daily_nano) VALUES ('u1', -1)",
        "INSERT INTO users (id, email, password_hash) VALUES ('u2', 'raw@example.com', 'h')",
        "INSERT INTO calls (id, user_id, persona_id) VALUES ('c1', 'nobody', 'brad')",
        "UPDATE pricing SET block_units = 0",
        "UPDATE pricing SET price_nano = -1",
    ],
)
async def test_the_database_itself_refuses_impossible_rows(database: Database, change: str) -> None:
    async with database.write() as tx:
        await tx.execute(text(RAW_USER))
        await tx.execute(text("INSERT INTO user_credits (user_id, balance_nano) VALUES ('u1', 5)"))
    with pytest.raises(IntegrityError):
        async with database.write() as tx:
            await tx.execute(text(change))
