"""A41: after an account is deleted, nothing of it is in any file the server owns, nor in its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.carriers.callee import Answer, HangUp, Script, Speak
from pipeline.engines.scripted import ScriptedThinker
from storage.db import insert
from storage.tables import memories
from tests.whole.rig import Person, World, scripted
from tests.whole.test_whole_call import HELLO, INTERVIEW, play

SAID, ANSWERED, WRITTEN, NAMED, KEPT = (
    "zebracanary",
    "quaggacanary",
    "okapicanary",
    "tapircanary",
    "narwhalcanary",
)


def holding(folder: Path, *canaries: str) -> set[tuple[str, str]]:
    """(file, canary) of every file with one in it, in whatever case."""
    return {
        (file.suffix or file.name, canary)
        for file in folder.rglob("*")
        if file.is_file()
        for canary in canaries
        if canary.encode() in file.read_bytes().lower()
    }


def named(folder: Path, call_id: str) -> set[str]:
    return {file.suffix for file in folder.rglob(f"{call_id}*")}


async def deleted(person: Person) -> None:
    """A call's books may still be open for a moment after its end."""
    while (answer := await person.ask("DELETE", "/api/me")).status == 409:
        assert answer.body["code"] == "call_in_progress"
    assert answer.status == 204, answer


def test_a41_nothing_of_a_deleted_account_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engines = scripted(
        (f"Hello {SAID} there.",), thinker=ScriptedThinker([f"Well, {ANSWERED}."], repeat=True)
    )

    async def story(world: World) -> None:
        person = await world.person(
            Script(Answer(300), (Speak(HELLO, 700), Speak(INTERVIEW, 700), Speak(HELLO, 700), HangUp()))
        )
        other = await world.person(Script(Answer(300), (HangUp(),)))
        assert (await person.ask("PATCH", "/api/me", {"name": f"Jo {NAMED}"})).status == 200
        new = {"title": "t", "prompt": "About {topic}."}
        scenario = (await person.ask("POST", "/api/scenarios", new)).body["id"]
        call_id = await person.call(
            context=f"about {WRITTEN}", scenario_id=scenario, variables={"topic": f"the {KEPT}"}
        )
        await person.follow(call_id)
        found = await person.ask("GET", f"/api/transcripts?q={SAID}")
        assert {item["call_id"] for item in found.body["items"]} == {call_id}
        async with world.parts.database.write() as tx:
            memory = {"id": "m1", "user_id": person.id, "persona_id": "sarah", "text": f"likes {KEPT}"}
            await tx.execute(insert(tx, memories).values(memory))
        canaries = (
            SAID,
            ANSWERED,
            WRITTEN,
            NAMED,
            KEPT,
            "p1@example.com",
            person.phone[1:],
            person.id,
            call_id,
        )
        before = holding(tmp_path, *canaries)
        assert {canary for _, canary in before} == set(canaries), "a scan that finds nothing proves nothing"
        assert any(suffix == ".journal" for suffix, _ in before)
        assert named(tmp_path, call_id) == {".journal", ".traffic", ".wav"}
        await deleted(person)
        assert holding(tmp_path, *canaries) == set()
        assert named(tmp_path, call_id) == set()
        assert (await other.ask("GET", "/api/me")).body["name"] == "Jo Doe"
        assert holding(tmp_path, "p2@example.com")

    play(tmp_path, story, engines=engines, record_calls=True)
    logged = "".join(capfd.readouterr()).lower()
    assert "account_deleted" in logged
    for canary in (SAID, ANSWERED, WRITTEN, NAMED, KEPT, "p1@example.com", "2025550101"):
        assert canary not in logged
