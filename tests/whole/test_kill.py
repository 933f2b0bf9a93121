"""A real `callmeback serve` killed in mid-call: what was charged stays charged, what was held comes free."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from pipeline.core.money import parse_usd
from pipeline.journal_file import SUFFIX, read_lines
from pipeline.replay import replay
from tests.ports import free_port

PATIENCE_S = 30.0


class Server:
    """One `callmeback serve` process on its own port."""

    def __init__(self, environ: dict[str, str], url: str) -> None:
        command = [sys.executable, "-m", "server.cli", "serve"]
        self.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.url = url

    def line(self, pattern: str) -> re.Match[str]:
        """The next line of output in which the pattern occurs."""
        stdout = self.process.stdout
        assert stdout is not None
        for text in stdout:
            if (match := re.search(pattern, text)) is not None:
                return match
        raise AssertionError(f"the server ended with {self.process.wait()} before it said {pattern!r}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=PATIENCE_S)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    port = free_port()
    own = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    engines = dict.fromkeys(("STT_ENGINE", "LLM_ENGINE", "TTS_ENGINE"), "scripted")
    return {
        **own,
        **engines,
        "DATA_DIR": str(tmp_path),
        "PORT": str(port),
        "DRAIN_SECONDS": "0",
        "BCRYPT_COST": "10",
    }


@contextmanager
def serving(environ: dict[str, str]) -> Iterator[tuple[Server, httpx.Client]]:
    url = f"http://127.0.0.1:{environ['PORT']}"
    server = Server(environ, url)
    try:
        server.line("ready")
        with httpx.Client(base_url=url, timeout=10, transport=httpx.HTTPTransport(retries=5)) as http:
            yield server, http
    finally:
        server.stop()


def command(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server.cli", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def sign_up(server: Server, http: httpx.Client, environ: dict[str, str]) -> None:
    body = {"email": "ann@example.com", "password": "correct horse", "name": "Ann"}
    token = http.post("/api/auth/register", json=body).json()["token"]
    http.headers["Authorization"] = f"Bearer {token}"
    assert http.post("/api/me/phone", json={"phone": "+12025550142"}).status_code == 202
    code = server.line(r"Text message to .*: .*?(\d{6})").group(1)
    assert http.post("/api/me/phone/verify", json={"code": code}).status_code == 200
    assert command(environ, "credit", "ann@example.com", "5").returncode == 0


def call_until_second(http: httpx.Client, second: int) -> str:
    placed = http.post("/api/calls", json={"persona_id": "alex", "channel": "phone"})
    assert placed.status_code == 202, placed.text
    call_id = cast(str, placed.json()["id"])
    deadline = time.monotonic() + PATIENCE_S
    with http.stream("GET", f"/api/calls/{call_id}/events") as events:
        for text in events.iter_lines():
            if text.startswith("data: ") and json.loads(text[6:]).get("second", -1) >= second:
                return call_id
            assert time.monotonic() < deadline
    raise AssertionError("the call ended early")


def test_kill_9_in_mid_call_loses_no_charge_and_frees_the_hold(environ: dict[str, str]) -> None:
    with serving(environ) as (server, http):
        sign_up(server, http, environ)
        call_id = call_until_second(http, 3)
        assert http.get("/api/credits").json()["held_usd"] != "0.00"
        server.kill()
        token = http.headers["Authorization"]
    assert command(environ, "audit").returncode == 0
    journal = Path(environ["DATA_DIR"]) / "calls" / f"{call_id}{SUFFIX}"
    known = replay(read_lines(journal))
    assert known.exact

    with serving(environ) as (server, http):
        http.headers["Authorization"] = token
        call = http.get(f"/api/calls/{call_id}").json()
        assert (call["status"], call["end_reason"]) == ("completed", "server_lost")
        costs = http.get(f"/api/calls/{call_id}/costs").json()
        listened = next(line["quantity"] for line in costs["lines"] if line["service"] == "stt")
        assert listened >= 4
        credit = http.get("/api/credits").json()
        assert credit["held_usd"] == "0.00"
        assert parse_usd(credit["balance_usd"]) == parse_usd("5") - parse_usd(costs["total_usd"])
        assert replay(read_lines(journal)).exact
    assert command(environ, "audit").returncode == 0


def test_a_second_server_on_the_same_data_is_refused(environ: dict[str, str]) -> None:
    with serving(environ):
        second = command({**environ, "PORT": str(free_port())}, "serve")
        assert second.returncode == 1
        assert "another" in second.stderr + second.stdout


def test_a_port_in_use_is_said_before_anything_is_loaded(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environ["PORT"])))
        taken.listen()
        refused = command(environ, "serve")
    assert refused.returncode == 1
    assert refused.stderr == f"callmeback: port {environ['PORT']} is in use; set PORT\n"
    assert not (Path(environ["DATA_DIR"]) / "callmeback.db").exists()


def test_a_price_that_is_missing_is_said_in_one_line(environ: dict[str, str]) -> None:
    assert command(environ, "migrate").returncode == 0
    ended = "UPDATE pricing SET effective_to = effective_from WHERE service = 'carrier'"
    assert command(environ, "sql", ended).returncode == 0
    refused = command(environ, "serve")
    assert refused.returncode == 1
    told = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert told == ["callmeback: there is no price for carrier:twilio:second"]
    assert '"ready"' not in refused.stderr


def test_whoever_stops_a_server_in_a_call_is_told_why_it_goes_on(environ: dict[str, str]) -> None:
    with serving({**environ, "DRAIN_SECONDS": "900"}) as (server, http):
        sign_up(server, http, environ)
        call_until_second(http, 3)
        server.process.send_signal(signal.SIGINT)
        told = server.line("^callmeback: ")
        assert told.string == (
            "callmeback: 1 call is live; waiting up to 900 s for it to end. "
            "A second signal (Ctrl-C) makes it say goodbye now.\n"
        )
        server.process.send_signal(signal.SIGINT)
        server.process.communicate(timeout=PATIENCE_S)
        assert server.process.returncode == 0


def test_a_person_at_a_terminal_sees_where_to_go_on(environ: dict[str, str]) -> None:
    """Standard error is a terminal here, and nothing else is."""
    ours, theirs = pty.openpty()
    server = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "serve"],
        env={**environ, "TERM": "xterm", "COLUMNS": "60"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        told = ""
        while "appear here" not in told:
            piece = os.read(ours, 4096)
            assert piece, told
            told += piece.decode()
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
        os.close(ours)
    assert f"Call Me Back is ready: http://127.0.0.1:{environ['PORT']} (Ctrl-C stops it)" in told
    assert "Simulated phone: codes and texts appear here." in told
    assert '{"' not in told, "no JSON for people"


def test_sigterm_says_goodbye_and_closes_the_books(environ: dict[str, str]) -> None:
    with serving(environ) as (server, http):
        sign_up(server, http, environ)
        call_id = call_until_second(http, 6)
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=PATIENCE_S)
        assert server.process.returncode == 0
    rows = command(
        environ,
        "sql",
        "SELECT status, end_reason, final_at FROM calls WHERE id = :id",
        "--param",
        f"id={call_id}",
    )
    row: dict[str, Any] = json.loads(rows.stdout)
    assert (row["status"], row["end_reason"]) == ("completed", "drained")
    assert row["final_at"] is not None
    said = command(environ, "sql", "SELECT text FROM call_turns WHERE role = 'agent' ORDER BY turn")
    assert "goodbye" in said.stdout.splitlines()[-1]
    assert command(environ, "audit").returncode == 0
