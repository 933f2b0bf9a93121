"""Searching transcripts, the same on both databases; and that what is removed is not found, nor left in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline.core.errors import Refused
from storage import calls, search, turns, users
from storage.db import Database, Tx
from storage.records import User
from storage.rows import encode_cursor
from storage.search import Found, Term
from tests.storage.world import NASTY, NOON, call, later, person, rows

DAY_S = 86_400.0


async def said(tx: Tx, user: User, *lines: str, day: float = 0) -> str:
    row = await call(tx, user, at=later(day * DAY_S))
    for index, line in enumerate(lines):
        await turns.add(
            tx,
            row.id,
            index,
            "agent" if index % 2 else "caller",
            line,
            index * 1000,
            index * 1000 + 900,
            False,
        )
    return row.id


async def found(database: Database, user: User, *terms: str, limit: int = 50) -> list[Found]:
    async with database.read() as tx:
        wanted = [Term(tuple(term.removesuffix("*").split()), term.endswith("*")) for term in terms]
        return (await search.turns(tx, user.id, wanted, None, limit)).items


async def texts(database: Database, user: User, *terms: str) -> set[str]:
    return {item.text for item in await found(database, user, *terms)}


async def test_all_words_have_to_be_there_in_any_case(database: Database) -> None:
    lines = (
        "My interview is on Tuesday.",
        "An INTERVIEW? Good luck!",
        "Tuesday, then.",
        "It's at 3.5 o'clock, e-mail me@there.org",
    )
    async with database.write() as tx:
        ann = await person(tx)
        await said(tx, ann, *lines)
    assert await texts(database, ann, "interview") == {lines[0], lines[1]}
    assert await texts(database, ann, "interview", "tuesday") == {lines[0]}
    assert await texts(database, ann, "interview is") == {lines[0]}
    assert await texts(database, ann, "is interview") == set()
    assert await texts(database, ann, "inter") == set()
    assert await texts(database, ann, "inter*") == {lines[0], lines[1]}
    for words in ("3 5", "o clock", "e mail", "there org", "me there"):
        assert await texts(database, ann, words) == {lines[3]}, words
    (item,) = await found(database, ann, "clock")
    assert (item.index, item.role, item.started_ms, item.called_at) == (3, "agent", 3000, NOON)


async def test_nobody_finds_what_others_said(database: Database) -> None:
    async with database.write() as tx:
        ann, bob = await person(tx), await person(tx)
        await said(tx, ann, "the canary sings")
    assert await texts(database, bob, "canary") == set()
    assert await texts(database, ann, "canary") == {"the canary sings"}


async def test_recent_calls_come_before_old_ones_and_pages_follow_each_other(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        for day in range(7):
            await said(tx, ann, f"day {day} of the diary", day=40 * day)
        await said(tx, ann, "nothing")
    whole = [item.text for item in await found(database, ann, "diary")]
    assert whole == [f"day {day} of the diary" for day in reversed(range(7))]
    pages, cursor = [], None
    async with database.read() as tx:
        while True:
            page = await search.turns(tx, ann.id, [Term(("diary",))], cursor, 3)
            pages.append([item.text for item in page.items])
            if (cursor := page.next_cursor) is None:
                break
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [text for page in pages for text in page] == whole
        for foreign in ("x", encode_cursor("nan a 1"), encode_cursor("1.0 a -1"), encode_cursor("1.0 \0 1")):
            with pytest.raises(Refused):
                await search.turns(tx, ann.id, [Term(("diary",))], foreign, 3)


async def test_a_better_match_comes_before_one_of_the_same_day(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        await said(
            tx,
            ann,
            "a long story in which a boat is named once among so many other words",
            "boat, boat, boat!",
            "no",
        )
    assert [item.index for item in await found(database, ann, "boat")] == [1, 0]


@pytest.mark.parametrize("how", ["turns", "call", "account"])
async def test_what_is_removed_is_found_no_more(database: Database, how: str) -> None:
    async with database.write() as tx:
        ann, bob = await person(tx), await person(tx)
        gone = await said(tx, ann, "a canary", "another")
        await said(tx, bob, "a canary of Bob's")
        match how:
            case "turns":
                await tx.execute(text("DELETE FROM call_turns WHERE call_id = :id"), {"id": gone})
            case "call":
                await tx.execute(text("DELETE FROM calls WHERE id = :id"), {"id": gone})
            case _:
                await users.delete(tx, ann.id)
        assert await calls.get(tx, gone) is None or how == "turns"
    assert await texts(database, ann, "canary") == set()
    assert await texts(database, bob, "canary") == {"a canary of Bob's"}
    if database.dialect == "sqlite":
        assert await rows(database, "SELECT count(*) FROM turn_words") == [(1,)]


async def test_a_changed_turn_is_found_by_its_new_words(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        await said(tx, ann, "the old words")
        await tx.execute(text("UPDATE call_turns SET text = 'the new words'"))
    assert await texts(database, ann, "old") == set()
    assert await texts(database, ann, "new") == {"the new words"}


async def test_any_line_can_be_kept_and_found(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        await said(tx, ann, NASTY, "")
    assert await texts(database, ann, "hara", "漢字") == {NASTY}


WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    terms=st.lists(
        st.builds(Term, st.lists(WORD, min_size=1, max_size=3).map(tuple), st.booleans()),
        min_size=1,
        max_size=3,
    )
)
async def test_no_terms_upset_the_database(database: Database, terms: list[Term]) -> None:
    async with database.read() as tx:
        assert (await search.turns(tx, "nobody", terms, None, 5)).items == []


async def test_the_index_of_postgresql_is_the_one_asked_for(postgres_pair: tuple[Database, Database]) -> None:
    async with postgres_pair[0].write() as tx:
        await tx.execute(text("SET LOCAL enable_seqscan = off"))
        query = f"EXPLAIN SELECT 1 FROM call_turns t WHERE {search._DOCUMENT} @@ to_tsquery('simple', 'x')"
        plan = "\n".join((await tx.execute(text(query))).scalars())
    assert "ix_call_turns_search" in plan


async def test_without_an_index_the_words_are_found_by_reading_all(migrated_sqlite: str) -> None:
    database = Database.open(migrated_sqlite)
    try:
        async with database.write() as tx:
            ann = await person(tx)
            assert await search.indexed(tx)
            for name in ("added", "changed", "removed"):
                await tx.execute(text(f"DROP TRIGGER turn_words_{name}"))
            await tx.execute(text("DROP TABLE turn_search"))
            await said(tx, ann, "the Canary sings", "silence")
            assert not await search.indexed(tx)
        assert await texts(database, ann, "canary", "sings") == {"the Canary sings"}
    finally:
        await database.aclose()


async def test_removed_words_leave_the_file(migrated_sqlite: str) -> None:
    database = Database.open(migrated_sqlite)
    try:
        async with database.write() as tx:
            ann, bob = await person(tx), await person(tx)
            for number in range(30):
                await said(tx, ann, f"xyzzycanary number{number}", "plain")
                await said(tx, bob, f"keepsake number{number}")
        async with database.write() as tx:
            await users.delete(tx, ann.id)
            await search.forget(tx)
        await database.scrub()
        kept = b"".join(
            path.read_bytes() for path in Path(migrated_sqlite.removeprefix("sqlite:///")).parent.iterdir()
        )
        assert b"keepsake" in kept
        assert b"xyzzycanary" not in kept
    finally:
        await database.aclose()
