"""Memories and marks, on both databases."""

from dataclasses import replace
from datetime import date

from sqlalchemy import text

from pipeline.core.memory import Finding
from storage import memories, personas
from storage.db import Database
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
