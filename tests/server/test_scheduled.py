"""Scheduled calls over REST: made, shown, changed, skipped, paused, canceled; and one that rings by the real desk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from pipeline.carriers.base import DialOrder, Leg
from pipeline.core.guard import Permit
from server.calls.live import open_desk
from tests.server.rig import (
    NOON,
    PASSWORD,
    PHONE,
    LoopClock,
    Person,
    RecordingCarrier,
    Rig,
    running,
    settings,
)
from tests.server.test_placing import SCRIPTED, ready
from tests.storage.world import rows

Json = dict[str, Any]
PATH = "/api/scheduled-calls"
WEEKDAYS = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=7;BYMINUTE=0"


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register(timezone="Europe/Berlin")


async def made(person: Person, **body: object) -> Json:
    answer = await person.post(PATH, {"persona_id": "brad", **body})
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def changed(person: Person, one: Json, **body: object) -> Json:
    answer = await person.ask("PATCH", f"{PATH}/{one['id']}", body)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def test_a_rule_in_the_users_zone_with_its_next_runs(ann: Person) -> None:
    rule = await made(ann, rrule=WEEKDAYS, skip=["2026-11-25"], context="wake me")
    assert rule["description"] == "every weekday at 07:00 Europe/Berlin, except Wednesday 25 November 2026"
    assert (rule["status"], rule["timezone"]) == ("pending", "Europe/Berlin")
    assert rule["due_at"] == "2026-11-24T07:00:00+01:00"
    assert rule["next_runs"][:3] == [
        "2026-11-24T07:00:00+01:00", "2026-11-26T07:00:00+01:00", "2026-11-27T07:00:00+01:00",
    ]  # fmt: skip
    assert len(rule["next_runs"]) == 10
    assert (rule["window_s"], rule["retries"], rule["retry_minutes"], rule["dials"]) == (300, 1, 5, [])
    assert (await ann.get(f"{PATH}/{rule['id']}")).json() == rule
    assert (await ann.get(PATH)).json() == {"items": [rule], "next_cursor": None}


@pytest.mark.parametrize(
    ("at", "due", "kept"),
    [
        ("2026-11-24T09:00:00", "2026-11-24T09:00:00+01:00", "2026-11-24T09:00:00"),
        ("2026-11-24T09:00:00Z", "2026-11-24T10:00:00+01:00", "2026-11-24T10:00:00+01:00"),
        ("2027-03-28T02:30:00", "2027-03-28T03:30:00+02:00", "2027-03-28T02:30:00"),
        ("2027-10-31T02:30:00", "2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00"),
    ],
)
async def test_once_at_a_moment_or_a_local_time(ann: Person, at: str, due: str, kept: str) -> None:
    once = await made(ann, at=at)
    assert (once["due_at"], once["next_runs"], once["at"], once["rrule"]) == (due, [due], kept, None)
    assert once["description"].startswith("once, on ")


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({}, "at", "say when"),
        ({"at": "2026-11-23T11:59:59Z"}, "at", "is past"),
        ({"at": "2036-11-23T12:00:00Z"}, "at", "five years"),
        ({"at": "0001-01-01T00:00:00+05:00"}, "at", "no moment|past"),
        ({"at": "9999-12-31T23:59:59-10:00"}, "at", "no moment"),
        ({"at": "2020-01-01T07:00:00", "rrule": "FREQ=DAILY"}, "at", "a year ago"),
        ({"rrule": "FREQ=HOURLY;BYMINUTE=0,5"}, "rrule", "every 15 minutes"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "rrule", "never comes due"),
        ({"rrule": "every day"}, "rrule", "RFC 5545"),
        ({"rrule": "FREQ=DAILY", "skip": ["tomorrow, ok"]}, "skip.0", "local date"),
        ({"rrule": "FREQ=DAILY", "timezone": "Mars/Olympus"}, "timezone", "time zone"),
        ({"at": "2026-11-24T09:00:00", "retries": 3}, "retries", "may be at most 2"),
        ({"at": "2026-11-24T09:00:00", "retry_minutes": 4}, "retry_minutes", "has to be 5 or more"),
    ],
)
async def test_what_will_not_do_says_why(ann: Person, body: Json, field: str, why: str) -> None:
    answer = await ann.post(PATH, {"persona_id": "brad", **body})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert any(part in error["message"] for part in why.split("|"))
    assert (await ann.get(PATH)).json()["items"] == []


async def test_what_is_agreed_to_by_scheduling_is_told_before(ann: Person, rig: Rig) -> None:
    bob = await rig.register("bob@example.com")
    asked = {"at": "2026-11-24T09:00:00"}
    assert (await bob.post(f"{PATH}/preview", asked)).json()["consent"] == "", "no number is proved"
    await ann.verify_phone()
    told = (await ann.post(f"{PATH}/preview", asked)).json()["consent"]
    await ann.post(PATH, {"persona_id": "brad", **asked})
    agreed = (await ann.get("/api/me/consents")).json()["items"]
    (kept,) = [each["text"] for each in agreed if each["method"].startswith("schedule ")]
    assert told == kept != ""


async def test_a_preview_makes_nothing(ann: Person) -> None:
    seen = await ann.post(f"{PATH}/preview", {"rrule": WEEKDAYS, "timezone": "America/New_York"})
    assert seen.json()["description"] == "every weekday at 07:00 America/New_York"
    assert (seen.json()["next_runs"][0], len(seen.json()["next_runs"])) == ("2026-11-24T07:00:00-05:00", 10)
    once = await ann.post(f"{PATH}/preview", {"at": "2026-11-24T09:00:00"})
    assert once.json()["next_runs"] == ["2026-11-24T09:00:00+01:00"]
    assert (await ann.post(f"{PATH}/preview", {"rrule": "nonsense"})).status_code == 422
    assert (await ann.get(PATH)).json()["items"] == []


async def test_unknown_personas_and_scenarios_and_too_many(tmp_path: Path) -> None:
    async with running(settings(tmp_path, schedules_per_user=2)) as rig:
        ann, bob = await rig.register(), await rig.register("bob@example.com")
        theirs = (await bob.get("/api/scenarios")).json()["items"][0]["id"]
        for body in ({"persona_id": "nobody"}, {"persona_id": "brad", "scenario_id": theirs}):
            answer = await ann.post(PATH, {**body, "rrule": "FREQ=DAILY"})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        first = await made(ann, rrule="FREQ=DAILY")
        await made(ann, rrule="FREQ=DAILY")
        full = await ann.post(PATH, {"persona_id": "brad", "rrule": "FREQ=DAILY"})
        assert (full.status_code, full.json()["code"]) == (429, "rate_limited")
        assert (await ann.ask("DELETE", f"{PATH}/{first['id']}")).status_code == 204
        await made(ann, rrule="FREQ=DAILY")


async def test_nobody_sees_or_changes_anothers(rig: Rig, ann: Person) -> None:
    bob = await rig.register("bob@example.com")
    mine = await made(ann, rrule="FREQ=DAILY")
    path = f"{PATH}/{mine['id']}"
    assert (await bob.get(PATH)).json()["items"] == []
    for method, end, body in (
        ("GET", "", None),
        ("PATCH", "", {"paused": True}),
        ("DELETE", "", None),
        ("POST", "/skip", None),
    ):
        assert (await bob.ask(method, path + end, body)).status_code == 404
    assert (await ann.get(path)).json() == mine


async def test_changing_moves_it_and_keeps_the_rest(ann: Person) -> None:
    rule = await made(ann, rrule=WEEKDAYS, context="first", retries=2)
    later = await changed(ann, rule, rrule=WEEKDAYS.replace("BYHOUR=7", "BYHOUR=9"), retry_minutes=10)
    assert (later["due_at"], later["context"], later["retries"], later["retry_minutes"]) == (
        "2026-11-24T09:00:00+01:00", "first", 2, 10,
    )  # fmt: skip
    west = await changed(ann, rule, timezone="America/Los_Angeles", context="second")
    assert (west["due_at"], west["context"]) == ("2026-11-24T09:00:00-08:00", "second")
    once = await changed(ann, rule, rrule=None, at="2026-11-30T10:00:00")
    assert (once["rrule"], once["next_runs"]) == (None, ["2026-11-30T10:00:00-08:00"])
    refused = await ann.ask("PATCH", f"{PATH}/{rule['id']}", {"at": "2026-11-01T10:00:00"})
    assert refused.json()["errors"][0]["message"] == "is past: choose a later moment"
    assert (await ann.ask("PATCH", f"{PATH}/{rule['id']}", {})).status_code == 422
    assert (await ann.get(f"{PATH}/{rule['id']}")).json() == once


async def test_pausing_and_resuming_misses_what_was_meanwhile(rig: Rig, ann: Person) -> None:
    rule = await made(ann, rrule=WEEKDAYS)
    paused = await changed(ann, rule, paused=True)
    assert (paused["status"], paused["due_at"], paused["next_runs"]) == ("paused", None, [])
    still = await changed(ann, rule, rrule="FREQ=DAILY;BYHOUR=8;BYMINUTE=0")
    assert still["status"] == "paused"
    rig.clock.move(3 * 86_400)
    ann = Person(rig, (await rig.login(ann.email, PASSWORD)).json()["token"], ann.id, ann.email)
    resumed = await changed(ann, rule, paused=False)
    assert (resumed["status"], resumed["due_at"]) == ("pending", "2026-11-27T08:00:00+01:00")
    once = await made(ann, at="2026-11-26T14:00:00")
    await changed(ann, once, paused=True)
    rig.clock.move(7_200)
    past = await ann.ask("PATCH", f"{PATH}/{once['id']}", {"paused": False})
    assert past.json()["errors"] == [{"field": "at", "message": "is past: choose a later moment"}]


async def test_skipping_the_next_run_again_and_again_to_the_end(ann: Person) -> None:
    rule = await made(ann, at="2026-11-24T07:00:00", rrule="FREQ=DAILY;COUNT=3")
    path = f"{PATH}/{rule['id']}/skip"
    first = (await ann.post(path)).json()
    assert (first["skip"], first["due_at"]) == (["2026-11-24T07:00"], "2026-11-25T07:00:00+01:00")
    second = (await ann.post(path)).json()
    assert second["next_runs"] == ["2026-11-26T07:00:00+01:00"]
    third = (await ann.post(path)).json()
    assert (third["status"], third["next_runs"]) == ("canceled", [])
    assert (await ann.post(path)).status_code == 422
    spring = await made(ann, at="2027-03-28T02:30:00", rrule="FREQ=DAILY")
    assert spring["due_at"] == "2027-03-28T03:30:00+02:00"
    skipped = (await ann.post(f"{PATH}/{spring['id']}/skip")).json()
    assert (skipped["skip"], skipped["due_at"]) == (["2027-03-28T02:30"], "2027-03-29T02:30:00+02:00")
    once = await made(ann, at="2026-11-24T09:00:00")
    assert (await ann.post(f"{PATH}/{once['id']}/skip")).status_code == 422


async def test_a_rule_that_began_long_ago_is_still_changed_and_skipped(rig: Rig, ann: Person) -> None:
    rule = await made(
        ann, rrule="FREQ=DAILY;BYHOUR=7;BYMINUTE=0", at="2026-11-01T07:00:00", skip=["2026-12-24"]
    )
    rig.clock.move(500 * 86_400)
    ann = Person(rig, (await rig.login(ann.email, PASSWORD)).json()["token"], ann.id, ann.email)
    later = await changed(ann, rule, skip=["2026-12-24", "2028-04-09"])
    assert later["next_runs"][:3] == [
        "2028-04-07T07:00:00+02:00", "2028-04-08T07:00:00+02:00", "2028-04-10T07:00:00+02:00",
    ]  # fmt: skip
    skipped = (await ann.post(f"{PATH}/{rule['id']}/skip")).json()
    assert skipped["skip"] == ["2028-04-09", "2028-04-07T07:00"], "what is past is forgotten"
    anew = await ann.ask("PATCH", f"{PATH}/{rule['id']}", {"at": "2026-11-01T07:00:00"})
    assert anew.json()["errors"][0]["message"].startswith("is more than a year ago")


async def test_canceled_it_stays_to_be_seen_and_is_changed_no_more(ann: Person) -> None:
    rule = await made(ann, rrule="FREQ=DAILY")
    for _ in range(2):
        assert (await ann.ask("DELETE", f"{PATH}/{rule['id']}")).status_code == 204
    seen = (await ann.get(f"{PATH}/{rule['id']}")).json()
    assert (seen["status"], seen["due_at"], seen["next_runs"]) == ("canceled", None, [])
    assert (await ann.ask("PATCH", f"{PATH}/{rule['id']}", {"paused": False})).status_code == 422


async def test_a_list_is_read_in_pages(ann: Person, rig: Rig) -> None:
    ids = []
    for _ in range(3):
        rig.clock.move(1)
        ids.append((await made(ann, rrule="FREQ=DAILY"))["id"])
    first = (await ann.get(f"{PATH}?limit=2")).json()
    rest = (await ann.get(f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None


async def test_what_is_to_come_and_what_is_over_are_read_apart(ann: Person) -> None:
    there = [await made(ann, rrule="FREQ=DAILY") for _ in range(4)]
    await ann.ask("DELETE", f"{PATH}/{there[0]['id']}")
    await ann.ask("DELETE", f"{PATH}/{there[2]['id']}")
    await changed(ann, there[1], paused=True)

    async def read(query: str) -> list[str]:
        return [one["id"] for one in (await ann.get(f"{PATH}?{query}")).json()["items"]]

    ids = [one["id"] for one in there]
    assert sorted(await read("open=true")) == sorted([ids[1], ids[3]]), "a paused one goes on some day"
    assert sorted(await read("open=false")) == sorted([ids[0], ids[2]])
    assert sorted(await read("limit=100")) == sorted(ids)


async def test_a_row_written_by_hand_that_makes_no_sense_is_shown_all_the_same(rig: Rig, ann: Person) -> None:
    rule = await made(ann, rrule="FREQ=DAILY")
    async with rig.parts.database.write() as tx:
        await tx.execute(text("UPDATE scheduled_calls SET timezone = 'Mars/Olympus', rrule = 'often'"))
    seen = (await ann.get(f"{PATH}/{rule['id']}")).json()
    assert (seen["id"], seen["rrule"]) == (rule["id"], "often")


@dataclass
class Ringing(RecordingCarrier):
    """Says when it was asked to ring."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        self.asked.set()
        return await super().dial(order, permit)


