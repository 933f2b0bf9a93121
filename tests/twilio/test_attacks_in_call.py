"""Attacks by a socket that has proved itself: what ends the call, and that no other call suffers."""

from __future__ import annotations

import asyncio
import socket as sockets

import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipeline.core.terms import EndReason
from pipeline.ports import Line
from storage.db import DatabaseDown
from tests.twilio.attacker import (
    CALL_A,
    CALL_B,
    CONNECTED,
    STREAM,
    admitted,
    close_code,
    frame,
    socket,
    socket_signature,
    start,
)
from tests.twilio.rig import Conversation, FakeDesk, run_scaled, site, tone

BAD: tuple[str | bytes, ...] = (
    "{",
    "[" * 30_000,
    '{"event":"media","sequenceNumber":"1e999"}',
    '{"event":"media","sequenceNumber":NaN}',
    frame(3).replace("/////", "*****"),
    frame(3).replace(STREAM, "MZ" + "1" * 32),
    frame(-1),
    frame(0),
    b"\xff" * 160,
    start("again"),
    CONNECTED,
    '{"event":"nonsense"}',
)


def test_a10_the_hundredth_malformed_message_ends_the_call_and_no_other() -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(desk=desk) as place:
            other = await admitted(place, desk)
            hostile = await socket(place)
            await hostile.send(start(desk.token(CALL_B), CALL_B))
            await desk.until(lambda known: len(known.lives) == 2)
            innocent, victim = desk.lives
            for number in range(99):
                await hostile.send(BAD[number % len(BAD)])
            await hostile.send(frame(2, tone(20)))
            await hostile.send(frame(900, b"\x01\x02\x03"))  # a jump and an odd length are forgiven
            await hostile.send(BAD[0])
            assert await close_code(hostile) == 1008
            assert victim.ended == [EndReason.BAD_STREAM]
            assert bytes(victim.heard) == tone(20) + b"\x01\x02\x03"
            assert innocent.ended == []
            await other.close()
            await innocent.over.wait()

    run_scaled(main())


def test_a11_frames_at_ten_times_the_pace_end_the_call() -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(desk=desk) as place:
            connection = await admitted(place, desk)
            sent = await _flood(connection, frames=600)
            assert await close_code(connection) == 1008
            assert desk.lives[0].ended == [EndReason.BAD_STREAM]
            assert len(desk.lives[0].heard) < 600 * 160
            assert sent > 250

    run_scaled(main(), speed=1)


async def _flood(connection: ClientConnection, frames: int) -> int:
    sent = 0
    try:
        for sent in range(1, frames + 1):
            await connection.send(frame(sent + 1))
    except ConnectionClosed:
        pass
    return sent


def test_a11_a_peer_that_does_not_read_is_dropped() -> None:
    class Talkative(Conversation):
        def hear(self, mulaw: bytes) -> None:
            super().hear(mulaw)
            self.say(tone(10_000))

    async def main() -> None:
        desk = FakeDesk(converse=Talkative)
        async with site(desk=desk) as place:
            host, port = place.url.removeprefix("http://").split(":")
            small = sockets.socket()
            small.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            small.setblocking(False)
            await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
            connection = await connect(
                f"ws://{host}:{port}/twilio/media",
                sock=small,
                additional_headers={"x-twilio-signature": socket_signature(place)},
                compression=None,
                proxy=None,
                ping_interval=None,
                max_queue=1,
            )
            await connection.send(start(desk.token(CALL_A)))
            await desk.until(lambda known: bool(known.lives))
            live = desk.lives[0]
            for number in range(2, 120):  # in a burst, as after a stall; more sound than sockets take in
                await connection.send(frame(number))
                await live.hears((number - 1) * 160)
                if live.over.is_set():
                    break
            await live.over.wait()
            assert live.ended == [EndReason.BAD_STREAM]
            connection.transport.abort()

    run_scaled(main())


def test_a_socket_that_breaks_in_mid_frame_is_told_of_once() -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(desk=desk) as place:
            connection = await admitted(place, desk)
            connection.transport.abort()
            await desk.lives[0].over.wait()
            assert (desk.lives[0].ended, desk.lives[0].breaks) == ([], 1)

    run_scaled(main())


def test_an_error_inside_a_call_ends_that_call_alone() -> None:
    class Fragile(Conversation):
        def __init__(self, line: Line) -> None:
            super().__init__(line, greeting_ms=0)

        def hear(self, mulaw: bytes) -> None:
            raise RuntimeError("broken")

    async def main() -> None:
        desk = FakeDesk(converse=Fragile)
        async with site(desk=desk) as place:
            connection = await admitted(place, desk)
            await connection.send(frame(2))
            assert await close_code(connection) == 1000
            assert desk.lives[0].ended == [EndReason.ENGINE_FAILURE]

    run_scaled(main())


@pytest.mark.parametrize(
    ("error", "code", "surprises"),
    [(OSError("no"), 1011, 1), (DatabaseDown("nobody answers", retryable=True), 1013, 0)],
)
def test_a_desk_that_fails_lets_nobody_in(error: Exception, code: int, surprises: int) -> None:
    """A database that is away is no mistake of ours."""

    class Failing(FakeDesk):
        async def attach(self, token: str, call_sid: str, line: Line) -> Conversation:
            raise error

    def counted() -> float:
        return REGISTRY.get_sample_value("callmeback_surprises_total", {"where": "media"}) or 0.0

    async def main() -> None:
        desk, before = Failing(), counted()
        async with site(desk=desk) as place:
            connection = await socket(place)
            await connection.send(start(desk.token(CALL_A)))
            assert await close_code(connection) == code
            assert desk.lives == []
        assert counted() - before == surprises

    run_scaled(main())
