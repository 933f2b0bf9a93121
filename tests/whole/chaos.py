"""Two real servers on one PostgreSQL, a carrier that lives on, people who call, and a nemesis.

Everything the nemesis does comes from its seed; what the operating system makes of it does not. What it did, and what
was found afterwards, is in `Outcome`. `python -m tests.whole.chaos FAULTS SEED` does it by hand and says so.
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from sqlalchemy import text

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Machine, Script, Silence, Speak
from pipeline.carriers.phonecall import PhoneCall
from pipeline.clock import Clock, cpu_seconds
from pipeline.core.money import NANOS_PER_USD, Nanos
from storage import ledger
from storage.audit import audit
from storage.db import Database
from tests import postgres
from tests.storage.world import migrated
from tests.whole.killing import Server, Town, town
from tests.whole.nodes import Balancer
from tests.whole.rig import free_port

PEOPLE = 6
STEP_S = 60
SETTLED_S = 150.0
"""How long everything may take to be settled after the last fault."""
HELLO = read_wav(Path("server/callers/hello.wav"))


@dataclass
class Outcome:
    """Seconds are the carrier's, of calls that were answered; a started minute is billed as a whole."""

    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    audits: int = 0
    calls: int = 0
    answered: int = 0
    taken_over: int = 0
    resumed: int = 0
    carrier_s: int = 0
    unbilled_s: int = 0
    """Of started minutes in which a call was answered while its server was dead, and nobody took it: the operator's."""
    unconfirmed_nano: int = 0
    problems: list[str] = field(default_factory=list)


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
            acts = (Speak(HELLO, 700), Silence(self.chance.randint(500, 20_000)), HangUp())
            self.place.scripts[self.phone] = Script(Answer(self.chance.randint(100, 2_000)), acts, Machine())
            placed = await self.ask("POST", "/api/calls", {"persona_id": "alex", "channel": "phone"})
            if placed is not None and self.chance.random() < 0.2:
                await asyncio.sleep(self.chance.uniform(0.5, 10.0))
                await self.ask("POST", f"/api/calls/{placed['id']}/hangup", {})
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))

    async def ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        patience = aiohttp.ClientTimeout(total=10)
        try:
            async with (
                aiohttp.ClientSession(self.url, headers=headers, timeout=patience) as http,
                http.request(method, path, json=body) as answer,
            ):
                self.answers[f"{path.split('/')[2]} {answer.status}"] += 1
                return await answer.json() if answer.status < 300 else None
        except (aiohttp.ClientError, TimeoutError):
            self.answers[f"{path.split('/')[2]} nobody"] += 1
            return None


class Nemesis:
    """Kills a server and starts it again, or lets it stand still for a while."""

    def __init__(self, servers: list[Server], seed: int, faults: Counter[str]) -> None:
        self._servers, self._chance, self._faults = servers, Random(seed), faults

    async def strike(self) -> None:
        victim = self._chance.choice(self._servers)
        await asyncio.sleep(self._chance.uniform(0.2, 5.0))
        if self._chance.random() < 0.7:
            self._faults["SIGKILL"] += 1
            await victim.kill()
            await asyncio.sleep(self._chance.choice((0.0, 0.5, 3.0)))
            await victim.start()
        else:
            self._faults["SIGSTOP"] += 1
            victim.signal(signal.SIGSTOP)
            await asyncio.sleep(self._chance.choice((0.5, 2.0, 6.0, 14.0)))
            if self._chance.random() < 0.3:
                self._faults["SIGKILL"] += 1
                await victim.kill()
                await victim.start()
            else:
                victim.signal(signal.SIGCONT)


