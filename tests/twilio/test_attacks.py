"""Attacks on the webhooks and the media socket: what is refused, when, and that nothing came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pipeline.carriers.callee import Answer, Script
from pipeline.clock import Clock
from server.routes.twilio import twilio_routes
from server.signatures import sign
from tests.permits import permit
from tests.twilio.attacker import (
    CALL_A,
    CALL_B,
    CONNECTED,
    close_code,
    frame,
    post,
    signed_post,
    socket,
    socket_signature,
    start,
    status_form,
    upgrade,
)
from tests.twilio.rig import ACCOUNT, AUTH_TOKEN, CALLEE, FakeDesk, Site, run_scaled, site

OF_A_CALL = ("/twilio/voice", "/twilio/status", "/twilio/resume")
PATHS = tuple(
    f"{route.path}?call=c1" if route.path in OF_A_CALL else route.path
    for route in twilio_routes(public_url="https://x.example", account_sid=ACCOUNT, auth_tokens=(AUTH_TOKEN,))
    if isinstance(route, Route)
)
"""Every webhook there is."""
FORM = status_form(
    AnsweredBy="human",
    StreamEvent="stream-started",
    Digits="1",
    MessageSid="SM" + "1" * 32,
    From=CALLEE,
    Body="STOP",
)


async def _refused(
    place: Site, attack: Coroutine[object, object, tuple[int, str, str]], status: int = 403
) -> None:
    assert (await attack)[0] == status
    assert not place.desk.touched


def test_a1_a_webhook_without_a_valid_signature_changes_nothing() -> None:
    async def main() -> None:
        assert len(PATHS) >= 7
        async with site() as place:
            for path in PATHS:
                good = sign(AUTH_TOKEN, place.url + path, FORM)
                other = sign("another token", place.url + path, FORM)
                for signature in (None, "", good[:-1], good.swapcase(), other):
                    await _refused(place, post(place, path, FORM, signature))

    run_scaled(main())


def test_a1_our_signature_for_another_account_changes_nothing() -> None:
    async def main() -> None:
        async with site() as place:
            for path in PATHS:
                form = [("AccountSid", "AC" + "1" * 32), *FORM[1:]]
                await _refused(place, signed_post(place, path, form))
                await _refused(place, signed_post(place, path, FORM[1:]))

    run_scaled(main())


def test_a2_a_changed_form_is_refused() -> None:
    async def main() -> None:
        async with site() as place:
            path = "/twilio/status?call=c1"
            signature = sign(AUTH_TOKEN, place.url + path, FORM)
            for changed in (
                [*FORM, ("Extra", "1")],
                FORM[:-1],
                [field for field in FORM if field[0] != "ToCity"],
                [*FORM, FORM[-1]],
                [(name.swapcase(), value) for name, value in FORM],
                status_form(CallStatus="completed", AnsweredBy="human", StreamEvent="stream-started"),
            ):
                await _refused(place, post(place, path, changed, signature))
            doubled = [*FORM, FORM[-1]]
            await _refused(place, signed_post(place, path, doubled))
            assert (await post(place, path, FORM, signature))[0] == 204

    run_scaled(main())


def test_a3_only_the_public_url_counts() -> None:
    async def main() -> None:
        async with site(public_url="https://voice.example.com") as place:
            path = "/twilio/status?call=c1"
            forged = {
                "Host": "evil.example.com",
                "X-Forwarded-Host": "evil.example.com",
                "X-Forwarded-Proto": "http",
            }
            for origin in (
                "http://voice.example.com",
                "https://evil.example.com",
                "http://evil.example.com",
                place.url,
            ):
                for headers in ({}, forged):
                    await _refused(
                        place, post(place, path, FORM, sign(AUTH_TOKEN, origin + path, FORM), headers)
                    )
            good = sign(AUTH_TOKEN, "https://voice.example.com" + path, FORM)
            assert (await post(place, path, FORM, good, forged))[0] == 204
            await _refused_socket(place, sign(AUTH_TOKEN, "https://voice.example.com/twilio/media"))
            await _refused_socket(place, socket_signature(place))

    run_scaled(main())


async def _refused_socket(place: Site, signature: str | None) -> None:
    assert await upgrade(place, signature) == 403
    assert not place.desk.lives


def test_a3_another_path_or_query_is_another_url() -> None:
    async def main() -> None:
        async with site() as place:
            signature = sign(AUTH_TOKEN, place.url + "/twilio/status?call=c1", FORM)
            for path in (
                "/twilio/status?call=c2",
                "/twilio/status",
                "/twilio/status?call=%631",
                "/twilio/amd?call=c1",
            ):
                await _refused(place, post(place, path, FORM, signature))

    run_scaled(main())


def test_a4_a5_repeated_and_disordered_callbacks_are_all_handed_on() -> None:
    async def main() -> None:
        async with site() as place:
            path = "/twilio/status?call=c1"
            for status, sequence in (("completed", "3"), ("ringing", "1"), ("ringing", "1")):
                form = status_form(CallStatus=status, SequenceNumber=sequence)
                assert (await signed_post(place, path, form))[0] == 204
            assert place.desk.statuses == [
                (CALL_A, "c1", "completed", None, 3),
                (CALL_A, "c1", "ringing", None, 1),
                (CALL_A, "c1", "ringing", None, 1),
            ]

    run_scaled(main())


def test_a6_an_upgrade_without_signature_is_no_socket() -> None:
    async def main() -> None:
        async with site() as place:
            for signature in (None, "", "A" * 28, sign("another token", "ws://x/twilio/media")):
                await _refused_socket(place, signature)

    run_scaled(main())


@pytest.mark.parametrize(
    "messages",
    [
        (CONNECTED, start(None)),
        (CONNECTED, start("")),
        (CONNECTED, start("guessed")),
        (start("guessed"),),
        (CONNECTED, frame(1)),
        (CONNECTED, CONNECTED, CONNECTED, CONNECTED),
        (b"\x00",),
        ("{}",),
    ],
)
def test_a6_a_signed_socket_without_a_token_is_closed(messages: tuple[str | bytes, ...]) -> None:
    async def main() -> None:
        async with site() as place:
            connection = await socket(place)
            for message in messages:
                await connection.send(message)
            assert await close_code(connection) == 1008
            assert not place.desk.touched

    run_scaled(main())


def test_a6_a_silent_socket_is_closed_within_five_seconds() -> None:
    async def main() -> None:
        async with site() as place:
            connection = await socket(place)
            await connection.send(CONNECTED)
            began = Clock().seconds()
            assert await close_code(connection) == 1008
            assert Clock().seconds() - began < 6.0
            assert not place.desk.touched

    run_scaled(main())


def test_a7_a_token_works_once() -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(desk=desk) as place:
            token = desk.token(CALL_A)
            connections = [await socket(place) for _ in range(20)]
            async with asyncio.TaskGroup() as tasks:
                for connection in connections:
                    tasks.create_task(connection.send(start(token)))
            await desk.until(lambda known: bool(known.lives))
            async with asyncio.TaskGroup() as tasks:
                ended = [tasks.create_task(_ended(connection, desk)) for connection in connections]
            assert sorted(str(task.result()) for task in ended) == ["1000"] + ["1008"] * 19
            assert len(desk.lives) == 1

    run_scaled(main(), speed=2)


async def _ended(connection: ClientConnection, desk: FakeDesk) -> int | None:
    """The refused are closed; the one that was let in hears its greeting and says goodbye itself."""
    try:
        async with asyncio.timeout(60):
            await connection.recv()
    except ConnectionClosed:
        return connection.close_code
    await connection.close()
    await desk.lives[0].over.wait()
    return connection.close_code


@pytest.mark.parametrize(("call", "account"), [(CALL_B, ACCOUNT), (CALL_A, "AC" + "1" * 32)])
def test_a8_a_token_is_bound_to_its_call_and_account(call: str, account: str) -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(desk=desk) as place:
            connection = await socket(place)
            await connection.send(start(desk.token(CALL_A), call, account))
            assert await close_code(connection) == 1008
            assert desk.lives == []

    run_scaled(main())


@pytest.mark.parametrize("first", [None, CONNECTED, "x" * 5_000_000])
def test_a9_fifty_strangers_leave_a_live_call_unharmed(first: str | None) -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(Script(Answer(50)), desk=desk) as place:
            await place.carrier.dial(place.order(), permit(CALLEE))
            await desk.until(lambda known: bool(known.lives))
            began = Clock().seconds()
            async with asyncio.TaskGroup() as tasks:
                crowd = [tasks.create_task(_stranger(place, first)) for _ in range(50)]
            assert Clock().seconds() - began < 12.0
            codes = [task.result() for task in crowd]
            assert set(codes) <= {503, 1008, 1009, 1006}
            if first != "x" * 5_000_000:
                assert codes.count(503) >= 30
            live = desk.lives[0]
            assert (len(desk.lives), live.ended) == (1, [])
            async with asyncio.timeout(5):
                await live.hears(len(live.heard) + 50 * 160)
            place.carrier.exchange.end(next(iter(place.carrier.calls)))
            await live.over.wait()

    run_scaled(main(), speed=2)


async def _stranger(place: Site, first: str | None) -> int | None:
    opened = await upgrade(place, socket_signature(place))
    if isinstance(opened, int):
        return opened
    try:
        if first is not None:
            await opened.send(first)
    except ConnectionClosed:
        return opened.close_code
    return await close_code(opened)
