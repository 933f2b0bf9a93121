"""The emulated Flux keeps its own protocol: what it wants, what it refuses, what it counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pipeline.clock import run_virtual
from tests.emulators.caller import loud
from tests.emulators.flux import KEY, FluxEmulator

TEXTS = ["Hi Sarah, this is Jordan.", "I have news.", "What do you think about it?"]


def run(check: Callable[[], Coroutine[object, object, None]]) -> None:
    run_virtual(check(), grace=0.001)


async def raw(emulator: FluxEmulator, *messages: str | bytes) -> list[dict[str, object]]:
    """What the emulator answers to these."""
    answers = []
    headers = {"Authorization": f"Token {KEY}"}
    address = f"{emulator.url}/v2/listen?model=flux-general-en&encoding=mulaw&sample_rate=8000"
    async with connect(address, additional_headers=headers, proxy=None, ping_interval=None) as socket:
        for message in messages:
            await socket.send(message)
        with suppress(ConnectionClosed):
            async with asyncio.timeout(100):
                while True:
                    answers.append(json.loads(await socket.recv()))
        answers.append({"code": socket.close_code})
    return answers


@pytest.mark.parametrize(
    "message", ['{"type":"KeepAlive"}', '{"type":"Finalize"}', "{", "[]", '{"type":"ForceEndTurn"}']
)
def test_the_emulator_dies_of_what_flux_does_not_know(message: str) -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            connected, error, end = await raw(emulator, message)
            assert (connected["type"], connected["sequence_id"]) == ("Connected", 0)
            assert (error["type"], error["code"]) == ("Error", "UNPARSABLE_CLIENT_MESSAGE")
            assert end == {"code": 1008}
            assert len(emulator.violations) == 1

    run(main)


def test_the_emulator_counts_and_can_be_told_to_end_a_turn() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS, force_end_turn=True) as emulator:
            answers = await raw(
                emulator,
                *(
                    loud(1_001),
                    '{"type":"Configure","thresholds":{"eot_timeout_ms":600},"keyterms":["Acme"]}',
                ),
                *('{"type":"ForceEndTurn"}', b"", '{"type":"CloseStream"}'),
            )
            assert [each.get("event", each.get("type")) for each in answers] == [
                *("Connected", "StartOfTurn", "Update", "Update", "Update"),
                *("ConfigureSuccess", "EndOfTurn", None),
            ]
            assert [each["sequence_id"] for each in answers[:-1]] == list(range(len(answers) - 1))
            assert answers[-2]["trigger"] == "manual"
            assert emulator.seconds_billed == 2
            assert emulator.violations == ["empty binary message"]

    run(main)


def test_the_emulator_closes_a_socket_without_sound_and_pings() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            began = asyncio.get_running_loop().time()
            assert (await raw(emulator))[-1] == {"code": 1011}
            assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=0.1)

    run(main)


def test_the_emulator_knows_its_path() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"{emulator.url}/v1/listen", proxy=None)
            assert caught.value.response.status_code == 404
            assert caught.value.response.headers["dg-request-id"]

    run(main)
