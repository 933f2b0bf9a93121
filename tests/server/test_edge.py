"""Hostile connections to a real uvicorn on loopback: what is slow, large or malformed is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from uvicorn.server import ServerState

from server.edge import HEAD_BYTES, protocol
from server.serving import server_config
from tests.server.rig import running, settings

PATIENCE_S = 0.2
GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass
class Served:
    port: int

    async def talk(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """Send, then read until the server closes."""
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            reading = group.create_task(_all_of(reader))
            for piece in pieces:
                with suppress(ConnectionError):
                    writer.write(piece)
                    await writer.drain()
                await asyncio.wait([reading], timeout=pause)
            answer = await reading
            writer.close()
            return answer


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            answer += piece
    return bytes(answer)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """The application behind our protocol on a socket, configured as `serve` does it."""
    async with running(settings(tmp_path)) as rig:
        config = server_config(rig.app, rig.parts.settings)
        config.timeout_keep_alive = 1
        config.load()
        edge, state = protocol(per_address=8, head_seconds=PATIENCE_S), ServerState()
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: edge(config, state, {}), "127.0.0.1", 0)
        async with listening:
            yield Served(listening.sockets[0].getsockname()[1])
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.gather(*state.tasks)


async def test_a_good_request_is_answered_without_a_server_header(served: Served) -> None:
    answer = await served.talk(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b'{"status":"ok"}'
    assert b"server:" not in head.lower()


async def test_a38_silence_and_trickled_heads_are_closed(served: Served) -> None:
    assert await served.talk() == b""
    assert await served.talk(b"GET /healthz HT") == b""
    assert await served.talk(*[bytes([byte]) for byte in GET[:20]], pause=0.05) == b""
    assert await served.talk(b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", pause=0.1) == b""


async def test_a38_a_head_that_trickles_after_a_good_request_is_closed(served: Served) -> None:
    answer = await served.talk(GET, b"GET /he", pause=0.1)
    assert answer.count(b"HTTP/1.1") == 1


async def test_a38_heads_beyond_16_kib_are_refused(served: Served) -> None:
    many = b"".join(b"x-%d: %s\r\n" % (n, b"a" * 100) for n in range(200))
    for head in (
        b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 20_480 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 20_480,
        b"GET /" + b"a" * 20_480 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + many + b"\r\n",
    ):
        assert len(head) > HEAD_BYTES
        assert (await served.talk(head)).startswith(b"HTTP/1.1 431")
    fits = b"GET /healthz HTTP/1.1\r\nconnection: close\r\nx: " + b"a" * 15_000 + b"\r\n\r\n"
    assert (await served.talk(fits)).startswith(b"HTTP/1.1 200")


async def test_a38_what_is_no_http_is_refused(served: Served) -> None:
    login = b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    for request in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"nonsense\r\n\r\n",
        login + b"transfer-encoding: chunked\r\n\r\nzz\r\nlies\r\n0\r\n\r\n",
        login + b"content-length: 5\r\ncontent-length: 6\r\n\r\n{}   ",
        login + b"content-length: -1\r\n\r\n{}",
    ):
        answer = await served.talk(request)
        assert b" 400 " in answer.split(b"\r\n")[0], request


async def test_a38_a_body_larger_than_it_may_be_is_refused_and_the_connection_closed(served: Served) -> None:
    login = b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    declared = await served.talk(login + b"content-length: 66560\r\n\r\n" + b" " * 1000)
    assert declared.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in declared
    chunks = b"".join(b"4000\r\n" + b" " * 0x4000 + b"\r\n" for _ in range(5))
    chunked = await served.talk(login + b"transfer-encoding: chunked\r\n\r\n" + chunks)
    assert chunked.startswith(b"HTTP/1.1 413")


async def test_connections_of_one_address_are_limited(served: Served) -> None:
    good = GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        open_ones = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(8)]
        assert await served.talk(good) == b""
        for reader, writer in open_ones:
            # Each is closed by the server, since it says nothing.
            assert await reader.read() == b""
            writer.close()
        assert (await served.talk(good)).startswith(b"HTTP/1.1 200")
