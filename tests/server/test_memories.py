"""What a persona remembers of me over REST, and that no two people or personas ever share a byte of it."""

from __future__ import annotations

import random
from datetime import date
from typing import get_args

import pytest

from pipeline.core.effects import Learned, Unlearned
from pipeline.core.memory import MOST_FACTS, Finding, Kind
from server import remembering
from server.calls import casting
from storage import calls, memories, personas
from storage.records import CallRow
from tests.server.rig import Person, Rig
from tests.server.test_calls import stored_call

SAID_ON = "2026-11-23"
PAIRS = 1_000


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


async def taught(rig: Rig, call: CallRow, *findings: Finding) -> None:
    async with rig.parts.database.write() as tx:
        await remembering.keep(tx, call.id, Learned(SAID_ON, findings), rig.clock.utc())


async def items(person: Person, persona: str = "brad") -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await person.get(f"/api/personas/{persona}/memories")).json()["items"]
    return found


async def texts(person: Person, persona: str = "brad") -> set[object]:
    return {item["text"] for item in await items(person, persona)}


INTERVIEW = Finding("fact", "My interview is on Tuesday", "interview", 4)
ANN = Finding("fact", "My sister is called Ann", "sister's name")


async def test_what_a_call_taught_is_shown_with_where_it_comes_from(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    await taught(rig, call, INTERVIEW)
    [item] = await items(ann)
    assert item == {
        "id": item["id"], "kind": "fact", "text": INTERVIEW.text, "importance": 4, "call_id": call.id,
        "created_at": "2026-11-23T12:00:00Z", "updated_at": "2026-11-23T12:00:00Z",
    }  # fmt: skip
    assert (await ann.get(f"/api/calls/{call.id}")).json()["memory"] == "kept"
    assert await texts(ann, "sarah") == set(), "Sarah was not told"


async def test_keeping_a_call_again_changes_nothing(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    await taught(rig, call, INTERVIEW, ANN)
    before = await items(ann)
    rig.clock.move(60)
    await taught(rig, call, INTERVIEW, ANN)
    assert await items(ann) == before


async def test_why_nothing_was_remembered_is_shown(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    async with rig.parts.database.write() as tx:
        await remembering.keep(tx, call.id, Unlearned("money"), rig.clock.utc())
        await remembering.keep(tx, "no-such-call", Unlearned("money"), rig.clock.utc())
    assert (await ann.get(f"/api/calls/{call.id}")).json()["memory"] == "money"


async def test_i_write_correct_and_forget(rig: Rig, ann: Person) -> None:
    written = await ann.post("/api/personas/brad/memories", {"text": ' I like "trains" '})
    assert written.status_code == 201, written.text
    mine = written.json()
    assert (mine["text"], mine["call_id"], mine["kind"]) == ('I like "trains"', None, "fact")
    again = await ann.post("/api/personas/brad/memories", {"text": "i like trains"})
    assert again.json()["id"] == mine["id"]
    path = f"/api/personas/brad/memories/{mine['id']}"
    rig.clock.move(60)
    changed = (await ann.ask("PATCH", path, {"text": "I like ships"})).json()
    assert (changed["id"], changed["text"]) == (mine["id"], "I like ships")
    assert changed["updated_at"] > mine["updated_at"]
    assert (await ann.ask("DELETE", path)).status_code == 204
    assert (await ann.ask("DELETE", path)).status_code == 404
    assert (await ann.ask("PATCH", path, {"text": "x"})).status_code == 404


async def test_deleted_facts_never_return_but_by_my_own_hand(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    thread = Finding("thread", "the interview on Tuesday")
    await taught(rig, call, INTERVIEW, ANN, thread)
    ids = {item["text"]: item["id"] for item in await items(ann)}
    assert (await ann.ask("DELETE", f"/api/personas/brad/memories/{ids[INTERVIEW.text]}")).status_code == 204
    assert await texts(ann) == {ANN.text}, "what is open named it"
    await taught(rig, call, INTERVIEW, thread, Finding("fact", "It is on Friday", "Interview"))
    assert await texts(ann) == {ANN.text}
    assert (await ann.ask("DELETE", "/api/personas/brad/memories")).status_code == 204
    await taught(rig, call, ANN, INTERVIEW)
    assert await items(ann) == []
    await ann.post("/api/personas/brad/memories", {"text": ANN.text})
    assert await texts(ann) == {ANN.text}


async def test_what_i_corrected_is_not_understood_wrongly_again(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    await taught(rig, call, Finding("fact", "My sister is called Anne", "sister's name"))
    [item] = await items(ann)
    await ann.ask("PATCH", f"/api/personas/brad/memories/{item['id']}", {"text": ANN.text})
    await taught(rig, call, Finding("fact", "My sister is called Anne", "sister's name"))
    assert await texts(ann) == {ANN.text}
    await taught(rig, call, Finding("fact", "My sister is called Joan", "sister's name"))
    assert await texts(ann) == {"My sister is called Joan"}, "the subject goes on"


async def test_there_are_never_too_many_and_they_are_paged(rig: Rig, ann: Person) -> None:
    for number in range(MOST_FACTS + 5):
        await ann.post("/api/personas/brad/memories", {"text": f"fact {number}"})
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await ann.get(f"/api/personas/brad/memories?limit=20{cursor}")).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == MOST_FACTS


@pytest.mark.parametrize("text", ["", "   ", "x" * 201, "a\0b", 7, None])
async def test_what_is_no_memory_is_refused(ann: Person, text: object) -> None:
    assert (await ann.post("/api/personas/brad/memories", {"text": text})).status_code == 422


async def test_there_is_nothing_of_personas_that_are_not_there(ann: Person) -> None:
    for method, body in (("GET", None), ("POST", {"text": "x"}), ("DELETE", None)):
        assert (await ann.ask(method, "/api/personas/nobody/memories", body)).status_code == 404


async def test_nobody_reaches_anothers_memories(rig: Rig, ann: Person) -> None:
    mine = (await ann.post("/api/personas/brad/memories", {"text": "mine"})).json()
    ben = await rig.register("ben@example.com")
    path = f"/api/personas/brad/memories/{mine['id']}"
    assert (await ben.ask("PATCH", path, {"text": "x"})).status_code == 404
    assert (await ben.ask("DELETE", path)).status_code == 404
    assert (await ann.ask("DELETE", f"/api/personas/sarah/memories/{mine['id']}")).status_code == 404
    await ben.ask("DELETE", "/api/personas/brad/memories")
    assert await texts(ann) == {"mine"}


async def test_an_account_leaves_no_memory_behind(rig: Rig, ann: Person) -> None:
    mine = (await ann.post("/api/personas/brad/memories", {"text": "mine"})).json()
    await ann.ask("DELETE", f"/api/personas/brad/memories/{mine['id']}")
    await ann.post("/api/personas/brad/memories", {"text": "other"})
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    async with rig.parts.database.read() as tx:
        assert await memories.of(tx, ann.id, "brad") == []
        assert await memories.marks(tx, ann.id, "brad") == frozenset()


async def test_a32_no_prompt_of_a_thousand_pairs_has_a_byte_of_another(rig: Rig) -> None:
    """Each pair of person and persona has words of its own; a prompt has its own and no others."""
    chance = random.Random(32)
    people = [await rig.register(f"p{number}@example.com") for number in range(12)]
    secrets: dict[tuple[str, str], str] = {}
    async with rig.parts.database.write() as tx:
        who = await personas.all(tx)
        for person in people:
            for persona in who:
                secret = f"canary{chance.getrandbits(64):016x}"
                secrets[person.id, persona.id] = secret
                for kind in get_args(Kind):
                    await memories.add(
                        tx, person.id, persona.id, Finding(kind, f"{kind} {secret}"),
                        said_on=date(2026, 11, 23), call_id=None, now=rig.clock.utc(),
                    )  # fmt: skip
                await personas.put_relationship(
                    tx, person.id, persona.id, kind="friend", notes=f"note {secret}"
                )
    async with rig.parts.database.read() as tx:
        for _ in range(PAIRS):
            person, persona = chance.choice(people), chance.choice(who)
            part = casting.Part(
                persona, "Ann", await personas.relationship(tx, person.id, persona.id),
                memories=tuple(await memories.of(tx, person.id, persona.id)), today=date(2026, 11, 24),
            )  # fmt: skip
            known = casting.remember(part, rig.parts.settings)
            prompt = "\n".join(layer.text for layer in casting.layers(part)) + repr(known)
            assert prompt.count(secrets[person.id, persona.id]) >= 4
            assert prompt.count("canary") == prompt.count(secrets[person.id, persona.id])


async def test_remembering_can_be_turned_off(rig: Rig) -> None:
    async with rig.parts.database.read() as tx:
        [brad, *_] = await personas.all(tx)
    part = casting.Part(brad, "Ann", today=date(2026, 11, 24))
    assert casting.remember(part, rig.parts.settings) is not None
    off = rig.parts.settings.model_copy(update={"remember_calls": False})
    assert casting.remember(part, off) is None


async def test_deleting_a_call_row_that_is_gone_is_no_fault(rig: Rig) -> None:
    async with rig.parts.database.write() as tx:
        assert await calls.get(tx, "gone") is None
        await remembering.keep(tx, "gone", Learned(SAID_ON, (ANN,)), rig.clock.utc())
