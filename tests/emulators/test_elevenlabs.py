"""The emulated ElevenLabs keeps its own protocol: what it refuses, notes and speaks."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pipeline.clock import run_virtual
from tests.emulators.elevenlabs import ElevenLabs
from tests.emulators.sounding import KEY

GRACE = 0.001


PLACE = "/v1/text-to-speech/v/multi-stream-input?model_id=eleven_flash_v2_5&output_format=ulaw_8000&auto_mode=true"


def begin(name: str) -> dict[str, object]:
    return {"text": " ", "context_id": name, "voice_settings": {"stability": 0.5}}


async def answers(socket: ClientConnection, *messages: object) -> tuple[list[dict[str, object]], int | None]:
    """All that comes back until the socket closes or is silent, and the code of the close."""
    for message in messages:
        await socket.send(json.dumps(message))
    told = []
    try:
        while True:
            async with asyncio.timeout(1):
                told.append(json.loads(await socket.recv()))
    except TimeoutError:
        return told, None
    except ConnectionClosed as error:
        return told, error.rcvd.code if error.rcvd else None


REFUSALS: list[tuple[str, list[object]]] = [
    ("max_active_conversations", [begin(f"c{number}") for number in range(6)]),
    ("max_active_conversations", [{"context_id": f"c{number}", "flush": True} for number in range(6)]),
    ("policy_violation", [begin("a"), {"text": "Hi. ", "context_id": "a", "voice_settings": {}}]),
    ("invalid_first_message", [{"text": "Hello. ", "context_id": "a"}]),
    ("missing_context", [{"text": " "}]),
    ("invalid_message", [["text"]]),
]


@pytest.mark.parametrize(("name", "messages"), REFUSALS)
def test_the_emulator_refuses(name: str, messages: list[object]) -> None:
    async def main() -> None:
        async with (
            ElevenLabs() as vendor,
            connect(vendor.url + PLACE, additional_headers={"xi-api-key": KEY}) as socket,
        ):
            told, code = await answers(socket, *messages)
            assert (told[-1]["error"], told[-1]["code"], code) == (name, 1008, 1008)
            assert vendor.violations

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(
    "messages",
    [
        [{"context_id": "a", "flush": True}],
        [{"text": "", "context_id": "a"}],
        [begin("a"), {"text": "Glued", "context_id": "a"}],
        [begin("a"), {"context_id": "a", "close_context": True}, {"context_id": "a", "close_context": True}],
        [{"context_id": "a", "close_context": True}],
    ],
)
def test_the_emulator_notes(messages: list[object]) -> None:
    async def main() -> None:
        async with (
            ElevenLabs() as vendor,
            connect(vendor.url + PLACE, additional_headers={"xi-api-key": KEY}) as socket,
        ):
            _, code = await answers(socket, *messages)
            assert code is None
            assert len(vendor.violations) == 1

    run_virtual(main(), grace=GRACE)


def test_the_emulator_speaks_only_what_was_flushed_and_ends_what_was_closed() -> None:
    async def main() -> None:
        async with (
            ElevenLabs() as vendor,
            connect(vendor.url + PLACE, additional_headers={"xi-api-key": KEY}) as socket,
        ):
            assert await answers(socket, begin("a"), {"text": "Hello. ", "context_id": "a"}) == ([], None)
            told, _ = await answers(
                socket, {"context_id": "a", "flush": True}, {"text": "", "context_id": "a"}
            )
            assert told
            assert all(one["audio"] for one in told)
            told, _ = await answers(socket, {"context_id": "a", "close_context": True})
            assert told == [{"isFinal": True, "contextId": "a"}]
            assert await answers(socket, {"close_socket": True}) == ([], 1000)
            assert vendor.violations == []
            assert vendor.characters == len("Hello.")

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(
    ("place", "key", "status"),
    [
        (PLACE, "wrong", 401),
        (PLACE.replace("/v/", "/nobody/"), KEY, 404),
        (PLACE.replace("multi-stream-input", "stream"), KEY, 404),
        (PLACE.replace("eleven_flash_v2_5", "eleven_v3"), KEY, 400),
        (PLACE + "&inactivity_timeout=181", KEY, 400),
    ],
)
def test_the_emulator_keeps_its_door(place: str, key: str, status: int) -> None:
    async def main() -> None:
        async with ElevenLabs() as vendor:
            with pytest.raises(InvalidStatus) as caught:
                await connect(vendor.url + place, additional_headers={"xi-api-key": key})
            assert caught.value.response.status_code == status

    run_virtual(main(), grace=GRACE)
