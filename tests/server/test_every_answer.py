"""What holds for every route: texts and bodies of any kind, headers, probes, tokens, and errors that say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.console import PAGES, REFERENCE
from server.errors import MEDIA_TYPE
from server.metrics import REQUESTS
from server.parts import State
from server.routes import OPS
from tests.server.rig import PASSWORD, Person, Rig, running, settings


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


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
