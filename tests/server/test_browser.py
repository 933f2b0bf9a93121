"""Who is not let onto a browser call; calls that go well are in `tests/whole/test_browser_phone.py`."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from server.browser import BrowserCalls, BrowserLegs
from server.news import News
from storage.db import Database


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
