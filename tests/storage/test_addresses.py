"""Where nodes are reached: only those that run are anywhere."""

from __future__ import annotations

from storage import addresses
from storage.db import Database
from storage.nodes import hold_node
from tests.storage.world import NOON

Pair = tuple[Database, Database]
URL = "http://10.0.0.5:8000"


async def url(database: Database, node: str) -> str | None:
    async with database.read() as tx:
        return await addresses.url_of(tx, node)


async def test_a_node_is_reached_while_it_runs_and_says_so(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    async with hold_node(theirs, "a"):
        assert await url(ours, "a") is None, "it has not said where"
        async with theirs.write() as tx:
            await addresses.announce(tx, "a", "http://old", "0.1", NOON)
            await addresses.announce(tx, "a", URL, "0.1", NOON)
        assert await url(ours, "a") == URL
        assert await url(ours, "b") is None
    assert await url(ours, "a") is None, "it is gone, however it went"


async def test_a_node_that_withdrew_is_nowhere(postgres_pair: Pair) -> None:
    ours, theirs = postgres_pair
    async with hold_node(theirs, "a"):
        async with theirs.write() as tx:
            await addresses.announce(tx, "a", URL, "0.1", NOON)
            await addresses.withdraw(tx, "a")
        assert await url(ours, "a") is None


async def test_a_node_can_be_told_to_drain(database: Database) -> None:
    async with database.write() as tx:
        assert not await addresses.drain(tx, "a"), "nobody knows it"
        assert not await addresses.is_draining(tx, "a")
        await addresses.announce(tx, "a", URL, "0.1", NOON)
        assert not await addresses.is_draining(tx, "a")
        assert await addresses.drain(tx, "a")
        assert await addresses.is_draining(tx, "a")
        await addresses.announce(tx, "a", URL, "0.1", NOON)
        assert not await addresses.is_draining(tx, "a"), "a start is a new beginning"


async def test_a_node_can_be_told_by_its_address(database: Database) -> None:
    async with database.write() as tx:
        await addresses.announce(tx, "a", URL, "0.1", NOON)
        await addresses.announce(tx, "b", "http://10.0.0.6:8000", "0.1", NOON)
        assert await addresses.drain_at(tx, URL) == 1
        assert await addresses.drain_at(tx, "http://elsewhere") == 0
        assert [await addresses.is_draining(tx, node) for node in ("a", "b")] == [True, False]
