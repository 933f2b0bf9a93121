"""How a media socket comes in: how long it may take, how many may be at it, and what it is refused with.

A socket first says who it is, then the database says whether that is so. Each has a bound of
its own: one that says nothing costs nobody but us, so they are kept few; one that waits to be
proved is a call that was just answered, most of the time, and waits for no fault of its own.
Nothing here knows what is said or how it is proved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from pipeline.media import Guard
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.routes.socket_line import POLICY, shut
from storage.db import DatabaseDown

INTRODUCTION_S = 5.0
"""From the upgrade to the end of the introduction."""
MAX_STRANGERS = 20
"""Sockets that have not introduced themselves; one more is answered 503 instead of an upgrade."""
MAX_UNPROVED = 500
"""Sockets whose introduction waits for the database; one more is closed with `TRY_LATER`. The calls answered in
ten seconds at 50 a second: longer than the database lets anybody wait."""

INTERNAL = 1011
TRY_LATER = 1013

log = structlog.get_logger(__name__)

Introduced = TypeVar("Introduced")
Proved = TypeVar("Proved")


class Entrance:
    """One kind of media socket. `name` is what the log and the metrics call it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._strangers = 0
        self._unproved = 0

    async def let_in(
        self,
        websocket: WebSocket,
        introduce: Callable[[], Awaitable[Introduced]],
        prove: Callable[[Introduced], Awaitable[Proved]],
    ) -> Proved | None:
        """What `prove` made of what `introduce` heard; None where the socket was refused or is gone, and closed.

        Both may raise `BadStream`; `introduce` also `WebSocketDisconnect`, `prove` also `DatabaseDown`.
        """
        if self._strangers >= MAX_STRANGERS:
            await websocket.send_denial_response(PlainTextResponse("busy", status_code=503))
            return None
        try:
            with self._a_stranger():
                await websocket.accept()
                introduced = await _in_time(introduce())
            if self._unproved >= MAX_UNPROVED:
                await self._refuse(websocket, TRY_LATER, "too many at once")
                return None
            with self._an_unproved():
                return await prove(introduced)
        except WebSocketDisconnect:
            return None
        except BadStream as error:
            await self._refuse(websocket, POLICY, str(error))
        except DatabaseDown:
            await self._refuse(websocket, TRY_LATER, "no database")
        except Exception as error:  # edge: of one socket; nobody could say whether it is a call's
            SURPRISES.labels(self._name).inc()
            log.error("surprise", **whereabouts(error))
            await shut(websocket, INTERNAL)
        return None

    async def _refuse(self, websocket: WebSocket, code: int, why: str) -> None:
        log.warning("socket_refused", door=self._name, why=why)
        await shut(websocket, code)

    @contextmanager
    def _a_stranger(self) -> Iterator[None]:
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    @contextmanager
    def _an_unproved(self) -> Iterator[None]:
        self._unproved += 1
        try:
            yield
        finally:
            self._unproved -= 1


async def _in_time(introduction: Awaitable[Introduced]) -> Introduced:
    """Raises `BadStream` when it takes too long."""
    try:
        async with asyncio.timeout(INTRODUCTION_S):
            return await introduction
    except TimeoutError:
        raise BadStream("no introduction in time") from None


async def first_words(websocket: WebSocket, guard: Guard, clock: Clock) -> str:
    """The next message of a stranger, which has to be text. Raises `BadStream`, `WebSocketDisconnect`."""
    packet = await websocket.receive()
    if packet["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(packet.get("code", 1005))
    text = packet.get("text")
    if text is None:
        raise BadStream("a binary message")
    guard.arrived(clock.seconds(), len(text))
    return str(text)
