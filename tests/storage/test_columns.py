"""How values lie in columns: moments, text and defaults, alike on both databases."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text
from sqlalchemy.exc import StatementError

from storage import users
from storage.columns import Unstorable
from storage.db import Database
from storage.ids import new_id
from storage.tables import calls, nodes, webhook_receipts
from tests.storage.world import NASTY, NOON, call, person


async def test_moments_come_back_aware_and_compare_as_moments(database: Database) -> None:
    moments = {
        "early": datetime(2026, 11, 1, 1, 30, tzinfo=timezone(timedelta(hours=-4))),
        "noon": NOON,
        "later": NOON + timedelta(microseconds=1),
        "east": datetime(2026, 11, 24, 3, 0, tzinfo=timezone(timedelta(hours=9))),
    }
    async with database.write() as tx:
        await tx.execute(insert(nodes), [{"boot_id": key, "started_at": at} for key, at in moments.items()])
        started = (await tx.execute(select(nodes.c.boot_id, nodes.c.started_at))).all()
        found = {row.boot_id: row.started_at for row in started}
        assert found == moments
        assert {at.tzinfo for at in found.values()} == {UTC}
        ordered = (await tx.execute(select(nodes.c.boot_id).order_by(nodes.c.started_at))).scalars().all()
        assert ordered == sorted(moments, key=lambda key: moments[key])
        after = select(nodes.c.boot_id).where(nodes.c.started_at > NOON)
        assert set((await tx.execute(after)).scalars()) == {"later", "east"}


async def test_a_default_moment_is_the_databases_own(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(
            text("INSERT INTO users (id, email, password_hash) VALUES ('u', 'raw@example.com', 'h')")
        )
        await tx.execute(text("UPDATE users SET updated_at = CURRENT_TIMESTAMP"))
        user = await users.by_id(tx, "u")
    assert user is not None
    assert user.created_at.tzinfo is UTC
    assert abs(user.updated_at - user.created_at) < timedelta(seconds=2)
    assert (user.timezone, user.role, user.token_version, user.name) == ("UTC", "user", 0, "")


async def test_a_moment_without_a_zone_is_a_mistake(database: Database) -> None:
    async with database.write() as tx:
        with pytest.raises(StatementError, match="time zone"):
            await tx.execute(insert(nodes), {"boot_id": "b", "started_at": NOON.replace(tzinfo=None)})


async def test_price_ids_are_a_tuple(database: Database) -> None:
    async with database.write() as tx:
        placed = await call(tx, await person(tx))
        assert placed.price_ids
        assert (await tx.execute(select(calls.c.price_ids))).scalar_one() == placed.price_ids


# Everything but NUL and surrogates: PostgreSQL has no place for those.
storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(storable)
async def test_any_text_comes_back_as_it_went(database: Database, words: str) -> None:
    async with database.write() as tx:
        key = new_id() + words
        await tx.execute(insert(webhook_receipts), {"key": key})
        found = await tx.execute(select(webhook_receipts.c.key).where(webhook_receipts.c.key == key))
        assert found.scalars().all() == [key]


@pytest.mark.parametrize("bad", ["\0", NASTY + "\0", "\ud800", "a\udfffb"])
async def test_text_no_database_holds_is_refused_before_it(database: Database, bad: str) -> None:
    async def add() -> None:
        async with database.write() as tx:
            await tx.execute(insert(webhook_receipts), {"key": bad})

    with pytest.raises(Unstorable) as caught:
        await add()
    assert (caught.value.code, caught.value.status) == ("invalid_request", 422)
