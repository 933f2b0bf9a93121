"""The internal media socket: another node brings the sound of a call that is conducted here.

Only a pass that such a node made opens it (`server/nodes/passes.py`), once and for one call. To the
call it is a line like any other.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol, cast

import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pipeline.core.errors import BadStream
from pipeline.core.terms import EndReason
from pipeline.ports import Line, Talking
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.nodes.outbox import Outbox
from server.nodes.passes import Passes
from server.nodes.relay import (
    BROKEN,
    CHUNK_BYTES,
    CLEAR,
    CLOSE_S,
    DROPPED,
    END,
    GOING,
    HEARD,
    PATH,
    PLAY,
    PLAYED,
    PRESSED,
)

log = structlog.get_logger(__name__)


class Conducted(Talking, Protocol):
    """A live call, as the relay tells it things."""

    def ask_hang_up(self, reason: EndReason) -> None: ...


class Joining(Protocol):
    """What the socket needs of this node."""

    @property
    def passes(self) -> Passes: ...

    def join(self, call_id: str, line: Line) -> Conducted:
        """Raises `BadStream` when the call is not here or has its line."""


class RelayLine:
    """The outbound half: `pipeline.ports.Line` over the internal socket.

    Sound that `clear` overtakes is dropped where the carrier's socket is, and its marks come back from there.
    """

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.ours = False
        """The end of the socket is our own doing."""

    def play(self, chunk: int, mulaw: bytes) -> None:
        self.outbox.put(PLAY + chunk.to_bytes(CHUNK_BYTES, "big") + mulaw)

    def clear(self) -> None:
        self.outbox.put(CLEAR)

    async def close(self) -> None:
        """Returns once everything queued has left for the other node, or cannot."""
        self.ours = True
        self.outbox.put(END)
        self.outbox.finish()
        await self.outbox.left()


def relay_routes() -> list[BaseRoute]:
    return [WebSocketRoute(PATH, media)]


async def media(websocket: WebSocket) -> None:
    here = cast(Joining, websocket.app.state.parts.desk)
    line = RelayLine()
    try:
        granted = here.passes.redeem(websocket.headers.get("authorization", ""))
        live = here.join(granted.call_id, line)
    except BadStream as error:
        log.warning("relay_refused", why=str(error))
        await websocket.close()  # before it is accepted: the upgrade is answered 403
        return
    await _converse(websocket, live, line, granted.call_id)


async def _converse(websocket: WebSocket, live: Conducted, line: RelayLine, call_id: str) -> None:
    """Until one side ends it; the call hears of every end that it did not bring about itself.

    Where the other node does not say why, its socket has broken or it is gone itself: another socket may come.
    """
    reason: EndReason | None = None
    try:
        await websocket.accept()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(line.outbox.drain(websocket.send_bytes))
            listening = tasks.create_task(_listen(websocket, live))
            listening.add_done_callback(lambda _: sending.cancel())
        reason = listening.result()
    except* (WebSocketDisconnect, BadStream) as bad:
        log.warning("relay_broken", call=call_id, why=type(bad.exceptions[0]).__name__)
    except* Exception as group:  # edge: of one call; the others go on
        reason = EndReason.ENGINE_FAILURE
        SURPRISES.labels("relay").inc()
        log.error("surprise", call=call_id, **whereabouts(group.exceptions[0]))
    finally:
        if not line.ours:
            live.broken() if reason is None else live.dropped(reason)
        line.outbox.abandon()
    if WebSocketState.DISCONNECTED not in {websocket.client_state, websocket.application_state}:
        with suppress(WebSocketDisconnect, TimeoutError):  # the other node may close it first, or be gone
            async with asyncio.timeout(CLOSE_S):
                await websocket.close()


async def _listen(websocket: WebSocket, live: Conducted) -> EndReason | None:
    """Returns why it ended, None where nobody said."""
    receive = websocket.receive
    while True:
        packet = await receive()
        if packet["type"] != "websocket.receive":
            return None
        message = packet.get("bytes") or b""
        kind, rest = message[:1], message[1:]
        if kind == HEARD:  # first: nearly every message is one
            live.hear(rest)
        elif kind == PLAYED:
            live.played(int.from_bytes(rest[:CHUNK_BYTES], "big"))
        elif kind == PRESSED:
            live.pressed(rest.decode("ascii", "replace")[:1])
        elif kind == GOING:
            live.ask_hang_up(EndReason.DRAINED)
        elif kind == BROKEN:
            return None
        elif kind == DROPPED:
            return next((known for known in EndReason if known == rest.decode("ascii", "replace")), None)
