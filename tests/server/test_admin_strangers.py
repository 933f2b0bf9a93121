"""Strangers who ring, as the operator sees them: what they cost, who is not answered, and blocking by the call."""

from __future__ import annotations

from pathlib import Path

from tests.server.inbound.test_reception import OTHER, REJECTED, STRANGER, Caller, serving
from tests.server.rig import Rig
from tests.server.test_admin import promoted

PATH = "/api/admin/strangers"


async def test_only_an_operator_finds_them(rig: Rig) -> None:
    ann = await rig.register()
    for method, path in (
        ("GET", PATH), ("POST", f"{PATH}/x/block"), ("DELETE", "/api/admin/inbound-blocks/withheld"),
    ):  # fmt: skip
        assert (await ann.ask(method, path)).status_code == 404
    nothing = (await (await promoted(rig)).get(PATH)).json()
    assert (nothing["answered"], nothing["daily_usd"], nothing["left_today_usd"]) == (
        "everybody", "1.00", "1.00",
    )  # fmt: skip
    assert nothing["calls"] == nothing["blocks"] == nothing["days"] == []


async def test_what_they_cost_and_a_caller_blocked_by_the_call_and_answered_again(tmp_path: Path) -> None:
    async with serving(tmp_path, local_prices="list", inbound_trials_at_once=5) as rig:
        admin = await promoted(rig)
        callers = [Caller(rig, STRANGER), Caller(rig, "+266696687")]
        for caller in callers:
            await caller.rings()
            await caller.keys()
        found = (await admin.get(PATH)).json()
        assert {call["phone_last2"] for call in found["calls"]} == {"71", None}
        assert (found["month_calls"], found["held_usd"] != "0.00") == (2, True)
        assert float(found["left_today_usd"]) < 1.0
        for call in found["calls"]:
            assert call["blocked"] is False
            assert (await admin.post(f"{PATH}/{call['id']}/block")).status_code == 204
        assert (await admin.post(f"{PATH}/nobody/block")).status_code == 404
        assert [await Caller(rig, number).rings() for number in (STRANGER, "+266696687")] == [REJECTED] * 2
        assert (await Caller(rig, OTHER).rings())[0].startswith("Gather")
        found = (await admin.get(PATH)).json()
        assert all(call["blocked"] for call in found["calls"])
        assert {(block["withheld"], block["phone_last2"], block["by"]) for block in found["blocks"]} == {
            (True, None, "operator"), (False, "71", "operator"),
        }  # fmt: skip
        for block in found["blocks"]:
            assert (await admin.ask("DELETE", f"/api/admin/inbound-blocks/{block['id']}")).status_code == 204
        again = await admin.ask("DELETE", f"/api/admin/inbound-blocks/{found['blocks'][0]['id']}")
        assert again.status_code == 404
        assert (await Caller(rig, STRANGER).rings())[0].startswith("Gather")
        log = (await admin.get("/api/admin/overview")).json()["log"]
        assert sorted({(each["action"], each["subject"]) for each in log}) == [
            ("inbound.blocked", "number ending in 71"), ("inbound.blocked", "withheld"),
            ("inbound.unblocked", "number ending in 71"), ("inbound.unblocked", "withheld"),
        ]  # fmt: skip