async def test_what_is_due_rings_through_the_desk_and_is_held_to_its_rules(tmp_path: Path) -> None:
    carrier = Ringing()
    async with running(settings(tmp_path, **SCRIPTED), open_desk, carrier, LoopClock()) as rig:
        bob = await rig.register("bob@example.com")
        ann = await ready(rig)
        soon = rig.clock.utc() + timedelta(hours=1)
        poor = await made(bob, at=soon.isoformat(), retries=0)
        rich = await made(
            ann, at=(soon + timedelta(seconds=1)).isoformat(), context="good morning", max_minutes=2
        )
        assert carrier.dialled == []
        rig.clock.move(3_602)
        async with asyncio.timeout(60):
            await carrier.asked.wait()
        (call,) = (await ann.get("/api/calls")).json()["items"]
        assert (call["scheduled_call_id"], call["context"], call["max_minutes"]) == (
            rich["id"],
            "good morning",
            2,
        )
        refused = (await bob.get(f"{PATH}/{poor['id']}")).json()
        assert (refused["status"], refused["dials"][0]["code"]) == ("failed", "phone_not_verified")
        assert refused["dials"][0]["call_id"] is None
        shown = (await ann.get(f"{PATH}/{rich['id']}")).json()
        assert [dial["call_id"] for dial in shown["dials"]] == [call["id"]]
        assert shown["dials"][0]["status"] == "dialed"
        assert len(carrier.dialled) == 1
        await ann.post(f"/api/calls/{call['id']}/hangup")
        await rig.parts.desk.drain(5)
        assert await rows(rig.parts.database, "SELECT count(*) FROM jobs WHERE kind = 'retention'") == [(1,)]
    assert soon > NOON


