"""The emulated Nova keeps its own protocol: what it wants, and how it says farewell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pipeline.audio.mulaw import silence
from pipeline.clock import run_virtual
from tests.emulators.caller import loud
from tests.emulators.nova import KEY, NovaEmulator

TEXTS = ["Hi Sarah, this is Jordan.", "I have news.", "What do you think about it?"]
KEEP_ALIVE, FINALIZE, CLOSE = ('{"type":"KeepAlive"}', '{"type":"Finalize"}', '{"type":"CloseStream"}')


def run(check: Callable[[], Coroutine[object, object, None]]) -> None:
    run_virtual(check(), grace=0.001)


async def raw(emulator: NovaEmulator, *messages: str | bytes | float) -> list[dict[str, object]]:
    """What the emulator answers to these; a number is a pause."""
    answers = []
    headers = {"Authorization": f"Token {KEY}"}
    address = f"{emulator.url}/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        for message in messages:
            if isinstance(message, float):
                await asyncio.sleep(message)
            else:
                await socket.send(message)
        with suppress(ConnectionClosed):
            while True:
                answers.append(json.loads(await socket.recv()))
        answers.append({"code": socket.close_code})
    return answers


def test_the_emulator_wants_sound_in_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with NovaEmulator(TEXTS) as emulator:
            assert await raw(emulator, 6.0, KEEP_ALIVE) == [{"code": 1011}]
            assert loop.time() == pytest.approx(10, abs=0.1)
            assert await raw(emulator, silence(20), 6.0, KEEP_ALIVE) == [{"code": 1011}]
            assert loop.time() == pytest.approx(26, abs=0.1)

    run(main)


def test_the_emulator_finalizes_and_says_farewell() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            answer, farewell, end = await raw(emulator, loud(200), FINALIZE, CLOSE)
            assert (answer["type"], answer["is_final"], answer["from_finalize"]) == ("Results", True, True)
            assert (farewell["type"], farewell["duration"], end) == ("Metadata", 0.2, {"code": 1000})
            assert await raw(emulator, '{"type":"ForceEndTurn"}') == [{"code": 1008}]
            assert len(emulator.violations) == 1

    run(main)
