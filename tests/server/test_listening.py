"""The port is taken first, and what cannot be had is one plain line."""

from __future__ import annotations

import errno
import socket
from contextlib import closing
from pathlib import Path

import pytest

from server.listening import CannotListen, bound, listen, taken
from tests.ports import free_port
from tests.server.rig import settings


def test_what_is_bound_is_refused_until_it_listens(tmp_path: Path) -> None:
    given = settings(tmp_path, port=free_port())
    address = ("127.0.0.1", given.port)
    with closing(bound(given)) as listener:
        with socket.socket() as client:
            assert client.connect_ex(address) == errno.ECONNREFUSED
        listen(listener, given)
        with socket.socket() as client:
            assert client.connect_ex(address) == 0


@pytest.mark.parametrize(
    ("more", "answer"),
    [({}, 0), ({"database_url": "postgresql+asyncpg://nobody@127.0.0.1/none"}, errno.ECONNREFUSED)],
)
def test_who_comes_while_one_that_serves_alone_starts_waits(
    tmp_path: Path, more: dict[str, str], answer: int
) -> None:
    """Where several serve, one that is not ready refuses, so that another is tried."""
    given = settings(tmp_path, port=free_port(), **more)
    with closing(taken(given)), socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", given.port)) == answer


def test_a_port_in_use_is_said_with_the_setting_to_change(tmp_path: Path) -> None:
    given = settings(tmp_path, port=free_port())
    with closing(bound(given)) as first, closing(bound(given)) as second:
        listen(first, given)
        for attempt in (lambda: bound(given), lambda: listen(second, given)):
            with pytest.raises(CannotListen, match=f"^port {given.port} is in use; set PORT$"):
                attempt()


def test_an_address_that_is_not_ours_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        CannotListen, match=r"^cannot listen on 192\.0\.2\.1 port 8000: .*; set HOST or PORT$"
    ):
        bound(settings(tmp_path, host="192.0.2.1", public_url="http://127.0.0.1"))