async def test_a_schedule_is_a_consent_for_a_number_that_was_proved(rig: Rig, ann: Person) -> None:
    await made(ann, rrule="FREQ=DAILY")
    assert (await ann.get("/api/me/consents")).json()["items"] == [], "there is no number it could be for"
    await ann.verify_phone()
    schedule = await made(ann, rrule="FREQ=DAILY")
    given = (await ann.get("/api/me/consents")).json()["items"]
    assert {(each["phone"], each["method"]) for each in given} == {
        (PHONE, "code"),
        (PHONE, f"schedule {schedule['id']}"),
    }
    assert len(given) == 2


async def test_asked_for_again_under_its_key_it_is_the_same_one(rig: Rig, ann: Person) -> None:
    await ann.verify_phone()
    body = {"persona_id": "brad", "at": (NOON + timedelta(hours=1)).isoformat()}

    async def ask(key: str, **other: object) -> httpx.Response:
        return await ann.post(PATH, {**body, **other}, {"idempotency-key": key})

    one, twin = await asyncio.gather(ask("k1"), ask("k1"))
    assert (one.status_code, twin.status_code) == (201, 201)
    assert one.json() == twin.json()
    conflict = await ask("k1", persona_id="sarah")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    assert (await ask("a b")).status_code == 422
    rig.clock.move(2 * 3600)
    late = await ask("k1")
    assert (late.status_code, late.json()["id"]) == (201, one.json()["id"]), "its moment is past by now"
    bob = await rig.register("bob@example.com")
    theirs = await bob.post(PATH, {"persona_id": "brad", "rrule": "FREQ=DAILY"}, {"idempotency-key": "k1"})
    assert theirs.status_code == 201, "a key is its user's"
    assert len((await ann.get(PATH)).json()["items"]) == 1
    agreed = [each["method"] for each in (await ann.get("/api/me/consents")).json()["items"]]
    assert agreed.count(f"schedule {one.json()['id']}") == 1


