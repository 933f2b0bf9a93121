"""The yardstick: uvicorn with the server's own socket settings, and an application that returns each message.

python -m benchmarks.echo CORE PORT bare|decoding
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from benchmarks.machine import pin

if __name__ == "__main__":
    pin(int(sys.argv[1]))

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.listening import Listening
from server.serving import SOCKET_BYTES

if TYPE_CHECKING:
    from uvicorn._types import ASGIApplication


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def decoding_echo(websocket: WebSocket) -> None:
    """What any server of the protocol must do beside: a framework, JSON and base64, both ways."""
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            message = json.loads(await websocket.receive_text())
            payload = base64.b64encode(base64.b64decode(message["media"]["payload"])).decode()
            await websocket.send_text(json.dumps({"event": "media", "media": {"payload": payload}}))


async def main(port: int, kind: str) -> None:
    bare = cast("ASGIApplication", echo)
    config = uvicorn.Config(
        bare if kind == "bare" else Starlette(routes=[WebSocketRoute("/", decoding_echo)]),
        port=port,
        ws="websockets-sansio",
        ws_max_size=SOCKET_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = Listening(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve())
        await server.listens.wait()
        sys.stdout.write(json.dumps({"ready": True}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)  # the order to stop
        server.should_exit = True
        await serving


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[2]), sys.argv[3]))
