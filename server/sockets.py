"""The server's websocket: uvicorn's, which also hands each message straight to a function where one is given.

ASGI's `receive` costs a queue and the waking of a task for every message, and uvicorn stops and starts the reading
of the socket around it. Sound comes fifty times a second and call, so whoever listens to it takes the messages as
they arrive. Nothing waits then, so nobody has to be held back; what is too much is the route's `Guard` to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketState
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

DIRECT = "callmeback.direct"
"""The ASGI extension. Its `hand_to` takes the function which is handed the messages from then on."""

T = TypeVar("T")


class _Inbox(asyncio.Queue[Any]):
    """Where uvicorn puts what an application is to receive. `taker` gets it instead, once there is one."""

    taker: Callable[[Message], None] | None = None

    def put_nowait(self, item: Message) -> None:
        if self.taker is None:
            super().put_nowait(item)
        else:
            self.taker(item)


class Socket(WebSocketsSansIOProtocol):
    """One connection. Use as uvicorn's `ws`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.queue = self._inbox = _Inbox()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"] = {
                **(self.scope["extensions"] or {}),
                DIRECT: {"hand_to": self._hand_to},
            }

    def _hand_to(self, taker: Callable[[Message], None]) -> None:
        """What has arrived first, then everything as it arrives. `taker` must not raise."""
        while not self._inbox.empty():
            taker(self._inbox.get_nowait())
        self._inbox.taker = taker
        self.read_paused = True  # for uvicorn, which then does not pause it with the next message
        self.transport.resume_reading()


async def each(websocket: WebSocket, take: Callable[[Message], T | None]) -> T:
    """Hand every message of an accepted socket to `take` until it returns something, or raises."""
    direct = (websocket.scope.get("extensions") or {}).get(DIRECT)
    if direct is None:  # another server than ours
        while (found := take(await websocket.receive())) is None:
            pass
        return found
    over: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def taker(message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            websocket.client_state = WebSocketState.DISCONNECTED
        if over.done():
            return
        try:
            found = take(message)
        except Exception as error:  # edge: of one message; raised again where it is waited for
            over.set_exception(error)
        else:
            if found is not None:
                over.set_result(found)

    direct["hand_to"](taker)
    return await over
