"""What of my scheduled calls was missed is told until I say that I have seen it; to nobody else."""

from __future__ import annotations

from typing import Any

from server.schedules.due import NOT_THERE, Scheduler
from tests.server.rig import Person, Rig
from tests.server.test_scheduled import made

PATH = "/api/missed-calls"


async def missed(person: Person) -> list[dict[str, Any]]:
    answer = await person.get(PATH)
    assert answer.status_code == 200, answer.text
    assert answer.json()["next_cursor"] is None
    return list(answer.json()["items"])


async def away(rig: Rig, seconds: float) -> None:
    """Nobody looks after schedules for so long; then somebody does."""
    rig.clock.move(seconds)
    node = Scheduler(
        database=rig.parts.database, clock=rig.clock, desk=rig.parts.desk, node="n", calls_per_second=1,
        taking=lambda: True,
    )  # fmt: skip
    while await node.step() == 0:
        pass


async def test_what_was_missed_is_told_until_i_have_seen_it(rig: Rig) -> None:
    ann, bob = await rig.register(), await rig.register("bob@example.com")
    assert await missed(ann) == []
    once = await made(ann, at="2026-11-23T12:30:00Z")
    await made(ann, at="2026-11-23T20:30:00Z")
    await away(rig, 3_600)
    [one] = await missed(ann)
    assert one == {
        "schedule_id": once["id"], "persona_id": "brad", "run_at": one["run_at"], "detail": NOT_THERE, "at": one["at"],
    }  # fmt: skip
    assert await missed(bob) == []
    assert (await bob.post(f"{PATH}/seen", {"until": one["at"]})).status_code == 204
    assert await missed(ann) == [one], "what somebody else has seen"
    assert (await ann.post(f"{PATH}/seen", {"until": one["at"]})).status_code == 204
    assert await missed(ann) == []
    await away(rig, 8 * 3_600)
    [two] = await missed(ann)
    assert two["at"] > one["at"]
    assert (await ann.post(f"{PATH}/seen", {"until": one["at"]})).status_code == 204
    assert await missed(ann) == [two], "an older one changes nothing"


async def test_what_is_still_to_be_missed_cannot_be_seen(rig: Rig) -> None:
    ann = await rig.register()
    await made(ann, rrule="FREQ=HOURLY;BYMINUTE=30", timezone="UTC")
    await away(rig, 3 * 3_600)
    assert len(await missed(ann)) == 3
    assert (await ann.post(f"{PATH}/seen", {"until": "2036-01-01T00:00:00Z"})).status_code == 204
    assert await missed(ann) == []
    await away(rig, 3_600)
    assert len(await missed(ann)) == 1
    assert (await ann.post(f"{PATH}/seen", {"until": "yesterday"})).status_code == 422
