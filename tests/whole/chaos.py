"""Two real servers on one PostgreSQL, a carrier that lives on, people who call, and a nemesis.

Everything the nemesis does comes from its seed; what the operating system makes of it does not. What it did, and what
was found afterwards, is in an `Outcome`.

    python -m tests.whole.chaos FAULTS SEED [--out FOLDER]     # one run; its outcome also as FOLDER/chaos-SEED.json
    python -m tests.whole.chaos --sum FOLDER                   # of many runs, as a table in Markdown

Many faults are lived through in several runs, each with a seed and a database of its own. A run that does not end in
its time says where everything stands, and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from sqlalchemy import text

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Machine, Script, Silence, Speak
from pipeline.clock import Clock, real_seconds
from pipeline.core.money import NANOS_PER_USD, Nanos
from storage import ledger
from storage.audit import AuditReport, audit
from storage.db import Database, DatabaseDown
from tests import postgres
from tests.ports import free_port
from tests.storage.world import migrated
from tests.whole.killing import Server, Town, town
from tests.whole.nodes import Balancer
from tests.whole.nursery import nursery
from tests.whole.reckoning import Legs, Outcome, compare, read, table

PEOPLE = 6
SETTLED_S = 150.0
"""How long everything may take to be settled after the last fault."""
A_FAULT_S, BESIDES_S = 30.0, 300.0
"""How long a run may take, for each fault and besides: several times what it does on a busy machine."""
AUDIT_TRIES = 5
"""A snapshot may be refused: the machine is busy, and a statement has two seconds."""
HELLO = read_wav(Path("server/callers/hello.wav"))

Tell = Callable[[str], None]


@dataclass
class Person:
    """Calls, talks for a while, calls again. Whoever gets no answer tries again later."""

    number: int
    place: Town
    url: str
    chance: Random
    answers: Counter[str]
    token: str = ""
    id: str = ""

    @property
    def phone(self) -> str:
        return f"+1202555{120 + self.number:04d}"

    async def sign_up(self) -> None:
        """While nothing is broken yet."""
        body = {"email": f"chaos{self.number}@example.com", "password": "correct horse", "name": "Kim"}
        answer = await self.ask("POST", "/api/auth/register", body)
        assert answer is not None
        self.token, self.id = answer["token"], answer["user"]["id"]
        await self.ask("POST", "/api/me/phone", {"phone": self.phone})
        await self.ask("POST", "/api/me/phone/verify", {"code": self.place.exchange.sms[-1].body.split()[0]})
        async with self.place.database() as database, database.write() as tx:
            await ledger.grant(
                tx, user_id=self.id, amount=Nanos(20 * NANOS_PER_USD), kind="grant", idem_key=self.id,
                now=Clock().utc(),
            )  # fmt: skip

    async def live(self) -> None:
        while True:
            # Most calls are short, so that many meet a fault; some go on into a second minute.
            longest = 75_000 if self.chance.random() < 0.1 else 9_000
            acts = (Speak(HELLO, 700), Silence(self.chance.randint(500, longest)), HangUp())
            self.place.scripts[self.phone] = Script(Answer(self.chance.randint(100, 2_000)), acts, Machine())
            placed = await self.ask("POST", "/api/calls", {"persona_id": "alex", "channel": "phone"})
            if placed is not None and self.chance.random() < 0.2:
                await asyncio.sleep(self.chance.uniform(0.5, 10.0))
                await self.ask("POST", f"/api/calls/{placed['id']}/hangup", {})
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))

    async def ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        patience, what = aiohttp.ClientTimeout(total=10), path.rpartition("/")[2]
        try:
            async with (
                aiohttp.ClientSession(self.url, headers=headers, timeout=patience) as http,
                http.request(method, path, json=body) as answer,
            ):
                self.answers[f"{what} {answer.status}"] += 1
                return await answer.json() if answer.status < 300 else None
        except (aiohttp.ClientError, TimeoutError):
            self.answers[f"{what} nobody"] += 1
            return None


class Nemesis:
    """Kills a server, or both, and starts it again, or lets it stand still for a while."""

    def __init__(self, servers: list[Server], seed: int, faults: Counter[str]) -> None:
        self._servers, self._chance, self._faults = servers, Random(seed), faults

    async def strike(self) -> None:
        victim = self._chance.choice(self._servers)
        await asyncio.sleep(self._chance.uniform(0.1, 2.5))
        kind = self._chance.random()
        if kind < 0.65:
            await self._killed(victim)
        elif kind < 0.7:
            for server in self._servers:
                await self._kill(server)
            await asyncio.sleep(self._chance.choice((0.0, 0.5, 3.0)))
            for server in self._servers:
                await server.start()
        else:
            self._faults["SIGSTOP"] += 1
            victim.signal(signal.SIGSTOP)
            # More often for less than a lease, ten seconds, than for more.
            await asyncio.sleep(self._chance.choices((0.5, 2.0, 6.0, 14.0), weights=(4, 4, 2, 1))[0])
            if self._chance.random() < 0.3:
                await self._killed(victim)
            else:
                victim.signal(signal.SIGCONT)

    async def _killed(self, victim: Server) -> None:
        await self._kill(victim)
        await asyncio.sleep(self._chance.choice((0.0, 0.5, 3.0)))
        await victim.start()

    async def _kill(self, victim: Server) -> None:
        self._faults["SIGKILL"] += 1
        await victim.kill()


async def chaos(folder: Path, database_url: str, faults: int, outcome: Outcome, tell: Tell) -> None:
    """Fills in the outcome, whose `seed` is used. Raises `AssertionError` as soon as an audit finds a breach, and
    `TimeoutError`, having told where everything stands, for a run that does not end."""
    begun = real_seconds()
    with _seen(tell):
        async with asyncio.timeout(BESIDES_S + A_FAULT_S * faults):
            await _lived_through(folder, database_url, faults, outcome, tell, begun)


async def _lived_through(
    folder: Path, database_url: str, faults: int, outcome: Outcome, tell: Tell, begun: float
) -> None:
    balancer, seed = Balancer(free_port()), outcome.seed
    url = f"http://127.0.0.1:{balancer.port}"
    more = {"PUBLIC_URL": url, "REGISTRATIONS_PER_IP": "100", "CARRIER_CALLS_PER_SECOND": "10"}
    async with nursery() as births, town(folder, database_url, **more) as place, AsyncExitStack() as stack:
        place.nursery = births
        servers = [await place.server(DATA_DIR=str(folder / name)) for name in ("first", "second")]
        await stack.enter_async_context(balancer.running())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        probing = tasks.create_task(balancer.probing([int(server.environ["PORT"]) for server in servers]))
        await balancer.has(2)
        people = [
            Person(number, place, url, Random(f"{seed} {number}"), outcome.answers)
            for number in range(PEOPLE)
        ]
        for person in people:
            await person.sign_up()
        living = [tasks.create_task(person.live()) for person in people]
        legs = Legs()
        noting = tasks.create_task(_note(place, legs))
        nemesis = Nemesis(servers, seed, outcome.faults)
        while outcome.faults.total() < faults:
            await nemesis.strike()
            await _audited(place, outcome)
            outcome.took_s = real_seconds() - begun
            tell(outcome.line(faults))
        for task in living:
            task.cancel()
        for sid in legs.live:
            place.exchange.end(sid)
        tell("everybody hangs up")
        await _settled(place, legs)
        await _audited(place, outcome)
        async with place.database() as database, database.read() as tx:
            await compare(tx, outcome, legs)
        for problem in outcome.problems:
            call_id = problem[:32].partition(":")[0]
            outcome.logs[call_id] = [
                line for server in servers for line in (*server.earlier, *server.lines) if call_id in line
            ]
        probing.cancel()
        noting.cancel()
        outcome.took_s = real_seconds() - begun


async def _audited(place: Town, outcome: Outcome) -> None:
    outcome.audits += 1
    report = await _report(place, AUDIT_TRIES)
    outcome.breaches += len(report.breaches)
    assert report.breaches == [], report.breaches[:3]


async def _report(place: Town, tries: int) -> AuditReport:
    try:
        async with place.database() as database, database.read() as tx:
            return await audit(tx)
    except DatabaseDown as down:
        if not down.retryable or tries == 1:
            raise
    return await _report(place, tries - 1)


async def _settled(place: Town, legs: Legs) -> None:
    """Whatever is not settled by then, `compare` finds."""
    async with place.database() as database:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S):
                while legs.live or await _open_calls(database):  # noqa: ASYNC110  # of another process nothing tells
                    await asyncio.sleep(0.5)


async def _open_calls(database: Database) -> int:
    async with database.read() as tx:
        return int((await tx.execute(text("SELECT count(*) FROM calls WHERE final_at IS NULL"))).scalar_one())


async def _note(place: Town, legs: Legs) -> None:
    while True:
        legs.look(place.exchange)
        await asyncio.sleep(0.2)


@contextmanager
def _seen(tell: Tell) -> Iterator[None]:
    """On SIGUSR1, and where time runs out, tells what every task waits for."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        for task in asyncio.all_tasks():
            stack = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in task.get_stack()]
            tell(f"{task.get_name()} {task.get_coro()!r} at {stack}")

    loop.add_signal_handler(signal.SIGUSR1, look)
    try:
        yield
    except TimeoutError:
        tell("out of time")
        raise
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.whole.chaos")
    parser.add_argument("faults", type=int, nargs="?", default=12)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--out", type=Path, help="folder for the outcome")
    parser.add_argument(
        "--sum", type=Path, help="print the table of the outcomes in this folder, and do nothing else"
    )
    given = parser.parse_args()
    if given.sum is not None:
        print(table(sorted(map(read, given.sum.glob("chaos-*.json")), key=lambda run: run.seed)))
        return 0
    return _run(given.faults, given.seed, given.out)


def _run(faults: int, seed: int, out: Path | None) -> int:
    outcome = Outcome(seed)
    # Should the loop itself stand still there is nobody left to tell: then the interpreter does, and ends.
    faulthandler.dump_traceback_later(2 * (BESIDES_S + A_FAULT_S * faults), exit=True)
    with (
        tempfile.TemporaryDirectory(prefix="callmeback-chaos-") as place,
        postgres.start() as server,
        server.fresh_database(prepare=migrated) as url,
    ):
        try:
            asyncio.run(chaos(Path(place), url, faults, outcome, _say))
        except (AssertionError, TimeoutError, ExceptionGroup) as broken:
            outcome.problems.append(f"the run broke off: {broken!r}")
    faulthandler.cancel_dump_traceback_later()
    if out is not None:
        _say(f"written: {outcome.write(out)}")
    for problem in outcome.problems:
        _say(problem)
    for line in [line for lines in outcome.logs.values() for line in lines]:
        _say(line.rstrip())
    print(table([outcome]))
    return 1 if outcome.problems else 0


def _say(what: str) -> None:
    print(f"{Clock().utc():%H:%M:%S}  {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
