"""Proving a phone over HTTP: its code, guesses at it, and who has the number then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.server.rig import PHONE, Person, Rig, running, settings


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


async def test_a_phone_is_proved_with_the_code_that_was_sent(rig: Rig, ann: Person) -> None:
    sent = await ann.post("/api/me/phone", {"phone": "+1 (202) 555-0142"})
    assert sent.status_code == 202
    told = sent.json()
    assert (told["phone_last2"], told["expires_at"]) == ("42", "2026-11-23T12:10:00Z")
    assert "artificial voice" in told["consent"]
    assert [to for to, _ in rig.carrier.sms] == [PHONE]
    code = rig.carrier.last_code()
    assert (len(code), code.isdigit()) == (6, True)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    refused = await ann.post("/api/me/phone/verify", {"code": wrong})
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong_code")
    assert not (await ann.get("/api/me")).json()["phone_verified"]
    proved = await ann.post("/api/me/phone/verify", {"code": code})
    assert (proved.json()["phone"], proved.json()["phone_verified"]) == (PHONE, True)
    again = await ann.post("/api/me/phone/verify", {"code": code})
    assert again.status_code == 422, "a code works once"


async def test_a26_guesses_age_and_other_requests_codes(rig: Rig, ann: Person) -> None:
    await ann.post("/api/me/phone", {"phone": PHONE})
    first = rig.carrier.last_code()
    rig.clock.move(1)
    await ann.post("/api/me/phone", {"phone": "+12025550143"})
    second = rig.carrier.last_code()
    if first != second:
        assert (await ann.post("/api/me/phone/verify", {"code": first})).status_code == 422, "an earlier code"
    wrong = f"{(int(second) + 1) % 1_000_000:06d}"
    for _ in range(5):
        assert (await ann.post("/api/me/phone/verify", {"code": wrong})).status_code == 422
    assert (await ann.post("/api/me/phone/verify", {"code": second})).status_code == 422, "the sixth guess"
    rig.clock.move(1)
    await ann.post("/api/me/phone", {"phone": PHONE})
    rig.clock.move(600)
    old = await ann.post("/api/me/phone/verify", {"code": rig.carrier.last_code()})
    assert old.status_code == 422, "ten minutes are over"
    bob = await rig.register("bob@example.com")
    assert (await bob.post("/api/me/phone/verify", {"code": rig.carrier.last_code()})).status_code == 422


async def test_a26_how_many_codes_are_sent(rig: Rig) -> None:
    people = [await rig.register(f"{n}@example.com") for n in range(4)]
    statuses = [(await person.post("/api/me/phone", {"phone": PHONE})).status_code for person in people]
    assert statuses == [202, 202, 202, 429], "three to a number in ten minutes, whoever asks"
    for _ in range(3):
        rig.clock.move(601)
        statuses = [(await people[3].post("/api/me/phone", {"phone": PHONE})).status_code]
    rig.clock.move(601)
    answer = await people[0].post("/api/me/phone", {"phone": PHONE})
    assert answer.status_code == 429, "six to a number in a day"
    assert answer.json()["code"] == "rate_limited"
    assert int(answer.headers["retry-after"]) > 600
    assert len(rig.carrier.sms) == 6
    rig.clock.move(3601)
    numbers = [f"+120255501{n:02d}" for n in range(7)]
    statuses = [(await people[1].post("/api/me/phone", {"phone": number})).status_code for number in numbers]
    assert statuses == [202] * 5 + [429] * 2, "five for a user in an hour"


@pytest.mark.parametrize(
    "limit", [{"codes_per_number_daily": 3}, {"codes_per_prefix": 3}, {"codes_per_network": 3}], ids=str
)
async def test_a26_deleting_the_account_sets_no_limit_back(tmp_path: Path, limit: dict[str, int]) -> None:
    """Each code is asked for by a new account, which goes at once; only one limit is in the way."""
    wide = {
        "codes_per_number": 20,
        "codes_per_number_daily": 20,
        "codes_per_prefix": 20,
        "codes_per_network": 20,
    }
    async with running(settings(tmp_path, **{**wide, **limit})) as rig:
        statuses = []
        for number in range(5):
            person = await rig.register(f"p{number}@example.com")
            phone = PHONE if "codes_per_number_daily" in limit else f"+120255501{number:02d}"
            statuses.append((await person.post("/api/me/phone", {"phone": phone})).status_code)
            assert (await person.ask("DELETE", "/api/me")).status_code == 204
        assert statuses == [202, 202, 202, 429, 429]
        assert len(rig.carrier.sms) == 3


async def test_codes_asked_for_at_the_same_moment_do_not_outrun_the_limit(rig: Rig, ann: Person) -> None:
    answers = await asyncio.gather(*(ann.post("/api/me/phone", {"phone": PHONE}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 7
    assert len(rig.carrier.sms) == 3


async def test_a27_who_proves_a_number_has_it(rig: Rig, ann: Person) -> None:
    await ann.verify_phone()
    bob = await rig.register("bob@example.com", phone=PHONE)
    assert (await ann.get("/api/me")).json()["phone_verified"], "naming it proves nothing"
    await bob.verify_phone()
    assert not (await ann.get("/api/me")).json()["phone_verified"]
    assert (await bob.get("/api/me")).json()["phone_verified"]


async def test_a_proved_number_stays_until_another_is_proved(rig: Rig, ann: Person) -> None:
    await ann.verify_phone()
    rig.clock.move(1)
    await ann.post("/api/me/phone", {"phone": "+12025550199"})
    me = (await ann.get("/api/me")).json()
    assert (me["phone"], me["phone_verified"]) == (PHONE, True)
    proved = await ann.post("/api/me/phone/verify", {"code": rig.carrier.last_code()})
    assert (proved.json()["phone"], proved.json()["phone_verified"]) == ("+12025550199", True)


@pytest.mark.parametrize("number", ["+18762345678", "+19002345678", "+18002345678", "+447400123456"])
async def test_numbers_that_may_not_be_rung_get_no_code(rig: Rig, ann: Person, number: str) -> None:
    answer = await ann.post("/api/me/phone", {"phone": number})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed_number")
    assert rig.carrier.sms == []


async def test_a_carrier_that_fails_is_an_overload(rig: Rig, ann: Person) -> None:
    rig.carrier.sms_fails = True
    answer = await ann.post("/api/me/phone", {"phone": PHONE})
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
