"""Whose pages and who is not let onto a browser call; calls that go well are in `tests/whole/test_browser_phone.py`."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from server.browser import BrowserCalls, BrowserLegs
from server.news import News
from server.routes.browser import origins
from storage.db import Database

LOOPBACK = {"http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"}


@pytest.mark.parametrize(
    ("public_url", "found"),
    [
        ("https://call.example", {"https://call.example"}),
        ("https://call.example:8443", {"https://call.example:8443"}),
        ("https://Call.Example:443", {"https://call.example"}),
        ("https://[2001:db8::1]", {"https://[2001:db8::1]"}),
        ("https://[2001:db8::1]:8443", {"https://[2001:db8::1]:8443"}),
        ("http://127.0.0.1:8000", LOOPBACK),
        ("http://[::1]:8000", LOOPBACK),
        ("http://[::1]", {"http://127.0.0.1", "http://localhost", "http://[::1]"}),
    ],
)
def test_pages_of_the_public_url_may_open_the_socket(public_url: str, found: set[str]) -> None:
    assert origins(public_url) == found


class NoLine:
    def play(self, chunk: int, mulaw: bytes) -> None:
        raise AssertionError("nothing is played to a stranger")

    def clear(self) -> None:
        raise AssertionError("nothing is cleared for a stranger")

    async def close(self) -> None: ...


async def test_who_guesses_a_ticket_does_not_wait_for_the_writer_or_make_others_wait(
    two_nodes: tuple[Database, Database],
) -> None:
    database, clock = two_nodes[0], Clock()
    calls = BrowserCalls(database, clock, News(), BrowserLegs(clock), lambda _call_id: None)
    async with database.write(), asyncio.timeout(5):
        with pytest.raises(BadStream):
            await calls.join("a guess", NoLine())
