"""A server that dies while somebody who rang is on the line: the call goes on, and its minutes are the carrier's."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from pipeline.audio.wav import read_wav
from pipeline.carriers.base import DialOrder
from pipeline.carriers.callee import HangUp, Script, Silence, Speak
from pipeline.journal_file import parts, read_lines
from pipeline.replay import replay
from server.app import SIMULATED_SENDER
from storage import calls, strangers
from tests.whole.killing import PHONE, Server, Town, town

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HELLO = read_wav(Path("server/callers") / "hello.wav")
INTERVIEW = read_wav(Path("server/callers") / "interview.wav")
PIN = "271828"
ACTS = (Speak(HELLO, 700), Speak(INTERVIEW, 700), Silence(5_000), HangUp())


def rings(place: Town, server: Server, *keys: str) -> None:
    order = DialOrder(
        SIMULATED_SENDER, "", f"{server.url}/twilio/voice", f"{server.url}/twilio/status", "", 60, 4 * 3600
    )
    place.exchange.ring_in(PHONE, order, Script(acts=ACTS, keys=keys))


@pytest.mark.parametrize("keys", [(f"{PIN}#",), ()], ids=["a user", "a stranger"])
def test_whoever_rang_goes_on_after_a_crash(tmp_path: Path, keys: tuple[str, ...]) -> None:
    async def main() -> None:
        async with town(tmp_path, RESUME_PAUSE_SECONDS="10") as place:
            server = await place.server()
            await place.sign_up(server)
            await place.ask(server, "PUT", "/api/me/inbound-pin", {"pin": PIN})
            rings(place, server, *keys)
            await place.until(lambda call: len(call.callee.agent.all()) >= 2)
            await server.kill()
            stretches = len(place.phone_call().callee.agent.all())
            await server.start()
            await place.until(lambda call: len(call.callee.agent.all()) > stretches)
            async with place.database() as database, database.read() as tx:
                found = await calls.by_sid(tx, place.phone_call().sid)
            assert found is not None
            row = await place.over(found.id)
            assert (row.status, row.end_reason, row.epoch) == ("completed", "caller_hung_up", 2)
            assert row.user_id == (place.user if keys else strangers.ACCOUNT)
            lines, said, breaches = await place.books(row.id)
            assert breaches == []
            seconds = place.phone_call().seconds
            assert lines["carrier"].line == "carrier:twilio-inbound:second"
            assert lines["carrier"].quantity == 60 * math.ceil(seconds / 60)
            assert sum("automated" in turn.text for turn in said) == 1
            assert any("the line dropped" in turn.text for turn in said)
            for path in parts(tmp_path / "calls", row.id):
                assert replay(read_lines(path)).exact

    asyncio.run(main())
