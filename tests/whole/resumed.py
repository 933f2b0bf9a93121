"""One server with several calls on it is killed and started again, over and over: how many go on, after what silence.

`python -m tests.whole.resumed KILLS [CALLS] [SEED] [NAME=VALUE ...]` does it by hand and exits 1 where fewer than 95 %
of the calls were heard again within `WITHIN_S` of the kill. `NAME=VALUE` are settings of the server.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Machine, Script, Speak
from pipeline.carriers.phonecall import PhoneCall
from pipeline.clock import Clock
from storage.audit import audit
from tests.whole.chaos import Person
from tests.whole.killing import Server, Town, town

SHARE = 0.95
WITHIN_S = 5.0
PATIENCE_S = 60.0
HELLO = read_wav(Path("server/callers/hello.wav"))
TALK = (*(8 * (Speak(HELLO, 700, 4_000),)), HangUp())


@dataclass
class Outcome:
    """Seconds are from the kill on: until the server listened, was ready, and until each call's agent was heard again.

    A call that was not heard again, since it ended, is infinitely silent.
    """

    listened: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def went_on(self) -> int:
        return sum(math.isfinite(silence) for silence in self.silences)

    @property
    def in_time(self) -> int:
        return sum(silence <= WITHIN_S for silence in self.silences)

    @property
    def good(self) -> bool:
        return not self.problems and self.in_time >= SHARE * len(self.silences)

    def __str__(self) -> str:
        total = len(self.silences)
        return "\n".join(
            (
                f"{self.went_on} of {total} calls went on, {self.in_time} of them within {WITHIN_S:g} s of the kill",
                f"silence   {_spread(self.silences)}",
                f"listening {_spread(self.listened)}",
                f"ready     {_spread(self.ready)}",
                *self.problems,
            )
        )


def _spread(values: Sequence[float]) -> str:
    """The least, quartiles, 95 %, the most, of those that are finite."""
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return "-"
    at = {name: known[min(len(known) - 1, int(share * len(known)))] for name, share in PLACES.items()}
    return ", ".join(f"{name} {value:.2f}" for name, value in at.items()) + " s"


PLACES = {"least": 0.0, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "most": 1.0}


async def killed(folder: Path, kills: int, count: int, seed: int, **more: str) -> Outcome:
    """So many kills of a server with `count` calls on it, all from one seed. `more` are settings of the server."""
    outcome, chance = Outcome(), Random(seed)
    limits = {"REGISTRATIONS_PER_IP": "1000", "CARRIER_CALLS_PER_SECOND": "50"}
    async with town(folder, **limits, **more) as place:
        server = await place.server()
        people = [
            Person(number, place, server.url, Random(f"{seed} {number}"), Counter())
            for number in range(count)
        ]
        for person in people:
            await person.sign_up()
        for _ in range(kills):
            calls = await _talking(place, people, chance)
            await asyncio.sleep(chance.uniform(0.0, 5.0))
            await _killed_once(server, calls, outcome)
            await _over(place, people, calls)
            async with place.database() as database, database.read() as tx:
                outcome.problems += [str(breach) for breach in (await audit(tx)).breaches]
    return outcome


async def _talking(place: Town, people: Sequence[Person], chance: Random) -> list[PhoneCall]:
    """A call of each, of which the first words were heard."""
    for person in people:
        place.scripts[person.phone] = Script(Answer(chance.randint(100, 1_500)), TALK, Machine("human"))
        placed = await person.ask("POST", "/api/calls", {"persona_id": "alex", "channel": "phone"})
        assert placed is not None, person.answers
    async with asyncio.timeout(PATIENCE_S):
        while True:
            calls = list(place.exchange.calls.values())[-len(people) :]
            if len(calls) == len(people) and all(call.callee.agent.ended for call in calls):
                return calls
            await asyncio.sleep(0.05)


async def _killed_once(server: Server, calls: Sequence[PhoneCall], outcome: Outcome) -> None:
    clock = Clock()
    living = [call for call in calls if call.status == "in-progress"]
    streams = [_streams(call) for call in living]
    await server.kill()
    began = clock.seconds()
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(server.start())
        listening = tasks.create_task(_listens(int(server.environ["PORT"]), clock, began))
        heard = [
            tasks.create_task(_silence(call, before, clock, began))
            for call, before in zip(living, streams, strict=True)
        ]
        await starting
        outcome.ready.append(clock.seconds() - began)
    outcome.listened.append(listening.result())
    outcome.silences += [task.result() for task in heard]


async def _listens(port: int, clock: Clock, began: float) -> float:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return clock.seconds() - began


def _streams(call: PhoneCall) -> int:
    return sum(moment.what == "stream" for moment in call.moments)


async def _silence(call: PhoneCall, streams: int, clock: Clock, began: float) -> float:
    """Until the agent is heard over another stream; without end where the call ends before."""
    while _streams(call) == streams:
        if call.over.is_set():
            return math.inf
        await asyncio.sleep(0.02)
    heard = call.callee.agent.ended
    while call.callee.agent.ended == heard:
        if call.over.is_set():
            return math.inf
        await asyncio.sleep(0.02)
    return clock.seconds() - began


async def _over(place: Town, people: Sequence[Person], calls: Sequence[PhoneCall]) -> None:
    """Everybody hangs up, and the books are closed."""
    owner = {person.phone: person for person in people}
    for call in calls:
        await owner[call.order.to].ask("POST", f"/api/calls/{_ident(call)}/hangup", {})
    async with asyncio.timeout(2 * PATIENCE_S), place.database() as database:
        for call in calls:
            await call.over.wait()
            while (await place.row(_ident(call), database)).final_at is None:  # noqa: ASYNC110  # of another process nothing tells
                await asyncio.sleep(0.2)


def _ident(call: PhoneCall) -> str:
    return call.order.status_url.rpartition("call=")[2]


def main() -> None:
    more = dict(part.split("=", 1) for part in sys.argv[1:] if "=" in part)
    numbers = [int(part) for part in sys.argv[1:] if "=" not in part]
    kills, count, seed = (*numbers, *(20, 10, 1)[len(numbers) :])
    with tempfile.TemporaryDirectory(prefix="callmeback-resumed-") as place:
        outcome = asyncio.run(killed(Path(place), kills, count, seed, **more))
    print(outcome)
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
