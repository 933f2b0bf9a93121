"""Whom a caller reaches, about what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from server.inbound.partners import user_order
from storage import calls, ids, personas, scenarios, users
from storage.db import Tx
from storage.records import CallStatus, NewCall, User
from tests.server.rig import NOON, Rig


async def rung_by(
    tx: Tx, user: User, persona: str, status: CallStatus, *, hours_ago: float = 1, **more: Any
) -> None:
    at = NOON - timedelta(hours=hours_ago)
    new = NewCall(ids.new_id(), user.id, persona, "phone", at, (), "node", context="the move", **more)
    row = await calls.create(tx, new)
    await calls.advance(tx, row.id, status, at=at)


async def test_nobody_rang_yet(rig: Rig) -> None:
    ann = await rig.register()
    async with rig.parts.database.write() as tx:
        user = await users.by_id(tx, ann.id)
        assert user is not None
        first = (await personas.all(tx))[0].id
        assert (await user_order(tx, user, 12, NOON, None)).persona_id == first
        await personas.put_relationship(tx, ann.id, "alex", kind="friend", notes="")
        order = await user_order(tx, user, 12, NOON, None)
        assert (order.persona_id, order.context, order.max_minutes) == ("alex", "", 12)
        # Of a call that she made herself nothing is to be returned.
        new = NewCall(ids.new_id(), ann.id, "brad", "phone", NOON, (), "node", direction="inbound")
        await calls.create(tx, new)
        assert (await user_order(tx, user, 12, NOON, None)).persona_id == "alex"


@pytest.mark.parametrize(
    ("status", "hours_ago", "context"),
    [("no-answer", 1, "the move"), ("busy", 23, "the move"), ("no-answer", 25, ""), ("completed", 1, "")],
)
async def test_a_missed_call_is_taken_up_for_a_day(
    rig: Rig, status: CallStatus, hours_ago: float, context: str
) -> None:
    ann = await rig.register()
    async with rig.parts.database.write() as tx:
        user = await users.by_id(tx, ann.id)
        assert user is not None
        await rung_by(tx, user, "sarah", "completed", hours_ago=100)
        await rung_by(tx, user, "alex", status, hours_ago=hours_ago)
        order = await user_order(tx, user, 12, NOON, None)
        assert (order.persona_id, order.context) == ("alex", context)


async def test_its_scenario_too_unless_that_leaves_open_what_only_the_call_had_said(rig: Rig) -> None:
    ann = await rig.register()
    whole = (await ann.post("/api/scenarios", {"title": "t", "prompt": "About the sea."})).json()["id"]
    leaves_open = (await ann.post("/api/scenarios", {"title": "t", "prompt": "About {topic}."})).json()["id"]
    async with rig.parts.database.write() as tx:
        user = await users.by_id(tx, ann.id)
        assert user is not None
        for hours, scenario, kept in ((3, whole, whole), (2, leaves_open, None), (1, "gone", None)):
            await rung_by(tx, user, "alex", "no-answer", hours_ago=hours, scenario_id=scenario)
            assert (await user_order(tx, user, 12, NOON, None)).scenario_id == kept
        assert await scenarios.get(tx, ann.id, whole) is not None
