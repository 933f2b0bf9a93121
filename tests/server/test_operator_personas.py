"""Personas of the operator: over REST, from files, and in effect in calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import CallMeBackError
from pipeline.engines.scripted import LoudnessActivity, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.ports import Engines
from server.calls import casting
from server.personas import BadSheet, read, written
from server.settings import Settings
from storage import personas, users
from tests.server.rig import Person, Rig

NORA: dict[str, Any] = {
    "id": "nora", "name": "Nora", "tagline": "Patient", "identity": "You are Nora.", "greeting": "Hello {name}.",
    "voicemail": "Nora rang. Bye.",
    "voice": "sarah", "model": "companion", "temperature_pct": 30, "reply_max_tokens": 64, "max_minutes": 7,
    "position": 9,
}  # fmt: skip


@pytest.fixture
async def admin(rig: Rig) -> Person:
    person = await rig.register("operator@example.com")
    async with rig.parts.database.write() as tx:
        await users.update(tx, person.id, role="admin")
    return person


async def test_the_operator_adds_changes_and_removes(rig: Rig, admin: Person) -> None:
    added = await admin.post("/api/admin/personas", NORA)
    assert (added.status_code, added.json()) == (201, NORA)
    assert (await admin.post("/api/admin/personas", NORA)).status_code == 422, "the id is taken"
    changed = await admin.ask("PATCH", "/api/admin/personas/nora", {"name": "Norah", "model": ""})
    assert changed.json() == {**NORA, "name": "Norah", "model": ""}
    listed = (await admin.get("/api/admin/personas")).json()["items"]
    assert [each["id"] for each in listed] == ["brad", "sarah", "alex", "nora"]
    assert (await admin.ask("DELETE", "/api/admin/personas/nora")).status_code == 204
    assert (await admin.ask("DELETE", "/api/admin/personas/nora")).status_code == 404
    assert (await admin.ask("PATCH", "/api/admin/personas/nora", {"name": "N"})).status_code == 404


async def test_one_that_people_know_stays(rig: Rig, admin: Person) -> None:
    await admin.post("/api/admin/personas", NORA)
    await admin.post("/api/personas/nora/memories", {"text": "I like ships"})
    refused = await admin.ask("DELETE", "/api/admin/personas/nora")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_request")


async def test_everybody_else_finds_nothing_there(rig: Rig) -> None:
    ann = await rig.register()
    for method, path, body in (
        ("GET", "/api/admin/personas", None),
        ("POST", "/api/admin/personas", NORA),
        ("PATCH", "/api/admin/personas/brad", {"name": "x"}),
        ("DELETE", "/api/admin/personas/brad", None),
    ):
        assert (await ann.ask(method, path, body)).status_code == 404, method
    async with rig.parts.database.read() as tx:
        assert len(await personas.all(tx)) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("voice", "nobody"), ("model", "unheard-of"), ("id", "No Spaces"), ("temperature_pct", 201),
        ("max_minutes", 0), ("identity", " "), ("reply_max_tokens", 2),
    ],
)  # fmt: skip
async def test_what_this_server_cannot_follow_is_refused(admin: Person, field: str, value: object) -> None:
    refused = await admin.post("/api/admin/personas", {**NORA, field: value})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_a_file_of_personas_comes_back_as_it_was(tmp_path: Path) -> None:
    file, toml = tmp_path / "personas.json", tmp_path / "personas.toml"
    file.write_text(json.dumps([NORA]), encoding="utf-8")
    found = read(file, Settings())
    file.write_text(written(found), encoding="utf-8")
    assert read(file, Settings()) == found
    toml.write_text(
        '[[persona]]\nid = "nora"\nname = "Nora"\nidentity = "You are Nora."\ngreeting = "Hi."\nvoice = "alex"\n',
        encoding="utf-8",
    )
    [nora] = read(toml, Settings())
    assert (nora.voice, nora.max_minutes, nora.model) == ("alex", 15, "")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "a.json"),
        ("a.json", "[]", "holds no personas"),
        ("a.toml", "x = 1", "holds no personas"),
        (
            "a.json",
            json.dumps([{**NORA, "voice": "nobody"}]),
            "persona 1: voice: no such voice; there are alex",
        ),
        ("a.json", json.dumps([NORA, {**NORA, "name": 7}]), "persona 2: name"),
        ("a.json", json.dumps([NORA, NORA]), "nora is there twice"),
        ("a.json", json.dumps([{**NORA, "more": 1}]), "more"),
    ],
)
def test_a_bad_file_says_where_and_why(tmp_path: Path, name: str, text: str, says: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadSheet, match=says) as caught:
        read(file, Settings())
    assert isinstance(caught.value, CallMeBackError)


async def test_a_voice_and_a_manner_of_ones_own(rig: Rig) -> None:
    ann = await rig.register()
    path = "/api/personas/brad/relationship"
    told = {"kind": "coach", "notes": "n", "voice": "Alex", "manner": 'dry "and" brief'}
    assert (await ann.ask("PUT", path, told)).json() == {
        "persona_id": "brad", **told, "calls": 0, "last_call_at": None,
    }  # fmt: skip
    refused = await ann.ask("PUT", path, {"kind": "coach", "voice": "nobody"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "voice")
    async with rig.parts.database.read() as tx:
        brad = await personas.by_id(tx, "brad")
        relation = await personas.relationship(tx, ann.id, "brad")
    assert brad is not None
    part = casting.Part(brad, "Ann", relation)
    assert part.voice == "Alex"
    assert casting.Part(brad, "Ann").voice == "brad"
    [layer] = [layer.text for layer in casting.layers(part) if layer.name == "relationship"]
    assert layer.endswith("How they would like you to speak: \"dry 'and' brief\"")


def test_a_personas_own_model_speaks_first() -> None:
    first, second = ScriptedThinker(["a"], model="first"), ScriptedThinker(["b"], model="second")
    engines = Engines(
        LoudnessActivity(),
        ScriptedTranscriber([]),
        first,
        ScriptedSpeaker(),
        minds={"first": first, "second": second},
    )
    assert engines.thinking_with("second").thinker is second
    assert engines.thinking_with("").thinker is first
    assert engines.thinking_with("gone").thinker is first
