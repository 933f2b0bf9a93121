"""Real processes: a rolling restart in mid-call, workers that share a port, signals and deaths."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from pipeline.carriers.callee import Answer, HangUp, Script, Silence, Speak
from tests.whole.processes import Town, town
from tests.whole.rig import Person
from tests.whole.test_whole_call import HELLO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CALLS = 20


def play(url: str, data_dir: Path, story: Callable[[Town], Awaitable[None]]) -> None:
    async def main() -> None:
        async with town(data_dir, url) as found:
            await story(found)
            assert await found.world.breaches() == []

    asyncio.run(main())


def talks(seconds: int) -> Script:
    """Says hello every few seconds, and hangs up after so many."""
    rounds = (Speak(HELLO, 0), Silence(4_000)) * (seconds // 5)
    return Script(Answer(300), (*rounds, HangUp()))


async def statuses(people: list[Person], calls: list[str]) -> list[tuple[str, str | None]]:
    found = []
    for person, call_id in zip(people, calls, strict=True):
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        found.append((call["status"], call["end_reason"]))
    return found


def test_a_rolling_restart_of_two_nodes_drops_none_of_twenty_calls(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(found: Town) -> None:
        first, second = await found.start(), await found.start()
        await first.said('"ready"')
        await second.said('"ready"')
        await found.balancer.has(2)
        people = [await found.world.person(talks(180)) for _ in range(CALLS)]
        calls = [await person.call() for person in people]
        async with asyncio.TaskGroup() as tasks:
            for person, call_id in zip(people, calls, strict=True):
                tasks.create_task(
                    person.follow(call_id, lambda kind, data: kind == "turn" and "text" in data)
                )
        assert await statuses(people, calls) == [("in-progress", None)] * CALLS

        for old in (first, second):
            old.signal(signal.SIGTERM)
            fresh = await found.start()
            await fresh.said('"ready"')
        assert await statuses(people, calls) == [("in-progress", None)] * CALLS, (
            "both restarts were in mid-call"
        )
        # The balancer knows the new ones only; the calls are conducted by the old ones still.
        for person, call_id in zip(people, calls, strict=True):
            assert (await person.ask("POST", f"/api/calls/{call_id}/hangup")).status == 202
        assert [await first.ended(), await second.ended()] == [0, 0]

        assert await statuses(people, calls) == [("completed", "user_hung_up")] * CALLS
        assert found.world.carrier.alerts == []
        assert len(found.world.carrier.calls) == CALLS

    play(migrated_postgres, tmp_path, story)


def test_workers_share_a_port_and_one_that_dies_is_started_again(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(found: Town) -> None:
        parent = await found.start("--workers", "2")
        ready = await parent.said('"ready"', times=2)
        started = await parent.said('"worker_started"', times=2)
        assert len({line["node_url"] for line in ready}) == 2
        async with aiohttp.ClientSession() as http:
            for line in ready:
                async with http.get(f"{line['node_url']}/metrics") as answer:
                    assert answer.status == 200, "each worker's figures are scraped from its own port"
        await found.balancer.has(1)
        people = [await found.world.person(talks(10)) for _ in range(6)]
        calls = [await person.call() for person in people]
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(person.follow(call_id))
                for person, call_id in zip(people, calls, strict=True)
            ]
        assert [task.result()[-1][2]["end_reason"] for task in following] == ["caller_hung_up"] * 6

        os.kill(started[0]["pid"], signal.SIGKILL)
        await parent.said('"ready"', times=3)
        assert (await people[0].ask("GET", "/api/me")).status == 200

        parent.signal(signal.SIGTERM)
        assert await parent.ended() == 0

    play(migrated_postgres, tmp_path, story)


def test_workers_stop_with_their_parent(migrated_postgres: str, tmp_path: Path) -> None:
    async def story(found: Town) -> None:
        parent = await found.start("--workers", "2")
        await parent.said('"ready"', times=2)
        parent.signal(signal.SIGKILL)
        await parent.ended()
        async with asyncio.timeout(60):
            await parent.silent.wait()
        assert sum('"parent_gone"' in line for line in parent.lines) == 2

    play(migrated_postgres, tmp_path, story)
