"""A server process dies, freezes or cannot write, in the middle of a call at a carrier that lives on."""

from __future__ import annotations

import asyncio
import math
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import make_url

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Machine, Script, Silence, Speak
from pipeline.carriers.phonecall import PhoneCall
from pipeline.clock import Clock
from pipeline.journal_file import parts, read_lines
from pipeline.replay import replay
from storage.records import CostLine, TurnRow
from tests.whole.killing import PHONE, Server, Town, Wire, town

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CALLERS = Path("server/callers")
HELLO = read_wav(CALLERS / "hello.wav")
INTERVIEW = read_wav(CALLERS / "interview.wav")
DROPPED = "the line dropped"


def talk(silence_ms: int) -> Script:
    """Two lines, each once the agent is silent, then nothing for so long, then the end."""
    acts = (Speak(HELLO, 700), Speak(INTERVIEW, 700), Silence(silence_ms), HangUp())
    return Script(Answer(500), acts, Machine("human"))


SHORT, LONG = talk(5_000), talk(60_000)
STALLED = Script(
    Answer(500),
    (Speak(HELLO, 700), Silence(4_000), *(3 * (Speak(INTERVIEW, 700, 4_000),)), Silence(8_000), HangUp()),
    Machine("human"),
)


def minutes_are_the_carriers(place: Town, lines: dict[str, CostLine]) -> None:
    """Neither a minute lost nor one charged twice, by the count of the exchange."""
    seconds = place.phone_call().seconds
    assert lines["carrier"].quantity == lines["stream"].quantity == 60 * math.ceil(seconds / 60)
    assert lines["amd"].quantity == 1


async def talking(place: Town, server: Server, script: Script) -> str:
    """The call of somebody who signed up, once its first answer is being heard."""
    await place.sign_up(server)
    place.scripts[PHONE] = script
    call_id = await place.call(server)
    await place.until(lambda call: len(call.callee.agent.all()) >= 2)
    return call_id


async def closed(place: Town, call_id: str, reason: str, epoch: int) -> list[TurnRow]:
    """What was said, once the call is over for this reason and its books are exact."""
    row = await place.over(call_id)
    assert (row.status, row.end_reason, row.epoch) == ("completed", reason, epoch)
    await place.until(lambda call: call.status == "completed")
    lines, said, breaches = await place.books(call_id)
    assert breaches == []
    minutes_are_the_carriers(place, lines)
    return said


@asynccontextmanager
async def two_nodes(url: str, tmp_path: Path) -> AsyncIterator[tuple[Town, Wire, Server, Server]]:
    """Two servers at one database behind one address; each has files of its own."""
    async with (
        Wire().open() as wire,
        town(tmp_path, url, PUBLIC_URL=f"http://127.0.0.1:{wire.port}") as place,
    ):
        first = await place.server(DATA_DIR=str(tmp_path / "first"))
        second = await place.server(DATA_DIR=str(tmp_path / "second"))
        wire.targets = [int(server.environ["PORT"]) for server in (first, second)]
        yield place, wire, first, second


async def test_a_killed_server_that_comes_back_goes_on_with_the_call(tmp_path: Path) -> None:
    async with town(tmp_path) as place:
        server = await place.server()
        call_id = await talking(place, server, SHORT)
        await server.kill()
        assert place.phone_call().status == "in-progress"
        stretches = len(place.phone_call().callee.agent.all())
        await server.start()
        await place.until(lambda call: len(call.callee.agent.all()) > stretches)
        said = await closed(place, call_id, "caller_hung_up", 2)
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


