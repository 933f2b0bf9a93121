"""A real `callmeback serve` killed in mid-call: what was charged stays charged, what was held comes free."""

from __future__ import annotations

import json
import os
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
        second = command({**environ, "PORT": str(int(environ["PORT"]) + 1)}, "serve")
        assert second.returncode == 1
        assert "another" in second.stderr + second.stdout


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