async def test_what_a_scenario_leaves_open_is_said_when_it_is_scheduled(ann: Person) -> None:
    scenario = {"title": "Excuse", "prompt": "Get me out of {place}.", "opening": "It is {what|urgent}!"}
    excuse = (await ann.post("/api/scenarios", scenario)).json()["id"]
    other = (await ann.post("/api/scenarios", {**scenario, "prompt": "Wait at {place|home}."})).json()["id"]
    plain = (await ann.post("/api/scenarios", {"title": "Plain", "prompt": "Talk."})).json()["id"]
    once = {"persona_id": "brad", "at": "2026-11-24T09:00:00", "scenario_id": excuse}
    for said, named in (({}, "variables.place"), ({"place": "x", "who": "y"}, "variables.who")):
        refused = await ann.post(PATH, {**once, "variables": said})
        assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (422, [named])
    one = await made(ann, **{**once, "variables": {"place": "the café", "what": "the cat"}})
    assert one["variables"] == {"place": "the café", "what": "the cat"}
    one = await changed(ann, one, variables={"place": "the pub"})
    assert one["variables"] == {"place": "the pub"}
    assert (await changed(ann, one, scenario_id=other))["variables"] == {"place": "the pub"}, "it has it too"
    assert (await changed(ann, one, scenario_id=plain))["variables"] == {}
    refused = await ann.ask("PATCH", f"{PATH}/{one['id']}", {"scenario_id": excuse})
    assert refused.status_code == 422
    assert (await ann.get(f"{PATH}/{one['id']}")).json()["scenario_id"] == plain, "nothing was changed"


