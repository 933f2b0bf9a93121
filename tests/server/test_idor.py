"""A21: every route with an id, walked with the ids of somebody else: the answer is that of an id that never was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.journal_file import SUFFIX
from server.routes import OPS
from server.routing import AnyOp
from storage import calls, ids, ledger, purchases, turns
from storage.db import insert
from storage.records import NewCall
from storage.tables import memories
from tests.server.rig import Person, Rig

EVERYBODYS = {"personas": "sarah"}
"""Ids that are everybody's: nobody's but theirs may be in the answer, which the tests of personas show."""

BODIES: Mapping[str, object] = {
    "ScenarioChange": {"title": "taken over"},
    "ScheduleChange": {"context": "taken over"},
    "MemoryText": {"text": "taken over"},
}


async def owned(rig: Rig, person: Person) -> dict[str, str]:
    """One of each thing that has an id, by the part of the path that names its kind."""
    scenario = (await person.post("/api/scenarios", {"title": "mine", "prompt": "canary"})).json()["id"]
    async with rig.parts.database.write() as tx:
        new = NewCall(
            id=ids.new_id(), user_id=person.id, persona_id="sarah", channel="browser", created_at=rig.clock.utc(),
            price_ids=(), owner="node",
        )  # fmt: skip
        call = await calls.create(tx, new)
        await turns.add(tx, call.id, 0, "caller", "canary", 0, 1, False)
        await calls.advance(tx, call.id, "completed", at=rig.clock.utc())
        await ledger.finalise(tx, call_id=call.id, epoch=1, now=rig.clock.utc())
        memory = {"id": ids.new_id(), "user_id": person.id, "persona_id": "sarah", "text": "canary"}
        await tx.execute(insert(tx, memories).values(memory))
        bought = await purchases.order(
            tx, user_id=person.id, pack="5", amount_cents=500, livemode=False, idem_key=None,
            twin_since=rig.clock.utc(), now=rig.clock.utc(),
        )  # fmt: skip
    left(rig, call.id)
    later = {"persona_id": "sarah", "at": "2026-12-24T18:00:00", "context": "canary"}
    return {
        "scenarios": scenario, "calls": call.id, "memories": str(memory["id"]), "purchases": bought.id,
        "scheduled-calls": (await person.post("/api/scheduled-calls", later)).json()["id"],
    }  # fmt: skip


def left(rig: Rig, call_id: str) -> None:
    for end in (SUFFIX, ".wav"):
        Path(rig.parts.settings.calls_dir / f"{call_id}{end}").write_text("canary")


def walked() -> list[AnyOp]:
    """Routes with an id that is somebody's. The operator's are hidden whatever the id, as the tests of those show."""
    return [op for op in OPS if kinds(op.path) - EVERYBODYS.keys() and not op.path.startswith("/api/admin/")]


def kinds(path: str) -> set[str]:
    """What the ids in it are of."""
    return set(re.findall(r"([\w-]+)/\{\w+\}", path))


def filled(path: str, mine: Mapping[str, str], other: str | None) -> str:
    """The path with the victim's ids, or with one that never was."""

    def ident(place: re.Match[str]) -> str:
        kind = path[: place.start()].rstrip("/").rsplit("/", 1)[-1]
        if kind in EVERYBODYS:
            return EVERYBODYS[kind]
        assert kind in mine, f"nothing of the kind of {path} is made here: add one to `owned`"
        return mine[kind] if other is None else other

    return re.sub(r"\{\w+\}", ident, path)


async def test_a21_every_route_hides_what_is_somebody_elses(rig: Rig) -> None:
    ann, bob = await rig.register(), await rig.register("bob@example.com")
    mine = await owned(rig, ann)
    assert len(walked()) >= 10
    for op in walked():
        body = None if op.body is None else BODIES.get(op.body.__name__, {})
        answers = {}
        for whose, path in (
            ("ann's", filled(op.path, mine, None)),
            ("nobody's", filled(op.path, mine, "f" * 32)),
        ):
            answer = await bob.ask(op.method, path, body)
            assert "canary" not in answer.text, (op.method, path)
            answers[whose] = (answer.status_code, answer.content)
        for near in (-1, 1):
            shifted = {kind: f"{int(ident, 16) + near:032x}" for kind, ident in mine.items()}
            answer = await bob.ask(op.method, filled(op.path, shifted, None), body)
            answers[f"near {near}"] = (answer.status_code, answer.content)
        assert len(set(answers.values())) == 1, (op.method, op.path, answers)
        # 503: with no desk in this rig a hang-up is refused for everybody alike.
        assert answers["ann's"][0] in {404, 503}, (op.method, op.path, answers)
    assert (await ann.get(f"/api/scenarios/{mine['scenarios']}")).json()["title"] == "mine"
    kept = (await ann.get("/api/personas/sarah/memories")).json()["items"]
    assert [(item["id"], item["text"]) for item in kept] == [(mine["memories"], "canary")]
    for path in (f"/api/calls/{mine['calls']}", f"/api/calls/{mine['calls']}/journal"):
        assert (await ann.get(path)).status_code == 200, "the victim's own ids do work"
