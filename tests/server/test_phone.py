"""Proving a number: how many codes go out, what Verify decides, who loses a number, and what is on record of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.core.errors import CarrierError
from server.limits import neighbourhood
from storage import users, verification
from tests.server.rig import PHONE, Person, Rig, running, settings


async def send(rig: Rig, person: Person, number: str) -> str:
    """The reason of the refusal, its code where it has none, "" for a code that was sent."""
    rig.clock.move(1)
    answer = await person.post("/api/me/phone", {"phone": number})
    problem = answer.json()
    return "" if answer.status_code == 202 else str(problem.get("reason") or problem["code"])


@pytest.mark.parametrize(
    ("limit", "numbers"),
    [
        ({"codes_per_network": 2}, ["+12025550111", "+12125550122", "+14155550133"]),
        ({"codes_per_prefix": 2}, ["+12025550111", "+12025550122", "+12025550133"]),
    ],
)
async def test_a26_codes_from_a_network_and_to_neighbouring_numbers(
    tmp_path: Path, limit: dict[str, int], numbers: list[str]
) -> None:
    async with running(settings(tmp_path, **limit)) as rig:
        people = [await rig.register(f"{n}@example.com") for n in range(3)]
        sent = [await send(rig, person, number) for person, number in zip(people, numbers, strict=True)]
        assert sent == ["", "", "rate_limited"]
        assert len(rig.carrier.sms) == 2


async def test_a26_a_country_whose_codes_nobody_types_in_gets_no_more_for_a_day(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register()
        async with rig.parts.database.write() as tx:
            for number in range(50):
                now = rig.clock.utc() - timedelta(hours=1, seconds=number)
                row = await verification.start(
                    tx, ann.id, f"+1202555{1000 + number}", "", now + timedelta(minutes=10), now, region="US"
                )
                if number < 14:
                    await verification.finish(tx, row.id)
            await tx.execute(text("UPDATE phone_verifications SET user_id = :u"), {"u": ann.id})
        bob = await rig.register("bob@example.com")
        assert await send(rig, bob, PHONE) == "codes_unconfirmed"
        rig.clock.move(24 * 3600)
        assert await send(rig, bob, PHONE) == ""


async def test_a_mistyped_code_is_told_what_it_has_to_be(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register()
        assert await send(rig, ann, "+12025550111") == ""
        for typed in ("123", "1234567", "12345a", "١٢٣٤٥٦", ""):
            answer = await ann.post("/api/me/phone/verify", {"code": typed})
            found = [(fault["field"], fault["message"]) for fault in answer.json()["errors"]]
            assert found == [("code", "has to be the six digits that were sent")], typed


async def test_a_person_proves_so_many_numbers_a_month(tmp_path: Path) -> None:
    async with running(settings(tmp_path, numbers_per_user=2)) as rig:
        ann = await rig.register()
        await ann.verify_phone("+12025550111")
        await ann.verify_phone("+12025550122")
        assert await send(rig, ann, "+12025550133") == "numbers_per_user"
        assert await send(rig, ann, "+12025550111") == "", "one of those already"
        rig.clock.move(31 * 86_400)
        fresh = await rig.login("ann@example.com", "correct horse battery")
        ann.token = fresh.json()["token"]
        assert await send(rig, ann, "+12025550133") == ""


async def test_a27_who_loses_a_number_is_told_and_nothing_scheduled_rings(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        ann, bob = await rig.register(), await rig.register("bob@example.com")
        await ann.verify_phone()
        assert (await ann.ask("PATCH", "/api/me", {"quiet_hours": "off"})).status_code == 200
        due = (rig.clock.utc() + timedelta(hours=5)).isoformat()
        made = await ann.post("/api/scheduled-calls", {"persona_id": "brad", "at": due})
        await bob.verify_phone()
        hers, his = (await ann.get("/api/me")).json(), (await bob.get("/api/me")).json()
        assert (hers["phone_verified"], hers["phone_notice"], hers["quiet_hours"]) == (False, "lost", None)
        assert (his["phone_verified"], his["phone_notice"], his["quiet_hours"]) == (True, "taken_over", None)
        seen = (await ann.get(f"/api/scheduled-calls/{made.json()['id']}")).json()
        assert (seen["status"], seen["reason"], seen["due_at"]) == ("paused", "number_lost", None)
        await ann.verify_phone("+12025550199")
        assert (await ann.get("/api/me")).json()["phone_notice"] == ""


async def test_what_was_agreed_to_is_on_record_and_in_the_export(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register()
        await ann.verify_phone()
        due = (rig.clock.utc() + timedelta(hours=5)).isoformat()
        made = (await ann.post("/api/scheduled-calls", {"persona_id": "brad", "at": due})).json()
        await ann.ask("PATCH", "/api/me", {"quiet_hours": "23:00-06:00"})
        kept = (await ann.get("/api/me/export")).json()["consents"]
        assert {row["method"] for row in kept} == {
            "code",
            f"schedule {made['id']}",
            "quiet hours 23:00-06:00",
        }
        assert {(row["phone_e164"], row["text_version"]) for row in kept} == {(PHONE, "1")}
        assert all(row["ip"] and row["created_at"] for row in kept)
        shown = (await ann.get("/api/me/consents?limit=2")).json()
        rest = (await ann.get(f"/api/me/consents?cursor={shown['next_cursor']}")).json()
        listed = [*shown["items"], *rest["items"]]
        assert (rest["next_cursor"], len(listed)) == (None, len(kept))
        assert {row["method"] for row in listed} == {row["method"] for row in kept}
        assert {row["phone"] for row in listed} == {PHONE}
        assert all('say "stop calling me"' in row["text"] for row in listed)
        bob = await rig.register("bob@example.com")
        assert (await bob.get("/api/me/consents")).json()["items"] == []


async def test_own_quiet_hours_need_a_proved_number_and_two_times(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register()
        assert (await ann.ask("PATCH", "/api/me", {"quiet_hours": "off"})).status_code == 403
        await ann.verify_phone()
        for wrong in ("25:00-06:00", "never", "9-10", ""):
            assert (await ann.ask("PATCH", "/api/me", {"quiet_hours": wrong})).status_code == 422


def test_neighbours_of_a_network() -> None:
    assert neighbourhood("198.51.100.77") == neighbourhood("198.51.100.1") == "198.51.100.0/24"
    assert neighbourhood("198.51.101.1") != neighbourhood("198.51.100.1")
    assert neighbourhood("2001:db8::/64") == "2001:db8::/64"


@dataclass
class ByTheCarrier:
    """`Codes` as Verify makes them: one code a number."""

    sent: list[str] = field(default_factory=list)
    fails: bool = False

    async def send(self, to: str) -> str:
        if self.fails:
            raise CarrierError("not today", code=60410)
        self.sent.append(to)
        return f"VE{len(self.sent)}"

    async def check(self, sid: str, code: str) -> bool:
        return code == f"{len(self.sent):06d}" and sid == f"VE{len(self.sent)}"

    async def aclose(self) -> None: ...


async def test_with_verify_the_carrier_makes_and_checks_the_code(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        codes = rig.parts.codes = ByTheCarrier()
        ann = await rig.register()
        assert await send(rig, ann, PHONE) == ""
        assert (codes.sent, rig.carrier.sms) == ([PHONE], [])
        assert (await ann.post("/api/me/phone/verify", {"code": "999999"})).status_code == 422
        assert (await ann.post("/api/me/phone/verify", {"code": "000001"})).json()["phone_verified"]
        assert (await ann.post("/api/me/phone/verify", {"code": "000001"})).status_code == 422, "used up"
        assert await send(rig, ann, PHONE) == ""
        for _ in range(5):
            assert (await ann.post("/api/me/phone/verify", {"code": "999999"})).status_code == 422
        assert (await ann.post("/api/me/phone/verify", {"code": "000002"})).status_code == 422, (
            "a sixth guess"
        )
        codes.fails = True
        assert await send(rig, ann, PHONE) == "overloaded"


async def test_an_account_that_proves_its_own_number_again_took_it_from_nobody(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register()
        await ann.verify_phone()
        await ann.ask("PATCH", "/api/me", {"quiet_hours": "off"})
        async with rig.parts.database.write() as tx:
            user = await users.mark_verified(tx, ann.id, PHONE, rig.clock.utc())
        assert (user.phone_notice, user.quiet_hours) == ("", "off")
