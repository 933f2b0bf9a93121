"""A server process dies, freezes or cannot write, in the middle of a call at a carrier that lives on."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Machine, Script, Silence, Speak
from pipeline.journal_file import parts, read_lines
from pipeline.replay import replay
from storage.records import CostLine
from tests.whole.processes import PHONE, Town, town

pytestmark = pytest.mark.slow

CALLERS = Path("server/callers")
HELLO = read_wav(CALLERS / "hello.wav")
INTERVIEW = read_wav(CALLERS / "interview.wav")
TALK = Script(
    Answer(500),
    (Speak(HELLO, 700), Speak(INTERVIEW, 700), Silence(5_000), HangUp()),
    Machine("human"),
)
DROPPED = "the line dropped"


def minutes_are_the_carriers(place: Town, lines: dict[str, CostLine]) -> None:
    """Neither a minute lost nor one charged twice, by the count of the exchange."""
    seconds = place.phone_call().seconds
    assert lines["carrier"].quantity == lines["stream"].quantity == 60 * math.ceil(seconds / 60)
    assert lines["amd"].quantity == 1


def test_a_killed_server_that_comes_back_goes_on_with_the_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with town(tmp_path) as place:
            server = await place.server()
            await place.sign_up(server)
            place.scripts[PHONE] = TALK
            call_id = await place.call(server)
            await place.until(
                lambda call: len(call.callee.agent.all()) >= 2
            )  # the first answer is being heard
            await server.kill()
            assert place.phone_call().status == "in-progress"
            stretches = len(place.phone_call().callee.agent.all())
            await server.start()
            await place.until(lambda call: len(call.callee.agent.all()) > stretches)
            row = await place.over(call_id)
            assert (row.status, row.end_reason, row.epoch) == ("completed", "caller_hung_up", 2)
            lines, said, breaches = await place.books(call_id)
            assert breaches == []
            minutes_are_the_carriers(place, lines)
            texts = [turn.text for turn in said]
            assert sum("automated" in text for text in texts) == 1, "nobody is told twice who calls"
            back = next(number for number, text in enumerate(texts) if DROPPED in text)
            assert [turn.role for turn in said[back + 1 :]].count("caller") == 1, "the conversation goes on"
            assert said[-1].role == "agent"
            assert [turn.started_ms for turn in said] == sorted(turn.started_ms for turn in said)
            written = parts(tmp_path / "calls", call_id)
            assert [path.name for path in written] == [f"{call_id}.journal", f"{call_id}.2.journal"]
            for path in written:
                assert replay(read_lines(path)).exact

    asyncio.run(main())
