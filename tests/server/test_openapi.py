"""The description and the server agree, route by route."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
from starlette.applications import Starlette

from server.console import PAGES, REFERENCE, console_routes
from server.openapi import describe, document
from server.routes import OPS
from tests.server.rig import PASSWORD, Rig

Json = dict[str, Any]
PAGE_PATHS = {page.path for page in (*PAGES, REFERENCE)}


def operations(described: Json) -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


async def test_every_route_is_described_and_every_described_route_is_there(rig: Rig) -> None:
    described = operations(describe(OPS))
    registered = {
        (method, getattr(route, "path", ""))
        for route in rig.app.routes
        for method in getattr(route, "methods", None) or ()
        if not getattr(route, "path", "").startswith("/twilio/")
        and getattr(route, "path", "") not in PAGE_PATHS
    }
    assert registered == described.keys()
    for method, path in described:
        answer = await rig.http.request(method, path.replace("{id}", "x"), json={})
        assert answer.status_code not in {404, 405} or path == "/metrics", path


async def test_every_answer_has_a_status_and_a_body_that_are_described(rig: Rig) -> None:
    described = describe(OPS)
    ann = await rig.register()
    made = (await ann.post("/api/scenarios", {"title": "t", "prompt": "p"})).json()["id"]
    bodies: dict[tuple[str, str], object] = {
        ("POST", "/api/auth/register"): {"email": "bob@example.com", "password": PASSWORD, "name": "Bob"},
        ("POST", "/api/auth/login"): {"email": ann.email, "password": PASSWORD},
        ("PATCH", "/api/me"): {"name": "Anna"},
        ("POST", "/api/me/phone"): {"phone": "+12025550142"},
        ("POST", "/api/me/phone/verify"): {"code": "x"},
        ("PUT", "/api/personas/{id}/relationship"): {"kind": "friend"},
        ("POST", "/api/scenarios"): {"title": "t", "prompt": "p"},
        ("PATCH", "/api/scenarios/{id}"): {"title": "t2"},
        ("POST", "/api/calls"): {"persona_id": "brad"},
        ("POST", "/api/scheduled-calls"): {"persona_id": "brad", "at": "2026-12-24T18:00:00"},
        ("POST", "/api/scheduled-calls/preview"): {"rrule": "FREQ=DAILY"},
        ("PATCH", "/api/scheduled-calls/{id}"): {"context": "c"},
        ("PUT", "/api/budget"): {"daily_usd": "5"},
        ("POST", "/api/credits/checkout"): {"pack": "5"},
    }
    # Logging out comes last: it ends the token.
    for (method, path), operation in sorted(
        operations(described).items(), key=lambda item: "logout" in item[0][1]
    ):
        good = path.replace("{id}", made if "scenarios" in path else "brad")
        query = "?minutes=3" if path == "/api/estimate" else ""
        for answer in (
            await ann.ask(method, good + query, bodies.get((method, path))),
            await ann.ask(method, path.replace("{id}", "nobody") + "?x=1", {"unknown": 1}),
        ):
            responses = operation["responses"]
            assert str(answer.status_code) in responses, (method, path, answer.status_code)
            content = responses[str(answer.status_code)].get("content", {})
            media = answer.headers.get("content-type", "").partition(";")[0]
            assert media in content or not answer.content, (method, path)
            if media.endswith("json") and answer.content:
                fits(answer.json(), content[media]["schema"], described)


def fits(value: Any, schema: Json, described: Json) -> None:
    """As much of JSON Schema as our replies need; anything else fails."""
    if "$ref" in schema:
        fits(value, described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], described)
    elif "anyOf" in schema:
        assert any(_fits(value, option, described) for option in schema["anyOf"]), value
    elif schema.get("type") == "object" and "properties" in schema:
        assert isinstance(value, dict)
        assert schema.get("additionalProperties") is False
        assert value.keys() <= schema["properties"].keys()
        assert set(schema.get("required", ())) <= value.keys()
        for name, item in value.items():
            fits(item, schema["properties"][name], described)
    elif schema.get("type") == "array":
        for item in value:
            fits(item, schema["items"], described)
    else:
        kinds = {"string": str, "integer": int, "boolean": bool, "null": type(None), "object": dict}
        assert isinstance(value, kinds[schema["type"]]), (value, schema)
        assert value in schema.get("enum", [value])


def _fits(value: Any, schema: Json, described: Json) -> bool:
    try:
        fits(value, schema, described)
    except AssertionError:
        return False
    return True


def test_the_description_is_sound() -> None:
    described = describe(OPS)
    text = json.dumps(described)
    refs = set(text.split('"$ref": "')[1:])
    for ref in refs:
        name = ref.split('"')[0].removeprefix("#/components/schemas/")
        assert name in described["components"]["schemas"]
    idents = [operation["operationId"] for operation in operations(described).values()]
    assert len(idents) == len(set(idents))
    for (_, path), operation in operations(described).items():
        named = {
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"
        }
        assert named == set(re.findall(r"{(\w+)}", path))
        assert {"200", "201", "202", "204"} & operation["responses"].keys()
        assert ("security" in operation) == ("401" in operation["responses"] and "login" not in path)


async def test_the_description_is_made_once(rig: Rig) -> None:
    """Anybody may ask for it, and making it takes long enough to be heard in every call."""
    made = document.cache_info().misses
    first, second = [await rig.http.get("/openapi.json") for _ in range(2)]
    assert first.content == second.content
    assert first.json() == describe(OPS)
    assert document.cache_info().misses <= made + 1


async def test_so_is_the_page_made_of_it() -> None:
    asked = 0

    def described() -> Json:
        nonlocal asked
        asked += 1
        return describe(OPS)

    app = Starlette(routes=console_routes("http://testserver", described))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        first, second = [await http.get(REFERENCE.path) for _ in range(2)]
    assert first.text == second.text
    assert "/api/calls" in first.text
    assert asked == 1