async def test_a_killed_node_has_its_call_resumed_by_another_at_once(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async with two_nodes(migrated_postgres, tmp_path) as (place, _, first, second):
        call_id = await talking(place, first, SHORT)
        await first.kill()
        await second.says("call_resumed")
        said = await closed(place, call_id, "caller_hung_up", 2)
        texts = [turn.text for turn in said]
        assert sum("automated" in text for text in texts) == 1
        assert sum(DROPPED in text for text in texts) == 1
        assert texts[-1] != texts[texts.index(next(text for text in texts if DROPPED in text))]


async def test_a_frozen_node_loses_its_call_and_buys_nothing_when_it_thaws(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async with two_nodes(migrated_postgres, tmp_path) as (place, wire, first, _):
        call_id = await talking(place, first, LONG)
        first.signal(signal.SIGSTOP)
        wire.targets.reverse()  # whoever balances load notices, too
        await closed(place, call_id, "server_lost", 2)
        async with place.database() as database:
            row = await place.row(call_id, database)
        first.signal(signal.SIGCONT)
        await first.says("call_taken_over")
        await first.says("call_settled_elsewhere")
        async with place.database() as database:
            assert await place.row(call_id, database) == row, "nothing was written by the one that thawed"
        assert (await place.books(call_id))[2] == []
        # It goes on as a node like any other.
        again = await place.call(first)
        await place.until(lambda call: len(call.callee.agent.all()) >= 1)
        assert again != call_id


async def test_a_call_resumed_elsewhere_is_not_ended_by_the_node_that_thaws(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async with two_nodes(migrated_postgres, tmp_path) as (place, wire, first, second):
        call_id = await talking(place, first, talk(25_000))
        first.signal(signal.SIGSTOP)
        wire.targets.reverse()
        wire.cut()
        await second.says("call_resumed")
        first.signal(signal.SIGCONT)
        await first.says("call_taken_over")
        said = await closed(place, call_id, "caller_hung_up", 2)
        assert sum(DROPPED in turn.text for turn in said) == 1


async def test_a_database_that_stalls_is_not_heard(migrated_postgres: str, tmp_path: Path) -> None:
    """For longer than a lease: nobody else is there to take the call, and its money is set aside."""
    direct = make_url(migrated_postgres)
    async with Wire().open() as wire:
        wire.targets = [f"{direct.query['host']}/.s.PGSQL.5432"]
        beside = direct.set(host="127.0.0.1", port=wire.port, query={})
        through = beside.render_as_string(hide_password=False)
        async with town(tmp_path, migrated_postgres) as place:
            server = await place.server(DATABASE_URL=through)
            call_id = await talking(place, server, STALLED)
            wire.stall()
            answers = len(place.phone_call().callee.agent.all())
            await place.until(lambda call: len(call.callee.own.finished) >= 4)
            await server.says("lease_not_renewed")
            assert place.phone_call().status == "in-progress"
            assert len(place.phone_call().callee.agent.all()) > answers, "it went on talking"
            wire.flow()
            await closed(place, call_id, "caller_hung_up", 1)


async def test_a_full_disk_ends_the_call_with_a_goodbye(migrated_postgres: str, tmp_path: Path) -> None:
    async with town(tmp_path, migrated_postgres) as place:
        server = await place.server()
        call_id = await talking(place, server, LONG)
        assert server.process is not None
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, 1))
        await server.says("journal_lost")
        said = await closed(place, call_id, "engine_failure", 1)
        assert "something has gone wrong" in said[-1].text
        assert replay(read_lines(parts(tmp_path / "calls", call_id)[0])).exact, "what is written is whole"


def _marks(call: PhoneCall) -> int:
    """How many stretches of sound the callee has heard to their end."""
    return sum(moment.what.startswith("mark") for moment in call.moments)


def _heard_or_over(marks: int, call: PhoneCall) -> bool:
    return call.status == "completed" or _marks(call) > marks


async def killed_at_random(tmp_path: Path, kills: int, seed: int) -> list[float | None]:
    """Seconds from the restart to the agent's voice, for each kill; None where the call was not resumed but settled."""
    chance, clock, waited = Random(seed), Clock(), list[float | None]()
    async with town(tmp_path) as place:
        server = await place.server()
        await place.sign_up(server)
        for _ in range(kills):
            acts = (*(4 * (Speak(HELLO, 700, 4_000),)), HangUp())
            place.scripts[PHONE] = Script(Answer(100), acts, Machine("human"))
            call_id = await place.call(server)
            await place.until(lambda call: call.status == "in-progress")
            await asyncio.sleep(chance.uniform(0.5, 10.0))
            await server.kill()
            marks = _marks(place.phone_call())
            await server.start()
            restarted = clock.seconds()
            await place.until(partial(_heard_or_over, marks))
            heard = _marks(place.phone_call()) > marks
            waited.append(clock.seconds() - restarted if heard else None)
            row = await place.over(call_id)
            lines, _, breaches = await place.books(call_id)
            assert breaches == []
            assert row.status == "completed"
            minutes_are_the_carriers(place, lines)
    return waited


@pytest.mark.soak
def test_nineteen_of_twenty_killed_calls_go_on(tmp_path: Path) -> None:
    waited = asyncio.run(killed_at_random(tmp_path, 20, 1))
    resumed = [seconds for seconds in waited if seconds is not None]
    assert len(resumed) >= 19
