"""What every bus does: within one process, and over PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
from sqlalchemy import text

from pipeline.clock import Clock
from server.nodes.bus import Bus, LocalBus, PostgresBus, Wire, Word
from storage.db import Database
from tests.simulation.loop import Gate
from tests.simulation.neighbourhood import Home, Neighbourhood


@dataclass
class Ear:
    """Remembers what it heard."""

    words: list[Word] = field(default_factory=list)
    looks: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, word: Word) -> None:
        self.words.append(word)
        self.changed.set()

    def catch_up(self) -> None:
        self.looks += 1
        self.changed.set()

    async def until(self, words: int = 0, looks: int = 0) -> None:
        async with asyncio.timeout(60):
            while len(self.words) < words or self.looks < looks:
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Node:
    bus: Bus
    ear: Ear


@pytest.fixture(params=["local", "simulated", "postgresql"])
async def buses(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bus, Bus]]:
    if request.param == "local":
        wire = Wire()
        yield LocalBus("a", wire), LocalBus("b", wire)
        return
    if request.param == "simulated":
        street = Neighbourhood()
        homes = [Home(street, Gate(name), Random(1), lambda: None) for name in ("a", "b")]
        yield homes[0].bus("a"), homes[1].bus("b")
        return
    url = request.getfixturevalue("migrated_postgres")
    one, other = Database.open(url), Database.open(url)
    yield PostgresBus("a", one, Clock()), PostgresBus("b", other, Clock())
    await one.aclose()
    await other.aclose()


@asynccontextmanager
async def listening(*buses: Bus) -> AsyncIterator[list[Node]]:
    nodes = [Node(bus, Ear()) for bus in buses]
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for node in nodes:
            running = tasks.create_task(node.bus.run(node.ear))
            stack.callback(running.cancel)
        for node in nodes:
            await node.ear.until(looks=1)
        yield nodes


async def test_a_word_to_one_node_is_heard_there_and_nowhere_else(buses: tuple[Bus, Bus]) -> None:
    async with listening(*buses) as (a, b):
        await a.bus.tell(Word("mail", "call-1", {"n": 1}), to="b")
        await a.bus.tell(Word("drain", "b"))
        await b.ear.until(words=2)
        await a.ear.until(words=1)
    assert b.ear.words == [Word("mail", "call-1", {"n": 1}, "a"), Word("drain", "b", {}, "a")]
    assert a.ear.words == [Word("drain", "b", {}, "a")], "to all means to oneself too"


async def test_words_of_one_node_keep_their_order_short_and_long(buses: tuple[Bus, Bus]) -> None:
    """A long one does not fit in a notification of PostgreSQL; neither do many characters of several bytes."""
    said = ["1", "x" * 20_000, "3", "漢" * 3_000, "5"]
    async with listening(*buses) as (a, b):
        for item in said:
            await a.bus.tell(Word("news", "call-1", {"text": item}), to="b")
        await b.ear.until(words=len(said))
    assert [word.data["text"] for word in b.ear.words] == said


async def test_what_words_carry_arrives_as_it_was(buses: tuple[Bus, Bus]) -> None:
    data = {"text": 'O\'Hara "q" \\ $1 %s\n', "list": [1, None, True, {"deep": "é😀"}], "number": 2**53}
    async with listening(*buses) as (a, b):
        await a.bus.tell(Word("news", "call-1", data), to="b")
        await b.ear.until(words=1)
    assert b.ear.words[0].data == data


async def test_a_word_to_a_node_that_is_not_there_is_no_error(buses: tuple[Bus, Bus]) -> None:
    async with listening(buses[0]) as (a,):
        await a.bus.tell(Word("mail", "call-1"), to="b")
        await a.bus.tell(Word("mail", "call-2"), to="a")
        await a.ear.until(words=1)
    assert [word.about for word in a.ear.words] == ["call-2"]


@pytest.mark.slow
async def test_after_a_lost_connection_a_node_listens_again_and_is_told_to_look(
    migrated_postgres: str,
) -> None:
    one, other = Database.open(migrated_postgres), Database.open(migrated_postgres)
    async with listening(PostgresBus("a", one, Clock()), PostgresBus("b", other, Clock())) as (a, b):
        async with one.write() as tx:
            cut = await tx.execute(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            assert cut.scalar_one() >= 2
        await b.ear.until(looks=2)
        await a.ear.until(looks=2)
        await a.bus.tell(Word("mail", "call-1"), to="b")
        await b.ear.until(words=1)
    await one.aclose()
    await other.aclose()


async def test_what_is_no_word_is_passed_over(migrated_postgres: str) -> None:
    """Anybody with the database's password can notify."""
    database = Database.open(migrated_postgres)
    async with listening(PostgresBus("a", database, Clock())) as (a,):
        for junk in ("", "{", "[]", '{"kind": "mail"}', '{"parcel": "gone"}', "3"):
            async with database.write() as tx:
                await tx.execute(text("SELECT pg_notify('callmeback', :junk)"), {"junk": junk})
        await a.bus.tell(Word("mail", "call-1"))
        await a.ear.until(words=1)
    assert [word.about for word in a.ear.words] == ["call-1"]
    await database.aclose()
