"""Every route over HTTP: shapes, refusals, and that nobody reaches what is somebody else's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from server.console import PAGES, REFERENCE
from server.errors import MEDIA_TYPE, Problem
from server.metrics import REQUESTS
from server.parts import State
from server.routes import OPS
from storage import users
from tests.server.rig import PASSWORD, PHONE, Person, Rig, running, settings

SEVEN_FIELDS = ("user_id", "balance", "payment_method", "is_admin", "phone_verified", "price", "role")


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


async def test_an_account_from_registration_to_profile(rig: Rig) -> None:
    body = {"email": "Ann@Example.com", "password": PASSWORD, "name": " Ann ", "phone": "+1 202 555 0142"}
    answer = await rig.http.post("/api/auth/register", json={**body, "timezone": "America/New_York"})
    assert answer.status_code == 201
    user = answer.json()["user"]
    assert user["email"] == "ann@example.com"
    assert (user["phone"], user["phone_verified"]) == (PHONE, False)
    assert user["timezone"] == "America/New_York"
    assert answer.json()["expires_at"] == "2026-11-24T12:00:00Z"
    login = await rig.login("ANN@example.com", PASSWORD)
    assert login.status_code == 200
    assert login.json()["user"] == user
    person = Person(rig, login.json()["token"], user["id"], user["email"])
    assert (await person.get("/api/auth/validate")).json() == {"valid": True, "user": user}
    changed = await person.ask("PATCH", "/api/me", {"name": "Anna", "timezone": "Europe/Berlin"})
    assert changed.json() == {**user, "name": "Anna", "timezone": "Europe/Berlin"}
    assert (await person.get("/api/me")).json() == changed.json()
    assert "password" not in (answer.text + login.text).lower()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "a@" + "b" * 300 + ".com"}, "email"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 7}, "name"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"phone": "911"}, "phone"),
        ({"phone": 12025550142}, "phone"),
    ],
)
async def test_a_registration_that_will_not_do_names_its_field(
    rig: Rig, change: dict[str, object], field: str
) -> None:
    body = {"email": "ann@example.com", "password": PASSWORD, "name": "Ann", **change}
    answer = await rig.http.post("/api/auth/register", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert problem.code == "invalid_request"
    assert [error.field for error in problem.errors or []] == [field]
    async with rig.parts.database.read() as tx:
        assert await users.by_email(tx, "ann@example.com") is None


async def test_what_was_sent_never_comes_back_in_a_refusal(rig: Rig) -> None:
    body = {
        "email": "canary-mail",
        "password": "canary",
        "name": "Ann",
        "phone": "+1canary",
        "timezone": "canary",
    }
    answer = await rig.http.post("/api/auth/register", json=body)
    assert answer.status_code == 422
    assert "canary" not in answer.text


async def test_a22_fields_that_are_not_the_clients_are_refused_everywhere(rig: Rig, ann: Person) -> None:
    good: dict[tuple[str, str], dict[str, object]] = {
        ("POST", "/api/auth/register"): {"email": "eve@example.com", "password": PASSWORD, "name": "Eve"},
        ("POST", "/api/auth/login"): {"email": ann.email, "password": PASSWORD},
        ("PATCH", "/api/me"): {"name": "Eve"},
        ("POST", "/api/me/phone"): {"phone": PHONE},
        ("POST", "/api/me/password"): {"current_password": PASSWORD, "new_password": "another one"},
        ("POST", "/api/me/phone/verify"): {"code": "000000"},
        ("PUT", "/api/personas/{id}/relationship"): {"kind": "friend"},
        ("POST", "/api/personas/{id}/memories"): {"text": "t"},
        ("PATCH", "/api/personas/{id}/memories/{mid}"): {"text": "t"},
        ("POST", "/api/admin/personas"): {
            "id": "x",
            "name": "X",
            "identity": "You are X.",
            "greeting": "Hi.",
            "voice": "sarah",
        },
        ("PATCH", "/api/admin/personas/{id}"): {"name": "t"},
        ("POST", "/api/admin/users/{id}/credit"): {"usd": "1", "key": "k"},
        ("POST", "/api/admin/opt-outs"): {"phone": PHONE},
        ("POST", "/api/admin/opt-outs/lookup"): {"phone": PHONE},
        ("POST", "/api/scenarios"): {"title": "t", "prompt": "p"},
        ("PATCH", "/api/scenarios/{id}"): {"title": "t"},
        ("POST", "/api/calls"): {"persona_id": "brad"},
        ("POST", "/api/scheduled-calls"): {"persona_id": "brad", "at": "2026-12-24T18:00:00"},
        ("POST", "/api/scheduled-calls/preview"): {"rrule": "FREQ=DAILY"},
        ("PATCH", "/api/scheduled-calls/{id}"): {"context": "c"},
        ("PUT", "/api/budget"): {},
        ("POST", "/api/credits/checkout"): {"pack": "5"},
    }
    assert good.keys() == {(op.method, op.path) for op in OPS if op.body is not None}
    before = [
        (await ann.get(path)).json() for path in ("/api/me", "/api/scenarios", "/api/credits", "/api/budget")
    ]
    for (method, path), body in good.items():
        for field in SEVEN_FIELDS:
            answer = await ann.ask(method, path.replace("{id}", "brad"), {**body, field: True})
            assert answer.status_code == 422, (method, path, field)
            assert field in [error["field"] for error in answer.json()["errors"]]
    after = [
        (await ann.get(path)).json() for path in ("/api/me", "/api/scenarios", "/api/credits", "/api/budget")
    ]
    assert before == after
    assert rig.carrier.sms == []
    async with rig.parts.database.read() as tx:
        assert await users.by_email(tx, "eve@example.com") is None


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
    await ann.post("/api/me/phone/verify", {"code": rig.carrier.last_code()})
    assert (await ann.get("/api/me")).json()["phone"] == "+12025550199"


@pytest.mark.parametrize("number", ["+18762345678", "+19002345678", "+18002345678", "+447400123456"])
async def test_numbers_that_may_not_be_rung_get_no_code(rig: Rig, ann: Person, number: str) -> None:
    answer = await ann.post("/api/me/phone", {"phone": number})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed_number")
    assert rig.carrier.sms == []


async def test_a_carrier_that_fails_is_an_overload(rig: Rig, ann: Person) -> None:
    rig.carrier.sms_fails = True
    answer = await ann.post("/api/me/phone", {"phone": PHONE})
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


async def test_personas_and_what_they_are_to_me(ann: Person, rig: Rig) -> None:
    personas = (await ann.get("/api/personas")).json()["items"]
    assert len(personas) >= 3
    first = personas[0]
    assert (await ann.get(f"/api/personas/{first['id']}")).json() == first
    path = f"/api/personas/{first['id']}/relationship"
    assert (await ann.get(path)).json()["calls"] == 0
    put = await ann.ask("PUT", path, {"kind": "coach", "notes": "I'm training for a run."})
    assert put.json()["kind"] == "coach"
    assert (await ann.get(path)).json() == put.json()
    bob = await rig.register("bob@example.com")
    assert (await bob.get(path)).json()["notes"] == ""
    for method, body in (("GET", None), ("PUT", {"kind": "x"})):
        assert (await ann.ask(method, "/api/personas/nobody/relationship", body)).status_code == 404
    assert (await ann.get("/api/personas/nobody")).status_code == 404


async def test_scenarios_are_made_read_changed_and_removed(ann: Person) -> None:
    new = {"title": "Wake me", "prompt": "Get me up.", "max_minutes": 3}
    made = await ann.post("/api/scenarios", new)
    assert made.status_code == 201
    path = f"/api/scenarios/{made.json()['id']}"
    assert (await ann.get(path)).json() == made.json()
    changed = await ann.ask("PATCH", path, {"opening": "Up!", "max_minutes": None})
    assert (changed.json()["opening"], changed.json()["max_minutes"]) == ("Up!", None)
    assert changed.json()["title"] == "Wake me"
    assert (await ann.ask("PATCH", path, {})).status_code == 422
    assert (await ann.ask("DELETE", path)).status_code == 204
    assert (await ann.get(path)).status_code == 404
    assert (await ann.ask("DELETE", path)).status_code == 404


async def test_a_scenario_says_what_it_leaves_open(ann: Person) -> None:
    new = {"title": "t", "prompt": "At {place} with {name}.", "opening": "{when|Now}?"}
    made = (await ann.post("/api/scenarios", new)).json()
    assert made["variables"] == [{"name": "place", "default": None}, {"name": "when", "default": "Now"}]
    many = "".join(f"{{v{n}}}" for n in range(21))
    for texts in ({"prompt": many}, {"prompt": "p", "opening": "{a|" + "x" * 201 + "}"}):
        refused = await ann.post("/api/scenarios", {"title": "t", **texts})
        assert (refused.status_code, len(refused.json()["errors"])) == (422, 1)
    odd: list[object] = [
        {"Place": "x"},
        {"place": ""},
        {"place": "x" * 201},
        {"place": "\0"},
        {"place": 7},
        [],
        "x",
    ]
    for variables in odd:
        order = {"persona_id": "brad", "scenario_id": made["id"], "variables": variables}
        assert (await ann.post("/api/calls", order)).status_code == 422, variables
    popular = (await ann.get("/api/scenarios?sort=popular&limit=100")).json()["items"]
    assert {item["id"] for item in popular} >= {made["id"]}
    assert (await ann.get("/api/scenarios?sort=oldest")).status_code == 422


async def test_a_list_is_read_page_by_page(ann: Person) -> None:
    for number in range(5):
        await ann.post("/api/scenarios", {"title": f"t{number}", "prompt": "p"})
    whole = (await ann.get("/api/scenarios?limit=100")).json()
    assert whole["next_cursor"] is None
    seen, cursor = [], ""
    for _ in range(20):
        page = (await ann.get(f"/api/scenarios?limit=2{cursor}")).json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == whole["items"]
    assert len(seen) >= 5


BAD_QUERIES = [
    "limit=0", "limit=101", "limit=x", "limit=1&limit=2", "offset=1", "cursor=", "cursor=!!", "cursor=AAAA",
    "cursor=%00", "cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "cursor=" + "A" * 300, "cursor=%F0%9F%90%A2",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/api/scenarios", "/api/calls", "/api/credits/transactions"])
async def test_a_query_that_will_not_do_is_refused(ann: Person, path: str) -> None:
    for query in BAD_QUERIES:
        answer = await ann.get(f"{path}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), query


async def test_a21_other_peoples_things_look_like_nothing(rig: Rig, ann: Person) -> None:
    made = (await ann.post("/api/scenarios", {"title": "mine", "prompt": "p"})).json()["id"]
    bob = await rig.register("bob@example.com")
    near = f"{int(made, 16) + 1:032x}"
    for ident in (made, near, made.upper(), "0", "-1", "..", "%00", "a" * 65, "é", "x'--"):
        for method, body in (("GET", None), ("PATCH", {"title": "his"}), ("DELETE", None)):
            answer = await bob.ask(method, f"/api/scenarios/{ident}", body)
            unknown = await bob.ask(method, f"/api/scenarios/{'f' * 32}", body)
            assert answer.status_code == 404, ident
            if ident != "..":
                assert answer.content == unknown.content
    assert (await ann.get(f"/api/scenarios/{made}")).json()["title"] == "mine"


NO_AMOUNTS: list[object] = [
    "0", "0.00", "-1", "-0.01", "9223372036854775808", "9223372036.854775808", "1.0000000001", "1e3", "NaN", "inf",
    "1,00", " 1", "１", "0x10", "", 1, 1.5, True, [], "1" * 400,
]  # fmt: skip


@pytest.mark.parametrize("field", ["per_call_usd", "daily_usd"])
async def test_a43_amounts_that_are_none(ann: Person, field: str) -> None:
    for amount in NO_AMOUNTS:
        answer = await ann.ask("PUT", "/api/budget", {field: amount})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), amount
    assert (await ann.get("/api/budget")).json()["per_call_usd"] is None


async def test_a_budget_is_replaced_as_a_whole(ann: Person) -> None:
    put = await ann.ask("PUT", "/api/budget", {"per_call_usd": "0.123456789", "warn_percent": 50})
    unused = {"spent_usd": "0.00", "held_usd": "0.00", "limit_usd": None}
    assert put.json() == {
        "per_call_usd": "0.123456789", "daily_usd": None, "monthly_usd": None, "warn_percent": 50, "auto_cutoff": True,
        "day": {"period": "2026-11-23", **unused}, "month": {"period": "2026-11", **unused},
    }  # fmt: skip
    assert (await ann.get("/api/budget")).json() == put.json()
    assert (await ann.ask("PUT", "/api/budget", {"auto_cutoff": False})).json()["per_call_usd"] is None
    for body in ({"warn_percent": 0}, {"warn_percent": 101}, {"weekly_usd": "5.00"}):
        assert (await ann.ask("PUT", "/api/budget", body)).status_code == 422
    limited = await ann.ask("PUT", "/api/budget", {"daily_usd": "5", "monthly_usd": "50.00"})
    assert (limited.json()["day"]["limit_usd"], limited.json()["month"]["limit_usd"]) == ("5.00", "50.00")


async def test_the_day_of_a_budget_is_the_users_own(ann: Person) -> None:
    """It is noon in London; in Auckland the next day has begun."""
    assert (await ann.ask("PATCH", "/api/me", {"timezone": "Pacific/Auckland"})).status_code == 200
    assert (await ann.get("/api/budget")).json()["day"]["period"] == "2026-11-24"


async def test_credit_prices_and_estimates_are_decimal_strings(ann: Person) -> None:
    zero = {"balance_usd": "0.00", "held_usd": "0.00", "available_usd": "0.00"}
    assert (await ann.get("/api/credits")).json() == zero
    prices = (await ann.get("/api/prices")).json()["items"]
    carrier = next(price for price in prices if price["service"] == "carrier")
    assert (carrier["price_usd"], carrier["block_units"], carrier["increment"]) == ("0.014", 60, 60)
    assert all(price["source"] for price in prices)
    one = (await ann.get("/api/estimate?minutes=1&persona_id=brad")).json()
    five = (await ann.get("/api/estimate?minutes=5")).json()
    assert {line["service"] for line in five["lines"]} == {"carrier", "stream", "amd", "stt", "llm", "tts"}
    assert float(one["total_usd"]) < float(five["total_usd"]) < 5 * float(one["total_usd"]) + 0.001
    for query in (
        "",
        "minutes=0",
        "minutes=-1",
        "minutes=1.5",
        "minutes=9999999999999999999",
        "minutes=1&x=1",
    ):
        assert (await ann.get(f"/api/estimate?{query}")).status_code == 422
    assert (await ann.get("/api/estimate?minutes=1&persona_id=nobody")).status_code == 404


TEXTS = [
    "'; DROP TABLE users; --", 'a "quoted" name', "? ?? :name $1 %s %% _", "back\\slash", "line\nbreak\ttab",
    "日本語 🐢",
    "\u202eright to left", "\x7f\x1b[31m", "a" * 100,
]  # fmt: skip


async def test_a34_any_text_is_kept_as_it_is(ann: Person) -> None:
    await keeps_texts(ann)


async def test_a34_any_text_is_kept_as_it_is_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    async with running(settings(tmp_path, database_url=postgres_url)) as rig:
        ann = await rig.register()
        await keeps_texts(ann)
        await ann.verify_phone()
        assert (await ann.get("/api/scenarios/%00")).status_code == 404
        assert (await ann.post("/api/auth/logout")).status_code == 204
        assert (await ann.get("/api/me")).status_code == 401


async def keeps_texts(ann: Person) -> None:
    for text in TEXTS:
        assert (await ann.ask("PATCH", "/api/me", {"name": text})).json()["name"] == text
        assert (await ann.get("/api/me")).json()["name"] == text
        made = (await ann.post("/api/scenarios", {"title": text, "prompt": text, "opening": text})).json()
        assert (await ann.get(f"/api/scenarios/{made['id']}")).json() == made
        assert {made["title"], made["prompt"], made["opening"]} == {text}
        put = await ann.ask("PUT", "/api/personas/brad/relationship", {"kind": text[:40], "notes": text})
        assert (put.json()["kind"], put.json()["notes"]) == (text[:40], text)
        assert (await ann.rig.login(text, PASSWORD)).status_code == 401


@pytest.mark.parametrize(
    "literal", [r'"nul \u0000"', r'"half \ud800"', '"' + "x" * 60_000 + '"', "7", "null", "[]"]
)
async def test_a34_text_that_cannot_be_kept_is_refused(ann: Person, literal: str) -> None:
    for method, path, body in (
        ("PATCH", "/api/me", f'{{"name": {literal}}}'),
        ("POST", "/api/scenarios", f'{{"title": {literal}, "prompt": "p"}}'),
        ("POST", "/api/scenarios", f'{{"title": "t", "prompt": {literal}}}'),
        ("PUT", "/api/personas/brad/relationship", f'{{"kind": "k", "notes": {literal}}}'),
        ("POST", "/api/calls", f'{{"persona_id": "brad", "context": {literal}}}'),
    ):
        if (literal, path) == ("null", "/api/me"):
            continue  # null there means: leave it
        answer = await ann.rig.http.request(
            method, path, content=body,
            headers={"content-type": "application/json", "authorization": f"Bearer {ann.token}"},
        )  # fmt: skip
        assert answer.status_code in {400, 422}, (path, literal[:20])
        assert answer.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 30_000, "application/json", 400),
        (b'{"name":' * 5_000, "application/json", 400),
        (b"[" * 100 + b"]" * 100, "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b" " * 65_537, "application/json", 413),
        (b'{"name": "' + b"x" * 65_536 + b'"}', "application/json", 413),
        (b'{"name": NaN}', "application/json", 422),
        (b'{"name": 1e400}', "application/json", 422),
    ],
)
async def test_a38_bodies_that_are_none(ann: Person, content: bytes, media: str, status: int) -> None:
    headers = {"content-type": media, "authorization": f"Bearer {ann.token}"}
    answer = await ann.rig.http.patch("/api/me", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["code"] == "invalid_request"


async def test_every_answer_carries_the_security_headers(rig: Rig, ann: Person) -> None:
    for answer in (await ann.get("/api/me"), await rig.http.get("/nothing"), await rig.http.get("/healthz")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


async def test_unknown_addresses_and_methods(rig: Rig, ann: Person) -> None:
    answer = await rig.http.get("/api/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await ann.get("/api/me/")).status_code == 404, "no redirect made from the Host header"
    answer = await ann.ask("PUT", "/api/scenarios", {})
    assert (answer.status_code, answer.json()["code"]) == (405, "invalid_request")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}
    assert (await ann.ask("HEAD", "/api/calls")).status_code == 405


async def test_probes_may_ask_for_the_head_only(rig: Rig) -> None:
    for path in ("/healthz", "/readyz"):
        whole, head = await rig.http.get(path), await rig.http.head(path)
        assert (head.status_code, head.headers["content-length"]) == (200, whole.headers["content-length"])
    rig.parts.state = State.DRAINING
    assert (await rig.http.head("/readyz")).status_code == 503
    assert (await rig.http.head("/healthz")).status_code == 200


async def test_the_front_page_says_what_this_is_and_where_to_read_on(rig: Rig) -> None:
    answer = await rig.http.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for words in ("Call Me Back", 'href="/docs"', "/static/js/pages/start.js"):
        assert words in answer.text


async def test_private_routes_need_a_token_and_public_ones_do_not(rig: Rig) -> None:
    public = {(op.method, op.path) for op in OPS if op.public}
    assert public == {
        ("POST", "/api/auth/register"), ("POST", "/api/auth/login"),
        ("GET", "/healthz"), ("HEAD", "/healthz"), ("GET", "/readyz"), ("HEAD", "/readyz"),
        ("GET", "/metrics"), ("GET", "/openapi.json"), ("POST", "/stripe/webhook"),
    }  # fmt: skip
    for op in OPS:
        if not op.public:
            answer = await rig.http.request(op.method, op.path.replace("{id}", "x"), json={})
            assert answer.status_code == 401, op.path


async def test_metrics_are_for_loopback_or_the_token(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        assert "callmeback_http_requests_total" in (await rig.http.get("/metrics")).text
        far = await rig.http.get("/metrics", headers={"x-forwarded-for": "198.51.100.1"})
        assert far.status_code == 404, "through a proxy on this machine"
    async with running(settings(tmp_path, metrics_token="a token for metrics")) as rig:
        assert (await rig.http.get("/metrics")).status_code == 404
        for token, status in (("a token for metrics", 200), ("another", 404), ("ä", 404)):
            header = [(b"authorization", f"Bearer {token}".encode())]
            assert (await rig.http.get("/metrics", headers=header)).status_code == status


async def test_requests_are_counted_by_route_and_never_by_path(rig: Rig, ann: Person) -> None:
    await ann.get("/api/scenarios/0123456789abcdef0123456789abcdef")
    await ann.get("/wp-login.php")
    routes = {sample.labels["route"] for metric in REQUESTS.collect() for sample in metric.samples}
    assert "/api/scenarios/{id}" in routes
    pages = {page.path for page in (*PAGES, REFERENCE)} | {"/static"}
    assert routes <= {op.path for op in OPS} | pages | {"other"}


async def test_a_surprise_is_a_500_that_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register()
        rig.parts.passwords.close()
        answer = await rig.login(ann.email, PASSWORD)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "shutdown" not in answer.text
    reference = answer.json()["detail"].rsplit(" ", 1)[-1]
    logged = capsys.readouterr().out + caplog.text  # wherever logging was sent last
    assert reference in logged
    assert "passwords.py" in logged
    assert PASSWORD not in logged


async def test_a47_a_fresh_server_has_no_users(rig: Rig) -> None:
    for email, password in (("admin@example.com", "password"), ("demo", "demodemo"), ("admin", "adminadmin")):
        assert (await rig.login(email, password)).status_code == 401


async def test_the_description_is_served(rig: Rig) -> None:
    described = json.loads((await rig.http.get("/openapi.json")).content)
    assert described["openapi"] == "3.1.0"
