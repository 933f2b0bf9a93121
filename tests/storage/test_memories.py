"""Memories and marks, on both databases."""

import re
from dataclasses import replace
from datetime import date
from functools import partial

from sqlalchemy import text

from pipeline.core.memory import Finding, Memory, is_forgotten, marks
from storage import memories, personas
from storage.db import Database, Tx
from storage.number_hashes import keying
from storage.records import Persona
from tests.storage.world import NASTY, NOON, call, later, person

DAY = date(2026, 11, 23)


async def test_memories_are_of_one_person_and_persona(database: Database) -> None:
    async with database.write() as tx:
        ann, ben = await person(tx), await person(tx)
        kept = await memories.add(
            tx, ann.id, "sarah", Finding("fact", NASTY, "a subject", 4), said_on=DAY, call_id=None, now=NOON
        )
        assert (kept.text, kept.subject, kept.importance, kept.said_on) == (NASTY, "a subject", 4, DAY)
        assert await memories.of(tx, ann.id, "sarah") == [kept]
        for user, persona in ((ann.id, "brad"), (ben.id, "sarah")):
            assert await memories.of(tx, user, persona) == []
            assert await memories.get(tx, user, persona, kept.id) is None
            await memories.put(tx, user, persona, replace(kept, text="theirs"))
            await memories.remove(tx, user, persona, [kept.id])
        assert await memories.get(tx, ann.id, "sarah", kept.id) == kept
        await memories.put(tx, ann.id, "sarah", replace(kept, text="new", updated_at=later(5)))
        assert (await memories.page(tx, ann.id, "sarah", None, 5)).items == [
            replace(kept, text="new", updated_at=later(5))
        ]
        await memories.remove(tx, ann.id, "sarah", [kept.id])
        assert await memories.of(tx, ann.id, "sarah") == []


async def test_marks_are_kept_once_and_lifted(database: Database) -> None:
    async with database.write() as tx:
        ann, ben = await person(tx), await person(tx)
        await memories.mark(tx, ann.id, "sarah", set(), NOON)
        for _ in range(2):
            await memories.mark(tx, ann.id, "sarah", {"a", "b"}, NOON)
        assert await memories.marks(tx, ann.id, "sarah") == {"a", "b"}
        assert await memories.marks(tx, ben.id, "sarah") == frozenset()
        await memories.unmark(tx, ben.id, "sarah", {"a"})
        await memories.unmark(tx, ann.id, "sarah", {"a"})
        assert await memories.marks(tx, ann.id, "sarah") == {"b"}


SISTER = Memory("1", "fact", "My sister is called Ann", "sister's name", 3, DAY, None, NOON, NOON)
TOLD = Finding("summary", "They spoke of Ann, their sister.")


async def test_a_mark_is_not_made_again_of_what_is_in_the_database(database: Database) -> None:
    """Whoever has the database has the ids and guesses the words; they lack the key."""
    async with database.write() as tx:
        ann = await person(tx)
        left = marks(memories.marker(tx, ann.id, "sarah"), SISTER)
        await memories.mark(tx, ann.id, "sarah", left, NOON)
        kept = {half for mark in await memories.marks(tx, ann.id, "sarah") for half in mark.split()}
        assert all(re.fullmatch("k[0-9a-f]{64}", half) for half in kept)
        guessed = marks(partial(memories.unkeyed, ann.id, "sarah"), SISTER)
        hashes = {half for mark in guessed for half in mark.split()}
        assert len(hashes) == len(kept) == 5
        assert kept.isdisjoint(hashes | {f"k{each}" for each in hashes})
        assert kept == set(map(keying(tx), hashes)), "with it they are made again"
        database.number_key.value = b"another" * 5
        assert kept.isdisjoint(map(keying(tx), hashes))


def test_the_key_is_put_to_what_older_versions_left() -> None:
    """Their hash, to the letter: `printf 'ann sarah\\ntext\\nmy sister' | sha256sum`."""
    assert memories.unkeyed("ann", "sarah", "text", "my sister") == (
        "d312d9f819873e2bbbf655e0090cd257601fc476d18e907dcf20182c4c2a5d91"
    )


async def left_by_an_older_version(tx: Tx, user_id: str, persona_id: str) -> None:
    left = marks(partial(memories.unkeyed, user_id, persona_id), SISTER)
    await memories.mark(tx, user_id, persona_id, left, NOON)


async def test_marks_of_an_older_version_get_the_key_and_hold(database: Database) -> None:
    async with database.write() as tx:
        ann, ben = await person(tx), await person(tx)
        for user, persona in ((ann, "sarah"), (ann, "brad"), (ben, "sarah")):
            await left_by_an_older_version(tx, user.id, persona)
        mark = memories.marker(tx, ann.id, "sarah")
        # A process of the new version deleted it too, while the older one still ran beside.
        await memories.mark(tx, ann.id, "sarah", marks(mark, SISTER), later(5))
        assert [await memories.key_some(tx, 5) for _ in range(4)] == [5, 5, 2, 0]
        assert await memories.marks(tx, ann.id, "sarah") == marks(mark, SISTER)
        for user, persona in ((ann, "brad"), (ben, "sarah")):
            theirs = memories.marker(tx, user.id, persona)
            held = await memories.marks(tx, user.id, persona)
            assert held == marks(theirs, SISTER)
            assert is_forgotten(theirs, TOLD, held)
            assert not is_forgotten(mark, TOLD, held)
    times = "SELECT DISTINCT created_at FROM forgotten WHERE persona_id = 'brad'"
    async with database.read() as tx:
        assert len((await tx.execute(text(times))).all()) == 1


async def test_a_row_written_by_hand_is_a_fact_of_an_unknown_day(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        await tx.execute(
            text("INSERT INTO memories (id, user_id, persona_id, text) VALUES ('m', :user, 'brad', 'x')"),
            {"user": ann.id},
        )
        [found] = await memories.of(tx, ann.id, "brad")
    assert (found.kind, found.subject, found.said_on) == ("fact", "", None)


async def test_what_became_of_a_call_is_kept_with_it(database: Database) -> None:
    async with database.write() as tx:
        row = await call(tx, await person(tx))
        await memories.remembered(tx, row.id, "kept")
    async with database.read() as tx:
        found = (await tx.execute(text("SELECT memory FROM calls"))).scalar_one()
    assert found == "kept"


async def test_a_persona_is_added_changed_and_removed_while_nobody_knows_it(database: Database) -> None:
    nora = Persona("nora", "Nora", "", "You are Nora.", "Hi.", "sarah", 70, 120, 15, 9, "companion")
    async with database.write() as tx:
        await personas.put(tx, nora)
        await personas.put(tx, replace(nora, name=NASTY))
        assert await personas.by_id(tx, "nora") == replace(nora, name=NASTY)
        ann = await person(tx)
        await personas.put_relationship(tx, ann.id, "nora", kind="k", notes="n", voice="alex", manner=NASTY)
        relation = await personas.relationship(tx, ann.id, "nora")
        assert (relation.voice, relation.manner) == ("alex", NASTY)
        assert not await personas.delete(tx, "nora")
        await tx.execute(text("DELETE FROM user_persona_relationships"))
        assert await personas.delete(tx, "nora")
        assert not await personas.delete(tx, "nora")


async def test_what_is_only_read_needs_no_transaction_that_writes(database: Database) -> None:
    """A call that is settled from the ledger is recast in a snapshot."""
    async with database.read() as tx:
        assert await memories.of(tx, "nobody", "sarah", lock=False) == []
