"""Requests and sockets made by hand, for saying what no carrier would say."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from yarl import URL

from server.signatures import sign
from tests.twilio.rig import ACCOUNT, AUTH_TOKEN, FakeDesk, Site

CALL_A, CALL_B = "CA" + "a" * 32, "CA" + "b" * 32
STREAM = "MZ" + "0" * 32

Fields = Sequence[tuple[str, str]]


def status_form(**changes: str) -> list[tuple[str, str]]:
    form = {
        "AccountSid": ACCOUNT,
        "CallSid": CALL_A,
        "CallStatus": "ringing",
        "SequenceNumber": "1",
        "ToCity": "",
    }
    return list({**form, **changes}.items())


async def post(
    place: Site,
    target: str,
    fields: Fields,
    signature: str | None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Status, content type and text of the answer."""
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    if signature is not None:
        sent["X-Twilio-Signature"] = signature
    async with (
        aiohttp.ClientSession() as session,
        session.post(URL(place.url + target, encoded=True), data=urlencode(fields), headers=sent) as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


async def signed_post(place: Site, target: str, fields: Fields) -> tuple[int, str, str]:
    return await post(place, target, fields, sign(AUTH_TOKEN, place.url + target, fields))


def socket_signature(place: Site) -> str:
    return sign(AUTH_TOKEN, place.url.replace("http://", "ws://") + "/twilio/media")


async def upgrade(place: Site, signature: str | None) -> ClientConnection | int:
    """A socket, or the HTTP status that refused it."""
    headers = {} if signature is None else {"x-twilio-signature": signature}
    url = place.url.replace("http://", "ws://") + "/twilio/media"
    try:
        return await connect(
            url, additional_headers=headers, compression=None, proxy=None, ping_interval=None
        )
    except InvalidStatus as refused:
        return refused.response.status_code


async def socket(place: Site) -> ClientConnection:
    opened = await upgrade(place, socket_signature(place))
    assert isinstance(opened, ClientConnection)
    return opened


def start(token: str | None, call_sid: str = CALL_A, account_sid: str = ACCOUNT) -> str:
    return json.dumps(
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": STREAM,
            "start": {
                "accountSid": account_sid,
                "callSid": call_sid,
                "streamSid": STREAM,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {} if token is None else {"token": token},
            },
        }
    )


CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'


def frame(sequence: int, mulaw: bytes = b"\xff" * 160) -> str:
    return json.dumps(
        {
            "event": "media",
            "sequenceNumber": str(sequence),
            "streamSid": STREAM,
            "media": {
                "track": "inbound",
                "chunk": str(sequence),
                "timestamp": str(sequence * 20),
                "payload": base64.b64encode(mulaw).decode(),
            },
        }
    )


async def admitted(place: Site, desk: FakeDesk) -> ClientConnection:
    """A socket with a token of its own, as far as `start`."""
    connection = await socket(place)
    await connection.send(CONNECTED)
    await connection.send(start(desk.token(CALL_A)))
    await desk.until(lambda known: bool(known.lives))
    return connection


async def close_code(connection: ClientConnection) -> int | None:
    """Read on until the server closes; its code, None when the connection just broke."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return connection.close_code
