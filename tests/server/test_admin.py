"""The operator's view over REST: what is shown, what is done, and that nobody else finds anything there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.engines.breaker import Breaker
from server.calls.live import open_desk
from server.metrics import ENGINE_BREAKERS
from server.money.auditing import Auditing
from server.nodes import health
from server.routes.admin import OPS
from storage import nodes, overview, users
from tests.server.rig import NOON, PHONE, LoopClock, Person, RecordingCarrier, Rig, running, settings
from tests.server.test_calls import close, stored_call
from tests.server.test_placing import SCRIPTED

GRANT = {"usd": "2.50", "key": "monday"}


async def promoted(rig: Rig) -> Person:
    person = await rig.register("operator@example.com")
    async with rig.parts.database.write() as tx:
        await users.update(tx, person.id, role="admin")
    return person


@pytest.fixture
async def admin(rig: Rig) -> Person:
    return await promoted(rig)


async def test_everybody_else_finds_nothing_there(rig: Rig) -> None:
    ann = await rig.register()
    bodies = {"Grant": GRANT, "Number": {"phone": PHONE}}
    for op in OPS:
        body = None if op.body is None else bodies[op.body.__name__]
        answer = await ann.ask(op.method, op.path.replace("{id}", ann.id), body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), op.path
        assert (await rig.http.request(op.method, op.path, json=body)).status_code == 401, op.path


async def test_calls_of_all_nodes_and_the_money_they_cost(rig: Rig, admin: Person) -> None:
    nothing = (await admin.get("/api/admin/overview")).json()
    assert (nothing["live_calls"], nothing["calls"], nothing["log"]) == (0, [], [])
    assert nothing["audit"] == {"waiting": False, "at": None, "result": None}
    assert (await admin.get("/api/admin/spend")).json()["days"] == []
    ann = await rig.register()
    call = await stored_call(rig, ann)
    found = (await admin.get("/api/admin/overview")).json()
    assert [(each["id"], each["email"], each["total_usd"]) for each in found["calls"]] == [
        (call.id, ann.email, "0.023")
    ]
    assert found["books"]["held_usd"] == "0.20"
    await close(rig, call)
    assert (await admin.get("/api/admin/overview")).json()["live_calls"] == 0
    spend = (await admin.get("/api/admin/spend")).json()
    assert (spend["today_usd"], spend["month_usd"]) == ("0.023", "0.023")
    assert spend["days"] == [{"day": NOON.date().isoformat(), "calls": 1, "usd": "0.023"}]
    assert [(each["service"], each["usd"]) for each in spend["services"]] == [
        ("carrier", "0.018"), ("stt", "0.005"),
    ]  # fmt: skip


async def test_credit_is_granted_once_and_on_record(rig: Rig, admin: Person) -> None:
    ann = await rig.register()
    found = (await admin.get("/api/admin/users?q=ANN%40")).json()["items"]
    assert [(each["email"], each["balance_usd"]) for each in found] == [("ann@example.com", "0.00")]
    assert (await admin.get("/api/admin/users?q=%25")).json()["items"] == [], "a sign means itself"
    path = f"/api/admin/users/{ann.id}/credit"
    for granted in (True, False):
        assert (await admin.post(path, GRANT)).json() == {"granted": granted, "balance_usd": "2.50"}
    for wrong in ("0", "-1", "much"):
        refused = await admin.post(path, {**GRANT, "usd": wrong})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "usd")
    assert (await admin.post("/api/admin/users/nobody/credit", GRANT)).status_code == 404
    (entry,) = (await admin.get("/api/admin/overview")).json()["log"]
    assert (entry["actor"], entry["action"], entry["subject"]) == (
        f"user:{admin.id}", "credit.granted", ann.id,
    )  # fmt: skip
    (grant,) = (await ann.get("/api/credits/transactions")).json()["items"]
    assert (grant["kind"], grant["amount_usd"]) == ("grant", "2.50")


async def test_the_books_are_audited_in_the_background(rig: Rig, admin: Person) -> None:
    asked = await admin.post("/api/admin/audit")
    assert (asked.status_code, asked.json()["waiting"]) == (202, True)
    assert (await admin.post("/api/admin/audit")).json()["waiting"]
    async with rig.parts.database.read() as tx:
        assert len(await overview.noted(tx, 5, "audit.asked")) == 1, "one is enough"
    await Auditing(rig.parts.database, rig.parts.clock)({})
    audit = (await admin.get("/api/admin/overview")).json()["audit"]
    assert (audit["result"]["ok"], audit["result"]["breaches"]) == (True, 0)


async def test_numbers_that_want_no_calls(tmp_path: Path) -> None:
    async with running(settings(tmp_path, **SCRIPTED), open_desk, RecordingCarrier(), LoopClock()) as rig:
        admin = await promoted(rig)
        look = "/api/admin/opt-outs/lookup"
        assert (await admin.post(look, {"phone": "+1 (202) 555-0142"})).json() == {
            "phone": PHONE, "opted_out": False,
        }  # fmt: skip
        assert (await admin.post("/api/admin/opt-outs", {"phone": PHONE})).status_code == 204
        assert (await admin.post(look, {"phone": PHONE})).json()["opted_out"]
        assert (await admin.post(look, {"phone": "142"})).json()["errors"][0]["field"] == "phone"
        found = (await admin.get("/api/admin/overview")).json()
        assert found["opt_outs"] == 1
        assert [(each["action"], each["subject"]) for each in found["log"]] == [
            ("opt_out.added", "number ending in 42")
        ]
        (node,) = found["nodes"]
        assert (node["alive"], node["here"], node["draining"]) == (True, True, False)


async def test_engines_of_every_node_that_lives(tmp_path: Path) -> None:
    """Of this one as they are now, of another as it said with its latest sign of life."""
    async with running(settings(tmp_path, **SCRIPTED), open_desk, RecordingCarrier(), LoopClock()) as rig:
        admin = await promoted(rig)
        said = json.dumps([{"name": "llm:far", "state": "open", "failures": 5, "openings": 1}])
        async with rig.parts.database.write() as tx:
            await nodes.renew(tx, "another", said)
            await nodes.renew(tx, "of another version", '{"engines": 1}')
            await nodes.renew(tx, "silent", said)
            await tx.execute(text("UPDATE nodes SET heartbeat_at = '2020-01-01' WHERE boot_id = 'silent'"))
        with watched({"llm:near": Breaker("llm:near", rig.clock)}):
            found = (await admin.get("/api/admin/overview")).json()
            own = next(node["id"] for node in found["nodes"] if node["here"])
            written = health.written()
    assert {(each["node"], each["name"], each["state"], each["failures"]) for each in found["engines"]} == {
        ("another", "llm:far", "open", 5),
        (own, "llm:near", "closed", 0),
    }
    assert [engine.name for engine in health.read(written)] == ["llm:near"]


async def test_engines_that_cannot_be_away_are_shown_too(tmp_path: Path) -> None:
    """The set-up without keys has no others."""
    async with running(settings(tmp_path, **SCRIPTED), open_desk, RecordingCarrier(), LoopClock()) as rig:
        admin = await promoted(rig)
        found = (await admin.get("/api/admin/overview")).json()["engines"]
    assert [(each["name"], each["state"], each["failures"], each["openings"]) for each in found] == [
        (f"{seam}:scripted", "built-in", 0, 0) for seam in ("llm", "stt", "tts")
    ]


@contextmanager
def watched(breakers: dict[str, Breaker]) -> Iterator[None]:
    before = ENGINE_BREAKERS.breakers
    ENGINE_BREAKERS.watch(breakers)
    try:
        yield
    finally:
        ENGINE_BREAKERS.watch(before)
