"""No more calls: from the account, and what it does to a call that is on and to those that are scheduled (A28)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from server.calls.live import open_desk
from server.texting import answer_to
from storage import users
from tests.server.rig import LoopClock, RecordingCarrier, running, settings
from tests.server.test_permits import SCRIPTED
from tests.server.test_placing import ready


@dataclass
class HungUp(RecordingCarrier):
    """Says when it was asked to end a call."""

    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def hang_up(self, sid: str) -> None:
        self.hung_up.set()


async def test_a28_opting_out_ends_the_call_and_pauses_what_is_scheduled(tmp_path: Path) -> None:
    carrier = HungUp()
    async with running(settings(tmp_path, **SCRIPTED), open_desk, carrier, LoopClock()) as rig:
        ann = await ready(rig)
        assert (await ann.get("/api/me")).json()["opted_out"] is False
        due = (rig.clock.utc() + timedelta(hours=1)).isoformat()
        made = (await ann.post("/api/scheduled-calls", {"persona_id": "brad", "at": due})).json()
        call = (await ann.post("/api/calls", {"persona_id": "brad"})).json()
        assert (await ann.post("/api/opt-out")).status_code == 204
        async with asyncio.timeout(60):
            told = await ann.get(f"/api/calls/{call['id']}/events")  # to the end of it
        assert "event: ended" in told.text
        assert (await ann.get(f"/api/calls/{call['id']}")).json()["status"] in {
            "canceled",
            "completed",
            "failed",
        }
        seen = (await ann.get(f"/api/scheduled-calls/{made['id']}")).json()
        assert (seen["status"], seen["reason"]) == ("paused", "opted_out")
        refused = await ann.post("/api/calls", {"persona_id": "brad"})
        assert (refused.status_code, refused.json()["reason"]) == (403, "opted_out")
        assert (await ann.get("/api/me")).json()["opted_out"] is True
        await ann.post("/api/opt-out")
        listed = (await ann.get("/api/me/consents")).json()["items"]
        taken_back = [row for row in listed if row["method"] == "opted out by web"]
        assert [(row["phone"], row["text"]) for row in taken_back] == [("+12025550142", "")], "once"
        bob = await rig.register("bob@example.com")
        assert (await bob.post("/api/opt-out")).status_code == 403, "no number of his"
        await ann.verify_phone()
        assert (await ann.get("/api/me")).json()["opted_out"] is False
        on = await ann.ask("PATCH", f"/api/scheduled-calls/{made['id']}", {"paused": False})
        assert (on.json()["status"], on.json()["reason"]) == ("pending", "")


async def test_an_opt_out_survives_the_account(tmp_path: Path) -> None:
    async with running(settings(tmp_path, **SCRIPTED), open_desk, RecordingCarrier(), LoopClock()) as rig:
        ann = await ready(rig)
        await ann.post("/api/opt-out")
        assert (await ann.ask("DELETE", "/api/me")).status_code == 204
        bob = await ready(rig, email="bob@example.com", phone="+12025550199")
        async with rig.parts.database.write() as tx:
            await users.mark_verified(tx, bob.id, "+12025550142", rig.clock.utc())
        refused = await bob.post("/api/calls", {"persona_id": "brad"})
        assert (refused.status_code, refused.json()["reason"]) == (403, "opted_out")


@pytest.mark.parametrize(
    "body", ["STOP", " stop. ", "StopAll", "unsubscribe", "END", "Quit!", "OPT-OUT", "revoke"]
)
def test_a_stop_word_alone_stops(body: str) -> None:
    assert answer_to(body).stops


@pytest.mark.parametrize("body", ["stop by tomorrow", "I will not cancel", "", "the end", "START", "help"])
def test_anything_else_does_not(body: str) -> None:
    assert not answer_to(body).stops
