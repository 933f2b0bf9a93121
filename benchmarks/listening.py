"""uvicorn, told to say when it listens."""

from __future__ import annotations

import asyncio
import socket

import uvicorn


class Listening(uvicorn.Server):
    """`listens` is set once connections are taken."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()
