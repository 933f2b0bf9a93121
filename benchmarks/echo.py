"""The yardstick: uvicorn with the server's own socket settings, and an application that returns each message.

    python -m benchmarks.echo CORE PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from benchmarks.machine import pin

if __name__ == "__main__":
    pin(int(sys.argv[1]))

import uvicorn
import uvloop

from server.app import SOCKET_BYTES


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def main(port: int) -> None:
    config = uvicorn.Config(
        echo,
        port=port,
        ws="websockets-sansio",
        ws_max_size=SOCKET_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        sys.stdout.write(json.dumps({"ready": True}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)  # the order to stop
        server.should_exit = True
        await serving


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[2])))
