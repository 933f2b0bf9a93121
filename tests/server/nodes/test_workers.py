"""What several workers need before any is started. That they serve is tested with real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.listening import CannotListen
from server.nodes.workers import Inherited, check, sockets
from server.settings import BadSettings
from tests.ports import free_port
from tests.server.rig import settings

TWILIO = {
    "twilio_account_sid": "AC" + "0" * 32,
    "twilio_auth_token": "token",
    "twilio_phone_number": "+12025550100",
    "twilio_api_url": "http://127.0.0.1:1",
}
POSTGRES = {"database_url": "postgresql+asyncpg://nobody@127.0.0.1:1/none"}


def test_sqlite_serves_one_process(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="SQLite serves one process"):
        check(settings(tmp_path, **TWILIO))


def test_the_simulated_carrier_lives_in_one_process(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="simulated carrier"):
        check(settings(tmp_path, **POSTGRES))


def test_postgres_and_a_carrier_will_do(tmp_path: Path) -> None:
    check(settings(tmp_path, **POSTGRES, **TWILIO))


def test_the_command_says_so_and_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server.cli", "serve", "--workers", "2"]
    own = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    environ = {**own, "DATA_DIR": str(tmp_path)}
    refused = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        "callmeback: --workers: SQLite serves one process; "
        "set DATABASE_URL to a PostgreSQL database, or leave it out"
    )
    assert list(tmp_path.iterdir()) == []


def handed(number: int) -> tuple[Inherited, socket.socket]:
    """What a parent hands on, and its own end of it."""
    public = socket.socket()
    public.bind(("127.0.0.1", 0))
    return Inherited(number, os.dup(public.fileno()), -1), public


def test_each_worker_has_an_address_of_its_own(tmp_path: Path) -> None:
    given = settings(tmp_path, **POSTGRES, **TWILIO)
    urls = []
    for number in (1, 2):
        inherited, public = handed(number)
        known, listeners = sockets(given, inherited)
        urls.append(known.node_url)
        assert listeners[0].getsockname() == public.getsockname()
        assert known.node_url == f"http://127.0.0.1:{listeners[1].getsockname()[1]}"
        for one in (public, *listeners):
            one.close()
    assert len(set(urls)) == 2


def test_addresses_count_up_from_the_one_that_was_set(tmp_path: Path) -> None:
    base = free_port()
    given = settings(tmp_path, **POSTGRES, **TWILIO, node_url=f"http://127.0.0.1:{base}")
    inherited, public = handed(1)
    known, listeners = sockets(given, inherited)
    assert known.node_url == f"http://127.0.0.1:{base}"
    again, other = handed(1)
    listeners[1].listen()
    with pytest.raises(CannotListen, match="set NODE_URL"):
        sockets(given, again)
    for one in (public, other, *listeners):
        one.close()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 9000}, "http://127.0.0.1:9000"),
        ({"host": "::"}, "http://[::1]:8000"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"host": "10.0.0.5"}, "http://10.0.0.5:8000"),
        ({"node_url": "https://node-a.internal:8443/"}, "https://node-a.internal:8443"),
    ],
)
def test_where_a_node_is_reached(tmp_path: Path, given: dict[str, object], url: str) -> None:
    assert settings(tmp_path, **{"public_url": "http://127.0.0.1", **given}).node_url == url
