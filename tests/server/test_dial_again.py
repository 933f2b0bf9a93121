"""A dial that the carrier was asked for too soon is asked for again, each time with fresh leave and no other way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.carriers.base import TOO_MANY, DialOrder, Leg
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Permit
from server.calls.live import open_desk
from tests.server.rig import LoopClock, Person, RecordingCarrier, Rig, running, settings
from tests.server.test_permits import SCRIPTED
from tests.server.test_placing import ready
from tests.twilio.rig import run_scaled

Change = Callable[[Rig, Person, str], Awaitable[object]]


@dataclass
class Hasty(RecordingCarrier):
    """Refuses the first `refusals` dials with 429, once all has `changed` that the test changes meanwhile."""

    refusals: int = 0
    asked: list[Permit] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    rung: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        self.asked.append(permit)
        if len(self.asked) > self.refusals:
            leg = await super().dial(order, permit)
            self.rung.set()
            return leg
        permit.spend(order.to, permit.given_at)
        self.begun.set()
        await self.changed.wait()
        raise CarrierError("not so fast", retryable=True, code=TOO_MANY)


async def _opts_out(_rig: Rig, ann: Person, _call: str) -> None:
    assert (await ann.post("/api/opt-out")).status_code == 204


async def _hangs_up(_rig: Rig, ann: Person, call: str) -> None:
    assert (await ann.post(f"/api/calls/{call}/hangup")).status_code == 202


async def _night_falls(rig: Rig, _ann: Person, _call: str) -> None:
    rig.clock.move(12 * 3600)


async def _is_somebody_elses(rig: Rig, _ann: Person, _call: str) -> None:
    bob = await rig.register("bob@example.com")
    await bob.verify_phone()


async def _loses_its_price(rig: Rig, _ann: Person, _call: str) -> None:
    async with rig.parts.database.write() as tx:
        await tx.execute(text("DELETE FROM pricing WHERE service = 'carrier'"))


async def _ended(rig: Rig) -> None:
    async with asyncio.timeout(600):
        while rig.parts.desk.live_calls:
            await rig.http.get("/readyz")  # which asks the database, and so lets others run


def _story(tmp_path: Path, carrier: Hasty, change: Change | None) -> str:
    async def main() -> str:
        given = settings(tmp_path, **SCRIPTED, quiet_hours="21:00-07:00")
        async with running(given, open_desk, carrier, LoopClock()) as rig:
            ann = await ready(rig)
            call = (await ann.post("/api/calls", {"persona_id": "brad"})).json()["id"]
            await carrier.begun.wait()
            if change is not None:
                await change(rig, ann, call)
            carrier.changed.set()
            if carrier.refusals < 3 and change is None:
                await carrier.rung.wait()
                await rig.parts.desk.status(carrier_sid(carrier), call, "busy", 0, 9)  # type: ignore[attr-defined]
            await _ended(rig)
            return str((await ann.get(f"/api/calls/{call}")).json()["status"])

    return run_scaled(main())


def carrier_sid(carrier: Hasty) -> str:
    return f"CA{len(carrier.dialled):032x}"


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        (_opts_out, "failed"),
        (_hangs_up, "canceled"),
        (_night_falls, "failed"),
        (_is_somebody_elses, "failed"),
        (_loses_its_price, "failed"),
    ],
)
def test_a28_what_changes_while_it_waits_keeps_the_phone_silent(
    tmp_path: Path, change: Change, becomes: str
) -> None:
    carrier = Hasty(refusals=1)
    assert _story(tmp_path, carrier, change) == becomes
    assert (len(carrier.asked), carrier.dialled) == (1, [])


def test_otherwise_it_rings_with_another_permit_each_time(tmp_path: Path) -> None:
    carrier = Hasty(refusals=2)
    assert _story(tmp_path, carrier, None) == "busy"
    assert (len(carrier.asked), len(set(map(id, carrier.asked))), len(carrier.dialled)) == (3, 3, 1)


def test_after_three_refusals_nobody_asks_any_more(tmp_path: Path) -> None:
    carrier = Hasty(refusals=3)
    assert _story(tmp_path, carrier, None) == "failed"
    assert (len(carrier.asked), carrier.dialled) == (3, [])
