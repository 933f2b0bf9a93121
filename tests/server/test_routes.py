"""Routes over HTTP: shapes, refusals, and that nobody reaches what is somebody else's."""

from __future__ import annotations

import pytest

from server.errors import MEDIA_TYPE, Problem
from server.routes import OPS
from storage import users
from tests.server.rig import PASSWORD, PHONE, Person, Rig

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
    assert changed.json() == {
        **user, "name": "Anna", "timezone": "Europe/Berlin", "opted_out": False,
    }  # fmt: skip
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
        ("PUT", "/api/me/inbound-pin"): {"pin": "482913"},
        ("POST", "/api/admin/inbound-blocks"): {"phone": PHONE},
        ("POST", "/api/admin/opt-outs"): {"phone": PHONE},
        ("POST", "/api/admin/opt-outs/lookup"): {"phone": PHONE},
        ("POST", "/api/scenarios"): {"title": "t", "prompt": "p"},
        ("PATCH", "/api/scenarios/{id}"): {"title": "t"},
        ("POST", "/api/calls"): {"persona_id": "brad"},
        ("POST", "/api/scheduled-calls"): {"persona_id": "brad", "at": "2026-12-24T18:00:00"},
        ("POST", "/api/scheduled-calls/preview"): {"rrule": "FREQ=DAILY"},
        ("PATCH", "/api/scheduled-calls/{id}"): {"context": "c"},
        ("POST", "/api/simulation/calls"): {"phone": "+12025550171"},
        ("POST", "/api/missed-calls/seen"): {"until": "2026-11-23T12:00:00Z"},
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


async def test_a_budget_keeps_what_is_left_out_and_null_lifts_a_limit(ann: Person) -> None:
    put = await ann.ask("PUT", "/api/budget", {"per_call_usd": "0.123456789", "warn_percent": 50})
    unused = {"spent_usd": "0.00", "held_usd": "0.00", "limit_usd": None}
    assert put.json() == {
        "per_call_usd": "0.123456789", "daily_usd": None, "monthly_usd": None, "warn_percent": 50, "auto_cutoff": True,
        "day": {"period": "2026-11-23", **unused}, "month": {"period": "2026-11", **unused},
    }  # fmt: skip
    assert (await ann.get("/api/budget")).json() == put.json()
    kept = (await ann.ask("PUT", "/api/budget", {"auto_cutoff": False})).json()
    assert kept == {**put.json(), "auto_cutoff": False}
    empty = await ann.ask("PUT", "/api/budget", {})
    assert (empty.status_code, empty.json()["code"]) == (422, "invalid_request")
    assert "at least one of per_call_usd, daily_usd" in empty.json()["errors"][0]["message"]
    assert (await ann.get("/api/budget")).json() == kept
    lifted = await ann.ask(
        "PUT", "/api/budget", {"per_call_usd": None, "warn_percent": None, "auto_cutoff": None}
    )
    assert [lifted.json()[name] for name in ("per_call_usd", "warn_percent", "auto_cutoff")] == [
        None,
        80,
        True,
    ]
    for body in ({"warn_percent": 0}, {"warn_percent": 101}, {"weekly_usd": "5.00"}):
        assert (await ann.ask("PUT", "/api/budget", body)).status_code == 422
    limited = await ann.ask("PUT", "/api/budget", {"daily_usd": "5", "monthly_usd": "50.00"})
    assert (limited.json()["day"]["limit_usd"], limited.json()["month"]["limit_usd"]) == ("5.00", "50.00")


async def test_an_estimate_tells_whose_limit_makes_the_call_shorter(ann: Person) -> None:
    brief = {"title": "Brief", "prompt": "Be brief.", "max_minutes": 4}
    scenario = (await ann.post("/api/scenarios", brief)).json()["id"]

    async def told(query: str) -> tuple[int, int, str]:
        found = (await ann.get(f"/api/estimate?{query}")).json()
        return found["minutes"], found["longest_minutes"], found["limited_by"]

    assert await told("minutes=5") == (5, 15, "order")
    assert await told("minutes=60") == (15, 15, "server")
    assert await told("minutes=60&persona_id=brad") == (15, 15, "persona")
    assert await told(f"minutes=60&persona_id=brad&scenario_id={scenario}") == (4, 4, "scenario")
    cheap, same = [
        (await ann.get(f"/api/estimate?minutes={n}&scenario_id={scenario}")).json() for n in (4, 9)
    ]
    assert cheap["total_usd"] == same["total_usd"], "what is priced is what can be had"
    assert (await ann.get("/api/estimate?minutes=1&scenario_id=nothing")).status_code == 404


async def test_the_day_of_a_budget_is_the_users_own(ann: Person) -> None:
    """It is noon in London; in Auckland the next day has begun."""
    assert (await ann.ask("PATCH", "/api/me", {"timezone": "Pacific/Auckland"})).status_code == 200
    assert (await ann.get("/api/budget")).json()["day"]["period"] == "2026-11-24"


async def test_a_call_in_the_browser_is_estimated_without_a_carrier(ann: Person) -> None:
    phone, browser = [
        (await ann.get(f"/api/estimate?minutes=5{channel}")).json() for channel in ("", "&channel=browser")
    ]
    assert (phone["channel"], browser["channel"]) == ("phone", "browser")
    assert {line["service"] for line in phone["lines"]} - {line["service"] for line in browser["lines"]} == {
        "carrier", "stream", "amd",
    }  # fmt: skip
    assert float(browser["total_usd"]) < float(phone["total_usd"])
    assert (await ann.get("/api/estimate?minutes=5&channel=pigeon")).status_code == 422


async def test_the_price_list_says_what_is_in_use_and_whose_page_it_is_from(ann: Person) -> None:
    prices = (await ann.get("/api/prices")).json()["items"]
    used = {(price["service"], price["model"]) for price in prices if price["in_use"]}
    estimate = (await ann.get("/api/estimate?minutes=5")).json()
    assert used == {(line["service"], line["model"]) for line in estimate["lines"]}
    assert len(used) < len({(price["service"], price["model"]) for price in prices})
    for price in prices:
        assert price["source"].startswith("https://") or price["source"] in {"estimate", "this machine"}, (
            price
        )
    pages = {price["source"] for price in prices}
    assert {"https://deepgram.com/pricing", "https://www.twilio.com/en-us/voice/pricing/us"} <= pages


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
