"""What uvicorn leaves open at the edge: how long and how large a request's head may be, connections per address.

uvicorn waits for ever for a head that trickles in and httptools takes one of any size. Bodies
are the business of `server/limits.py`, sockets after their upgrade that of their routes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 10.0
"""From the connection, or the first byte of a later request, to the end of its head."""


class HeadTooLarge(Exception):
    """Raised inside the parser's callbacks to stop it."""


class Edge(HttpToolsProtocol):
    """One connection. The class attributes are set by `protocol`."""

    head_seconds = HEAD_SECONDS
    per_address = 200
    uncounted: frozenset[str] = frozenset()
    open_by_address: ClassVar[Counter[str]] = Counter()

    _head_timer: asyncio.TimerHandle | None = None
    _reading_head = True
    _head_bytes = 0
    _fields_bytes = 0
    _counted: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if address not in self.uncounted:
            if self.open_by_address[address] >= self.per_address:
                transport.abort()
                return
            self.open_by_address[address] += 1
            self._counted = address
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._reading_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._start_timer()
        super().data_received(data)
        if self._reading_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._fields_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_field(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        # From here on the connection belongs to another protocol object, which will not tell us of its end.
        self._release()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        if self._fields_bytes > HEAD_BYTES:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _count_field(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > HEAD_BYTES:
            raise HeadTooLarge

    def _refuse_head(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _release(self) -> None:
        self._stop_timer()
        if self._counted is not None:
            self.open_by_address[self._counted] -= 1
            if self.open_by_address[self._counted] <= 0:
                del self.open_by_address[self._counted]
            self._counted = None


def protocol(
    *, per_address: int, uncounted: frozenset[str] = frozenset(), head_seconds: float = HEAD_SECONDS
) -> type[Edge]:
    """A protocol class for one server. `uncounted`: addresses of proxies, behind which many people are."""
    attributes = {
        "per_address": per_address,
        "uncounted": uncounted,
        "head_seconds": head_seconds,
        "open_by_address": Counter[str](),
    }
    return type("Edge", (Edge,), attributes)
