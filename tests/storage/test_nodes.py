"""Which nodes run: told from a lock that goes with the process, however it ends."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from storage.db import Database, DatabaseDown
from storage.nodes import KEPT_S, LEASE_S, expired, forget_old, hold_node, is_alive, renew
from storage.tables import nodes

Pair = tuple[Database, Database]

KILL = text(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
)


async def alive(database: Database, node: str) -> bool:
    async with database.read() as tx:
        return await is_alive(tx, node)


async def killed(database: Database) -> None:
    """As the database sees kill -9: every connection that holds such a lock is gone."""
    async with database.write() as tx:
        assert [bool(done) for (done,) in await tx.execute(KILL)] == [True]


async def test_a_node_is_alive_for_as_long_as_it_holds_its_lock(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    async with hold_node(theirs, "a"):
        assert await alive(ours, "a")
        assert await alive(ours, "a"), "asking does not take it"
        assert not await alive(ours, "b")
        # Other work of that node uses other connections.
        assert await alive(theirs, "a")
    assert not await alive(ours, "a")


async def test_a_killed_node_is_dead_at_once_and_a_cut_connection_is_made_anew(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    async with hold_node(theirs, "a") as lock:
        await lock.take()
        await killed(ours)
        assert not await alive(ours, "a")
        with pytest.raises(DatabaseDown):
            await lock.take()
        await lock.take()
        assert await alive(ours, "a")
    assert not await alive(ours, "a")


async def test_a_node_that_cannot_say_so_does_not_start(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    async with hold_node(theirs, "a"):
        with pytest.raises(DatabaseDown):  # the same name twice: the lock's patience is a second
            async with hold_node(ours, "a"):
                raise AssertionError
        assert await alive(ours, "a")


async def test_asking_leaves_nothing_behind(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    await asyncio.gather(*(alive(ours, f"n{number}") for number in range(20)))
    async with theirs.read() as tx:
        held = (
            await tx.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
        ).scalar_one()
    assert held == 0


async def test_on_sqlite_every_other_node_is_dead(migrated_sqlite: str) -> None:
    database = Database.open(migrated_sqlite)
    async with hold_node(database, "a") as lock:
        await lock.take()
        assert not await alive(database, "b")
    await database.aclose()


# -- leases ----------------------------------------------------------------------------


async def aged(database: Database, node: str, seconds: float) -> None:
    """The node's latest sign of life is so much older."""
    async with database.write() as tx:
        at = (await tx.execute(select(nodes.c.heartbeat_at).where(nodes.c.boot_id == node))).scalar_one()
        older = update(nodes).where(nodes.c.boot_id == node)
        await tx.execute(older.values(heartbeat_at=at - timedelta(seconds=seconds)))


async def out(database: Database, *asked: str) -> set[str]:
    async with database.read() as tx:
        return await expired(tx, asked)


async def test_a_lease_runs_out_by_the_databases_clock_and_begins_anew(database: Database) -> None:
    async with hold_node(database, "a"), hold_node(database, "b"):
        assert await out(database, "a", "b", "never was") == {"never was"}
        assert await out(database) == set()
        await aged(database, "a", LEASE_S - 2)
        assert await out(database, "a", "b") == set()
        await aged(database, "a", 3)
        assert await out(database, "a", "b") == {"a"}
        async with database.write() as tx:
            await renew(tx, "a")
        assert await out(database, "a", "b") == set()


async def test_a_clock_set_back_a_little_makes_it_longer_and_one_that_jumped_ends_it(
    database: Database,
) -> None:
    async with hold_node(database, "a"):
        await aged(database, "a", -5)
        assert await out(database, "a") == set()
        await aged(database, "a", -3_600)
        assert await out(database, "a") == {"a"}


async def test_whoever_leaves_in_good_order_is_gone_at_once_and_who_does_not_is_kept_for_a_day(
    database: Database,
) -> None:
    async with hold_node(database, "a"):
        pass
    with pytest.raises(ValueError, match="a fault"):
        async with hold_node(database, "b"):
            raise ValueError("a fault")
    assert await out(database, "a", "b") == {"a"}
    async with database.write() as tx:
        await forget_old(tx)
    assert await out(database, "b") == set()
    await aged(database, "b", KEPT_S)
    async with database.write() as tx:
        await forget_old(tx)
        assert (await tx.execute(select(nodes.c.boot_id))).all() == []
