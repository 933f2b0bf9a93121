"""Attacks on the whole of the server that belong to no one route."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from server.logs import configure
from server.routes import OPS
from storage.db import Database, Tx
from tests.server.rig import PASSWORD, PHONE, Person, RecordingCarrier, Rig, running, settings

ROOT = Path(__file__).parents[2]
CANARY = "sk_live_canary_4711"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000.evil.example"])
async def test_a37_no_other_origin_is_let_read(rig: Rig, origin: str) -> None:
    ann = await rig.register()
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for path in ("/api/me", "/api/calls", "/api/auth/login", "/twilio/voice", "/openapi.json", "/"):
        for method in ("OPTIONS", "GET"):
            answer = await ann.ask(method, path, headers=asked)
            assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)
            assert answer.status_code != 200 or method == "GET"


class Broken(Database):
    """A database whose driver fails with its own connection string in the message."""

    def __init__(self) -> None:
        """Opens nothing."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        yield self._connected()

    def _connected(self) -> Tx:
        raise RuntimeError(f"could not connect to postgresql://callmeback:{CANARY}@db/x")

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Tx]:
        yield self._connected()


class Telling(RecordingCarrier):
    async def send_sms(self, to: str, body: str) -> None:
        raise ValueError(f"401 from the vendor: Authorization: Basic {CANARY}, to {to}: {body}")


@pytest.mark.usefixtures("_logging_restored")
async def test_a39_what_breaks_tells_no_secret(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure("debug")
    given = settings(tmp_path, metrics_token=CANARY, elevenlabs_api_key=CANARY)
    async with running(given, carrier=Telling()) as rig:
        ann = await rig.register()
        answers = [await ann.post("/api/me/phone", {"phone": PHONE})]
        assert answers[0].status_code == 500
        rig.parts.database = Broken()
        for op in OPS:
            if op.path not in {"/", "/healthz", "/metrics", "/openapi.json"}:
                path = op.path.replace("{id}", "brad").replace("{mid}", "x")
                answers.append(await ann.ask(op.method, path, {"email": ann.email, "password": PASSWORD}))
        assert len(answers) > 30
        assert sum(answer.status_code == 500 for answer in answers) > 25
        shown = "".join(answer.text + repr(answer.headers) for answer in answers)
        shown += repr(rig.parts.settings) + repr(rig.parts) + generate_latest().decode()
    told = shown + "".join(capfd.readouterr())
    assert "surprise" in told
    for secret in (
        CANARY,
        rig.parts.settings.jwt_secret.get_secret_value() if rig.parts.settings.jwt_secret else "-",
    ):
        assert secret not in told
    assert not re.search(r"\b\d{6} is your", told), "the code that was to be sent"


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize("plain", [False, True])
async def test_a40_names_with_control_characters_make_one_line_an_event(
    tmp_path: Path, plain: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    forged = 'Ann\r\n{"event": "admin_logged_in", "level": "info"}\x1b[2J\u2028'
    configure("debug", plain=plain)
    async with running(settings(tmp_path)) as rig:
        ann = await rig.register(name=forged)
        await ann.post("/api/scenarios", {"title": forged, "prompt": forged})
        await ann.ask("DELETE", "/api/me")
    told = capfd.readouterr().err
    assert "account_deleted" in told
    assert "admin_logged_in" not in told
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2028]", told)


async def test_a_new_password_needs_the_old_one_and_ends_every_session(rig: Rig) -> None:
    ann = await rig.register()
    again = (await rig.login(ann.email, PASSWORD)).json()["token"]
    wrong = await ann.post(
        "/api/me/password", {"current_password": "not this one", "new_password": "a new password"}
    )
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "current_password")
    assert (
        await ann.post("/api/me/password", {"current_password": PASSWORD, "new_password": "short"})
    ).status_code == 422
    done = await ann.post(
        "/api/me/password", {"current_password": PASSWORD, "new_password": "a new password"}
    )
    assert done.status_code == 200
    for token, status in ((ann.token, 401), (again, 401), (done.json()["token"], 200)):
        assert (await Person(rig, token, ann.id, ann.email).get("/api/me")).status_code == status
    assert (await rig.login(ann.email, PASSWORD)).status_code == 401
    assert (await rig.login(ann.email, "a new password")).status_code == 200


async def test_a_number_in_another_s_place_ends_every_session(rig: Rig) -> None:
    ann = await rig.register()
    first = ann.token
    await ann.verify_phone("+12025550141")
    await ann.verify_phone("+12025550141")
    assert ann.token == first, "the first number, and the same again, end nothing"
    await ann.verify_phone("+12025550142")
    for token, status in ((first, 401), (ann.token, 200)):
        assert (await Person(rig, token, ann.id, ann.email).get("/api/me")).status_code == status


async def test_guesses_at_the_old_password_are_failed_logins(rig: Rig) -> None:
    ann = await rig.register()
    guess = {"current_password": "not this one", "new_password": "a new password"}
    seen = [(await ann.post("/api/me/password", guess)).status_code for _ in range(6)]
    assert seen == [422] * 5 + [429]


async def test_an_https_address_is_kept_to_by_browsers(tmp_path: Path) -> None:
    async with running(settings(tmp_path, public_url="https://voice.example", **TWILIO)) as rig:
        for path in ("/healthz", "/api/me", "/nothing"):
            answer = await rig.http.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
            assert "base-uri 'none'" in answer.headers["content-security-policy"]


TWILIO = {
    "twilio_account_sid": "AC" + "0" * 32,
    "twilio_auth_token": "0123456789abcdef0123456789abcdef",
    "twilio_phone_number": "+12025550100",
}


def test_a35_no_address_to_connect_to_comes_from_a_user() -> None:
    """Every address the server connects to is a setting; no field that a client sends is a URL."""
    fields = {
        (op.path, name)
        for op in OPS
        for model in (op.body, op.query)
        if model is not None
        for name in model.model_fields
    }
    assert len(fields) > 20
    assert not [
        field for field in fields if re.search(r"ur[il]|host|address|endpoint|callback|webhook", field[1])
    ]


def test_nothing_evaluates_text_or_runs_a_shell() -> None:
    banned = re.compile(
        r"\b(eval|exec)\(|\bos\.system\(|shell=True|\bpickle\b|\byaml\.load\(|create_subprocess_shell"
    )
    for package in ("server", "pipeline", "storage"):
        for file in (ROOT / package).rglob("*.py"):
            assert not banned.search(file.read_text()), file


def test_pages_never_make_markup_of_text() -> None:
    banned = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    files = list((ROOT / "server/console/static").rglob("*.js"))
    assert files
    assert not [file.name for file in files if banned.search(file.read_text())]