async def test_a_calendar_gets_all_runs_up_to_its_end(ann: Person) -> None:
    """In the user's zone: the last day is whole, the day after is not begun."""
    every_day = await made(ann, rrule="FREQ=DAILY;BYHOUR=23;BYMINUTE=30")
    once = await made(ann, at="2027-02-01T09:00:00")
    found = (await ann.get(f"{PATH}?runs_until=2026-12-20")).json()["items"]
    coming = {one["id"]: one["next_runs"] for one in found}
    assert coming[once["id"]] == []
    daily = coming[every_day["id"]]
    assert (len(daily), daily[0], daily[-1]) == (28, "2026-11-23T23:30:00+01:00", "2026-12-20T23:30:00+01:00")
    dense = await made(ann, rrule="FREQ=HOURLY;BYMINUTE=0,15,30,45")
    found = (await ann.get(f"{PATH}?runs_until=2027-01-04")).json()["items"]
    (quarters,) = (len(one["next_runs"]) for one in found if one["id"] == dense["id"])
    assert quarters == 43 * 96 - 13 * 4 - 1, "every quarter of an hour from a quarter past one on"
    too_far = await ann.get(f"{PATH}?runs_until=2027-01-05")
    assert too_far.json()["errors"] == [
        {"field": "query.runs_until", "message": "may be at most 42 days away"}
    ]
    assert (await ann.get(f"{PATH}?runs_until=soon")).status_code == 422
