"""A24: what `POST /api/calls` refuses, no other way to the telephone gets past either, and the carrier hears nothing.

The ways are those that place calls; `tests/test_architecture.py` holds that no module but theirs does. The model has
none: its one tool ends the call. An operator has none either.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from server.calls.live import open_desk
from server.inbound.call_back import CallBack
from server.parts import State
from server.schedules.due import Scheduler
from tests.server.rig import LoopClock, Person, RecordingCarrier, Rig, running, settings
from tests.server.test_permits import SCRIPTED
from tests.server.test_placing import ready

Step = Callable[[Rig, Person], Awaitable[None]]


async def sql(rig: Rig, statement: str, **values: object) -> None:
    async with rig.parts.database.write() as tx:
        await tx.execute(text(statement), values)


# -- the ways ----------------------------------------------------------------------------


async def _order(_rig: Rig, ann: Person) -> None:
    await ann.post("/api/calls", {"persona_id": "brad"})


async def _template(_rig: Rig, ann: Person) -> None:
    scenario = (await ann.get("/api/scenarios")).json()["items"][0]
    values = {each["name"]: "x" for each in scenario.get("variables", [])}
    await ann.post("/api/calls", {"persona_id": "brad", "scenario_id": scenario["id"], "variables": values})


async def _due(rig: Rig, ann: Person) -> None:
    scheduler = Scheduler(
        database=rig.parts.database, clock=rig.clock, desk=rig.parts.desk, node="by hand", calls_per_second=100,
        taking=lambda: True,
    )  # fmt: skip
    await sql(
        rig, "UPDATE scheduled_calls SET due_at = :now, status = 'pending', reason = '', user_id = :id",
        now=rig.clock.utc().strftime("%Y-%m-%d %H:%M:%S.%f"), id=ann.id,
    )  # fmt: skip
    for _ in range(3):
        await scheduler.step()


async def _retry(rig: Rig, ann: Person) -> None:
    await sql(rig, "UPDATE scheduled_calls SET attempt = 1, occurrence_at = due_at")
    await _due(rig, ann)


async def _somebody_elses_schedule(rig: Rig, ann: Person) -> None:
    """A row that was edited: it was another's, and is a hundred runs late."""
    await sql(
        rig, "UPDATE scheduled_calls SET timezone = 'Asia/Tokyo', context = 'edited', max_minutes = 240"
    )
    await _due(rig, ann)


async def _call_back(rig: Rig, ann: Person) -> None:
    asked = rig.clock.utc().isoformat()
    job = {"user": ann.id, "sid": "CA1", "asked": asked}
    await CallBack(rig.parts.database, rig.clock, rig.parts.desk)(job)


async def _resume(rig: Rig, ann: Person) -> None:
    """The carrier comes back to a call that is over."""
    await sql(
        rig, "INSERT INTO calls (id, user_id, persona_id, phone_e164, twilio_call_sid, status, status_rank)"
        " VALUES ('over', :id, 'brad', '+12025550142', 'CAover', 'completed', 4)", id=ann.id,
    )  # fmt: skip
    desk = rig.parts.desk
    assert await desk.resumed("over", "CAover") is None  # type: ignore[attr-defined]
    assert await desk.answered("over", "CAover") is None  # type: ignore[attr-defined]


WAYS: tuple[Step, ...] = (_order, _template, _due, _retry, _somebody_elses_schedule, _call_back, _resume)

# -- what forbids it ---------------------------------------------------------------------


async def _nothing(rig: Rig, ann: Person) -> None: ...


async def _opted_out(_rig: Rig, ann: Person) -> None:
    assert (await ann.post("/api/opt-out")).status_code == 204


async def _lost(rig: Rig, _ann: Person) -> None:
    bob = await rig.register("bob@example.com")
    await bob.verify_phone()


async def _never_proved(rig: Rig, ann: Person) -> None:
    await sql(rig, "UPDATE users SET phone_verified_at = NULL WHERE id = :id", id=ann.id)


async def _night(rig: Rig, _ann: Person) -> None:
    rig.clock.move(12 * 3600)


async def _too_dear(rig: Rig, _ann: Person) -> None:
    await sql(rig, "UPDATE pricing SET price_nano = price_nano * 1000 WHERE service = 'carrier'")


async def _unpriced(rig: Rig, _ann: Person) -> None:
    await sql(rig, "DELETE FROM pricing WHERE service = 'carrier'")


def _edited(number: str) -> Step:
    async def edit(rig: Rig, ann: Person) -> None:
        await sql(rig, "UPDATE users SET phone_e164 = :number WHERE id = :id", number=number, id=ann.id)

    edit.__name__ = number
    return edit


FORBIDDEN: tuple[Step, ...] = (
    _opted_out, _lost, _never_proved, _night, _too_dear, _unpriced,
    *map(_edited, ("+18765550142", "+19002345678", "+18002345678", "+447400123456", "+911", "+12345", "nonsense")),
)  # fmt: skip


async def _dials(tmp_path: Path, ways: Sequence[Step], why: Step) -> list[str]:
    """The ways that rang. What is placed rings a moment later, in a task that is over with the drain."""
    carrier, rang = RecordingCarrier(), list[str]()
    given = settings(tmp_path, **SCRIPTED, quiet_hours="21:00-07:00")
    async with running(given, open_desk, carrier, LoopClock()) as rig:
        rig.parts.state = State.DRAINING  # the server's own scheduler takes no part
        ann = await ready(rig)
        at = (rig.clock.utc() + timedelta(hours=1)).isoformat()
        assert (await ann.post("/api/scheduled-calls", {"persona_id": "brad", "at": at})).status_code == 201
        await why(rig, ann)
        for way in ways:
            await way(rig, ann)
            await rig.http.get("/readyz")  # which asks the database, and so lets others run
            rang += [way.__name__] * (len(carrier.dialled) - len(rang))
        await rig.parts.desk.drain(0)
        return rang + ["in the end"] * (len(carrier.dialled) - len(rang))


@pytest.mark.parametrize("why", FORBIDDEN, ids=lambda it: it.__name__)
async def test_a24_no_way_gets_past_the_guard(tmp_path: Path, why: Step) -> None:
    assert await _dials(tmp_path, WAYS, why) == []


@pytest.mark.parametrize("way", WAYS, ids=lambda it: it.__name__)
async def test_each_way_rings_where_nothing_forbids_it(tmp_path: Path, way: Step) -> None:
    rang = await _dials(tmp_path, [way], _nothing)
    assert len(rang) == (0 if way is _resume else 1), "or the test above shows nothing"