async def chaos(folder: Path, database_url: str, faults: int, seed: int) -> Outcome:
    """Raises `AssertionError` as soon as an audit finds a breach."""
    outcome, balancer = Outcome(), Balancer(free_port())
    url = f"http://127.0.0.1:{balancer.port}"
    more = {"PUBLIC_URL": url, "REGISTRATIONS_PER_IP": "100", "CARRIER_CALLS_PER_SECOND": "10"}
    async with town(folder, database_url, **more) as place, AsyncExitStack() as stack:
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
        legs: dict[str, PhoneCall] = {}
        noting = tasks.create_task(_note_legs(place, legs))
        nemesis = Nemesis(servers, seed, outcome.faults)
        while outcome.faults.total() < faults:
            await nemesis.strike()
            await _audited(place, outcome)
        for task in living:
            task.cancel()
        await _settled(place)
        await _audited(place, outcome)
        await _compare(place, outcome, legs)
        probing.cancel()
        noting.cancel()
    return outcome


async def _audited(place: Town, outcome: Outcome) -> None:
    async with place.database() as database, database.read() as tx:
        report = await audit(tx)
    outcome.audits += 1
    assert report.breaches == [], (report.breaches[:3], outcome)


async def _settled(place: Town) -> None:
    async with place.database() as database:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S):
                while await _open_calls(database):  # noqa: ASYNC110  # of another process nothing tells
                    await asyncio.sleep(0.5)


async def _open_calls(database: Database) -> int:
    async with database.read() as tx:
        return int((await tx.execute(text("SELECT count(*) FROM calls WHERE final_at IS NULL"))).scalar_one())


async def _note_legs(place: Town, noted: dict[str, PhoneCall]) -> None:
    """The exchange itself forgets all but the latest."""
    while True:
        noted |= place.exchange.calls
        await asyncio.sleep(0.2)


async def _compare(place: Town, outcome: Outcome, noted: dict[str, PhoneCall]) -> None:
    """The ledger held to the exchange's own count, call by call."""
    legs: dict[str, list[int]] = {}
    for leg in noted.values():
        call_id = leg.order.status_url.rpartition("call=")[2]
        legs.setdefault(call_id, []).append(leg.seconds)
    query = """SELECT c.id, c.epoch, c.final_at, c.end_reason, COALESCE(b.quantity, 0) AS billed FROM calls c
        LEFT JOIN call_cost_breakdowns b ON b.call_id = c.id AND b.service = 'carrier'"""
    async with place.database() as database, database.read() as tx:
        rows = (await tx.execute(text(query))).all()
        losses = {
            row.reason.partition(":")[0]: int(row.nano)
            for row in await tx.execute(
                text("SELECT reason, SUM(amount_nano) AS nano FROM operator_losses GROUP BY reason")
            )
        }
    for row in rows:
        seconds = legs.pop(row.id, [])
        minutes = sum(STEP_S * math.ceil(each / STEP_S) for each in seconds)
        missing = minutes - row.billed
        outcome.calls += 1
        outcome.answered += any(seconds)
        outcome.taken_over += row.epoch > 1
        outcome.resumed += row.epoch > 1 and row.end_reason not in (None, "server_lost")
        outcome.carrier_s += sum(seconds)
        outcome.unbilled_s += missing
        if row.final_at is None:
            outcome.problems.append(f"{row.id} was never settled")
        elif len(seconds) > 1:
            outcome.problems.append(f"{row.id} was dialled {len(seconds)} times")
        elif not 0 <= missing <= STEP_S * (row.epoch - 1):
            outcome.problems.append(f"{row.id}: the carrier counts {seconds} s, billed are {row.billed}")
    outcome.problems += [f"a leg of the unknown call {call_id}" for call_id in legs]
    outcome.unconfirmed_nano = losses.get("unconfirmed", 0)
    if losses.get("over_hold"):
        outcome.problems.append(f"calls cost {losses['over_hold']} nanodollars beyond their holds")


def main() -> None:
    faults, seed = int(sys.argv[1]), int(sys.argv[2])
    begun = cpu_seconds()
    with (
        tempfile.TemporaryDirectory(prefix="callmeback-chaos-") as place,
        postgres.start() as server,
        server.fresh_database(prepare=migrated) as url,
    ):
        outcome = asyncio.run(chaos(Path(place), url, faults, seed))
    print(outcome, f"{cpu_seconds() - begun:.0f} s")
    sys.exit(1 if outcome.problems else 0)


if __name__ == "__main__":
    main()
