"""A websocket client that costs next to nothing, so that the load does not become the thing measured.

Text frames only, masked with zeros (which is a mask, and saves the work); answers pings.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping
from typing import cast

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
PATIENCE_S = 15.0
_MASK = b"\0\0\0\0"


class Refused(Exception):
    """The server answered the upgrade with something else."""


class Wire(asyncio.Protocol):
    """One socket. `on_text` gets the bytes of each text message, `on_gone` is called once at the end."""

    def __init__(
        self,
        target: str,
        host: str,
        headers: Mapping[str, str],
        on_text: Callable[[bytes], None],
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._on_text = on_text
        self._on_gone = on_gone
        self._rest = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, host: str, port: int) -> None:
        """Raises `Refused`, `OSError` or `TimeoutError`."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().create_connection(lambda: self, host, port)
            await self.opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.opened.done():
            self.opened.set_exception(Refused("the socket was closed"))
        self._on_gone()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(Refused(head.split(b"\r\n", 1)[0].decode()))
                self.close()
                return
            self._upgraded = True
            self.opened.set_result(None)
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if size < start + length:
                break
            self._frame(data[at] & 0x0F, data[start : start + length])
            at = start + length
        self._rest = data[at:]

    def _frame(self, kind: int, body: bytes) -> None:
        if kind == _TEXT:
            self._on_text(body)
        elif kind == _PING:
            self._send(_PONG, body)
        elif kind == _CLOSE:
            self._send(_CLOSE, body[:2])
            self.close()

    def send(self, text: bytes) -> None:
        """One text message; dropped when the socket is gone."""
        self._send(_TEXT, text)

    def _send(self, kind: int, body: bytes) -> None:
        if self._transport is None:
            return
        length = len(body)
        if length < 126:
            head = bytes((0x80 | kind, 0x80 | length))
        else:
            head = bytes((0x80 | kind, 0xFE)) + length.to_bytes(2, "big")
        self._transport.write(head + _MASK + body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
