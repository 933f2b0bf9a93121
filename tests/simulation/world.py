"""One simulated world: drawn from a seed, lived through, held to its promises.

A few users of one installation ask for calls. Nodes are killed, frozen, restarted, their database fails them, their
clocks jump, the telephone network loses and repeats what it tells them. After each second in which the ledger changed
and after each fault its invariants are checked; when the faults are over every call has to be settled, and what was
charged is compared with what the network knows. The same seed gives the same world, to the last byte of the ledger.

Long because what may happen to a world, and what has to hold then, are one list.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import structlog
from sqlalchemy import text

from pipeline.core.money import Nanos
from storage import ledger, purchases
from storage.audit import audit
from storage.db import Tx
from storage.ids import new_id
from storage.migrate import migrate
from tests.simulation.files import SimulatedDatabase, Turn
from tests.simulation.loop import SimulatedLoop, run_simulated
from tests.simulation.neighbourhood import Neighbourhood
from tests.simulation.node import ACCOUNT, HEARD, NOON, Node
from tests.simulation.people import Person
from tests.simulation.telephone import Habits, Network
from tests.simulation.truth import Truth, closed_as_counted, compare
from tests.simulation.wire import Door

MONEY_TABLES = (
    "user_credits", "credit_transactions", "budget_periods", "credit_holds", "hold_periods", "calls",
    "call_cost_breakdowns", "call_cost_events", "operator_losses", "purchases", "payment_reversals",
    "scheduled_calls", "scheduled_dials",
)  # fmt: skip
LAST_LINES = 40
"""Of the story told with a failure."""
BELIEVED_S = 2.0
"""How long the balancer goes on sending requests to a node that does not answer."""
TALKED_S = 4.0
"""How long people go on talking then."""
STILL_S = 1_200.0
"""Longer than a call's `max_minutes` and the slack of the carrier's limit."""
SETTLED_S = 420.0
"""How long the world may take to settle everything once nothing disturbs it any more."""


class Broken(AssertionError):
    """The world broke a promise."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a world is: as in `make test`, unless told otherwise. Times are virtual seconds.

    `nodes` run side by side, each on a machine of its own, and share the database as they would a PostgreSQL. One alone
    is as on SQLite: it takes every other process for dead. `check_s` lies between two audits, faults apart.
    `only` names the one kind of fault there is, such as kill; without it there is every kind. `unanswered` is the part
    of the hang-ups and look-ups that the carrier does not answer. `sabotage` are
    statements that spoil the ledger half-way, to see it noticed.
    """

    seconds: float = 25.0
    users: int = 3
    nodes: int = 2
    check_s: float = 5.0
    faults: bool = True
    only: str = ""
    unanswered: float = 0.15
    sabotage: str = ""

    def command(self, seed: int) -> str:
        """Replays it."""
        usual = Plan()
        options = {
            "seconds": self.seconds, "users": self.users, "nodes": self.nodes, "check-s": self.check_s,
            "unanswered": self.unanswered,
        }  # fmt: skip
        told = [
            f"--{name} {value:g}"
            for name, value in options.items()
            if value != getattr(usual, name.replace("-", "_"))
        ]
        told += [f"--only {self.only}"] if self.only else []
        return " ".join([".venv/bin/python -m tests.simulation", str(seed), *told])


@dataclass(slots=True)
class Outcome:
    """What became of a world. `ledger` is a digest of every row of the money tables."""

    seed: int
    ledger: str = ""
    truth: Truth | None = None
    story: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    audits: int = 0
    relayed: int = 0
    """Media sockets that came in on another node than the call's."""


class World:
    hears: Sequence[str] = HEARD
    """What its people say."""

    def __init__(self, seed: int, plan: Plan, folder: Path, loop: SimulatedLoop, outcome: Outcome) -> None:
        self._plan = plan
        self._draw = Random(f"world {seed}")
        self._seed = seed
        self._folder = folder
        self._loop = loop
        self.outcome = outcome
        self._turn = Turn()
        self._file = folder / "callmeback.db"
        self._observer = SimulatedDatabase(self._file, self._turn, self.utc)
        self._nodes: list[Node] = []
        self._street = Neighbourhood() if plan.nodes > 1 else None
        self._balance = Random(f"balancer {seed}")
        self._born = 0
        self._quiet = self._outlived = False
        self._version: object = None

    def utc(self) -> datetime:
        return NOON + timedelta(seconds=self._loop.time())

    def note(self, what: str) -> None:
        self.outcome.story.append(f"{self._loop.time():9.3f}  {what}")

    async def live(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self.network = Network(
                    tasks=tasks, routing=self, account_sid=ACCOUNT.sid, auth_token=ACCOUNT.auth_token,
                    draw=Random(f"network {self._seed}"), habits=self._habits, utc=self.utc, note=self.note,
                    unanswered=self._plan.unanswered,
                )  # fmt: skip
                try:
                    await self._history(tasks)
                finally:
                    for node in self._nodes:
                        node.bury()
                raise _End
        except* _End:
            pass
        finally:
            await self._observer.aclose()

    async def _history(self, tasks: asyncio.TaskGroup) -> None:
        for machine in range(self._plan.nodes):
            await self._start(tasks, machine)
        checking = tasks.create_task(self._check_every_second())
        people = [
            Person(
                number, draw=Random(f"person {self._seed} {number}"), network=self.network,
                door=lambda: self.door(""), grant=self._grant, purchase=self._purchase, utc=self.utc, note=self.note,
            )
            for number in range(self._plan.users)
        ]  # fmt: skip
        living = [tasks.create_task(person.live()) for person in people]
        troubling = [
            tasks.create_task(self._trouble(tasks)) for _ in range(self._plan.nodes * self._plan.faults)
        ]
        await asyncio.sleep(self._plan.seconds / 2)
        if self._plan.sabotage:
            async with self._observer.write() as tx:
                for statement in self._plan.sabotage.split("; "):
                    await tx.execute(text(statement))
            await self._check()
        await asyncio.sleep(self._plan.seconds / 2)
        for task in (*living, *troubling):
            task.cancel()
        await self._calm_down(tasks)
        checking.cancel()
        self.outcome.relayed = sum(len(node.home.cables) for node in self._nodes if node.home is not None)
        for person in people:
            self.outcome.answers.update(person.answers)
        async with self._observer.read() as tx:
            await self._audit(tx)
            self.outcome.truth = await compare(tx, self.network, beyond=self._plan.only == "stand_still")
            self.outcome.ledger = await digest(tx)
        if problems := self.outcome.truth.problems:
            raise Broken("; ".join(problems))
        if failures := [failure for node in self._nodes if node.door for failure in node.door.failures]:
            raise Broken(f"the application let through {failures[0]}")

    # -- nodes -----------------------------------------------------------------------------

    def door(self, prefer: str) -> Door | None:
        """`Routing`: a node that serves; of several, any. One that stands still is believed to serve for a while.

        One alone that stands still is believed to for ever, and of two where one replaces the other the preferred is
        asked.
        """
        serving = [node for node in self._nodes if node.serves]
        if self._street is not None:
            since = self._loop.time() - BELIEVED_S
            serving = [node for node in serving if not node.frozen or node.frozen_at > since] or serving
            return self._balance.choice(serving).door if serving else None
        chosen = next((node for node in serving if node.name == prefer), serving[-1] if serving else None)
        return None if chosen is None else chosen.door

    async def _start(self, tasks: asyncio.TaskGroup, machine: int) -> Node:
        self._born += 1
        node = Node(
            f"n{self._born}", machine=machine, street=self._street, folder=self._folder,
            database=self._file, turn=self._turn, utc=self.utc,
            network=self.network, draw=Random(f"node {self._seed} {self._born}"), loop=self._loop, note=self.note,
            hears=self.hears,
        )  # fmt: skip
        node.line.calm = self._quiet or not self._plan.faults or self._plan.only not in ("", "kill")
        self._nodes.append(node)
        node.begin(tasks)
        await node.up()
        if self._plan.faults and not self._quiet:
            node.weather.calm = False
            if node.home is not None:
                node.home.calm = self._plan.only not in ("", "kill")
        return node

    # -- trouble ---------------------------------------------------------------------------

    async def _trouble(self, tasks: asyncio.TaskGroup) -> None:
        kinds = (
            self._kill, self._freeze, self._outage, self._roughness, self._clock_jump, self._supersede, self._outlive,
            self._stand_still, self._blackout,
        )  # fmt: skip
        while True:
            await asyncio.sleep(self._draw.uniform(1.0, 12.0 * self._plan.nodes))
            running = [node for node in self._nodes if node.serves and not node.frozen]
            if not running:
                await self._replaced(tasks, self._draw.randrange(self._plan.nodes))
                continue
            kind = self._draw.choices(
                kinds, weights=(4, 3, 3, 4, 2, 2, 3 * (self._street is not None), 0, 0)
            )[0]
            if self._plan.only:
                kind = next(kind for kind in kinds if kind.__name__ == f"_{self._plan.only}")
            self.outcome.faults[kind.__name__.strip("_")] += 1
            await kind(self._draw.choice(running), tasks)
            await self._check()

    async def _kill(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        node.kill()
        await asyncio.sleep(self._draw.choice((0.2, 2.0, 20.0)))
        await self._replaced(tasks, node.machine)

    async def _replaced(self, tasks: asyncio.TaskGroup, machine: int) -> None:
        """Start a process on a machine that has none, as a supervisor does."""
        if not any(node.machine == machine and not node.dead for node in self._nodes):
            await self._start(tasks, machine)

    async def _freeze(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        """It sleeps; perhaps it is thought dead and replaced, and wakes up as a zombie that is killed soon after."""
        node.freeze()
        await asyncio.sleep(self._draw.choice((0.5, 3.0, 12.0, 45.0)))
        if self._draw.random() < 0.5:
            await self._start(tasks, node.machine)
            node.thaw()
            await asyncio.sleep(self._draw.uniform(0.1, 20.0))
            node.kill()
        node.thaw()

    async def _outage(self, node: Node, _tasks: asyncio.TaskGroup) -> None:
        self.note(f"no database for {node.name}")
        node.weather.down = True
        await asyncio.sleep(self._draw.choice((0.5, 5.0, 40.0)))
        node.weather.down = False

    async def _blackout(self, _node: Node, _tasks: asyncio.TaskGroup) -> None:
        """No database for anybody, for longer than a lease."""
        self.note("no database for anybody")
        for node in self._nodes:
            node.weather.down = True
        await asyncio.sleep(self._draw.choice((12.0, 20.0, 30.0)))
        for node in self._nodes:
            node.weather.down = False

    async def _roughness(self, node: Node, _tasks: asyncio.TaskGroup) -> None:
        node.weather.rough = self._draw.choice((0.0, 0.02, 0.1, 0.3))
        self.note(f"{node.weather.rough:.0%} of the transactions of {node.name} meet trouble")

    async def _clock_jump(self, node: Node, _tasks: asyncio.TaskGroup) -> None:
        node.clock.skew += self._draw.choice((-3600.0, -2.0, 2.0, 3600.0))
        self.note(f"the clock of {node.name} is off by {node.clock.skew:.0f} s")

    async def _supersede(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        """A new process while the old one runs, as a restart that does not wait would do."""
        await self._start(tasks, node.machine)
        await asyncio.sleep(self._draw.uniform(0.0, 10.0))
        node.kill()

    async def _outlive(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        """The one with most calls sleeps and is cut off; others go on with them. It wakes up, they die, it is asked."""
        running = [each for each in self._nodes if each.serves and not each.frozen]
        node = max([node, *running], key=lambda each: each.live_calls)
        others = [other for other in running if other is not node]
        if not others or self._outlived:
            return
        self._outlived = True
        node.freeze()
        node.cut_off()
        await asyncio.sleep(self._draw.choice((12.0, 15.0, 20.0)))
        node.thaw()
        await asyncio.sleep(self._draw.choice((0.3, 3.0, 12.0)))
        for other in others:
            other.kill()
        await asyncio.sleep(self._draw.choice((0.2, 20.0)))
        for other in others:
            await self._replaced(tasks, other.machine)
        self._outlived = False

    async def _stand_still(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        """It sleeps longer than any call may take, and nobody is there in its place: the carrier's own limit is left.

        What calls cost beyond their holds is told then, and no problem.
        """
        node.freeze()
        await asyncio.sleep(STILL_S)
        node.thaw()

    async def _calm_down(self, tasks: asyncio.TaskGroup) -> None:
        """Healthy processes, a carrier that tells everything, and time; then nothing may be left open."""
        self.note("calm")
        self._quiet = self.network.prompt = True
        for node in self._nodes:
            node.thaw()
            node.weather.calm, node.line.calm = True, True
            if node.home is not None:
                node.home.calm = True
        if self._plan.faults and (self._street is None or self._draw.random() < 0.5):
            for node in self._nodes:
                if not node.dead:
                    node.kill()
        if not any(node.serves for node in self._nodes):
            await self._start(tasks, 0)
        until, patient = self._loop.time() + SETTLED_S, self._loop.time() + TALKED_S
        while self._loop.time() < until:
            await asyncio.sleep(2.0)
            if self._loop.time() >= patient:
                self.network.everybody_hangs_up()
            if not self.network.busy and not await self._open_calls():
                return
        raise Broken(f"calls still open {SETTLED_S:.0f} s after all was well: {await self._open_calls()}")

    async def _open_calls(self) -> list[str]:
        async with self._observer.read() as tx:
            return [
                str(row[0]) for row in await tx.execute(text("SELECT id FROM calls WHERE final_at IS NULL"))
            ]

    # -- promises --------------------------------------------------------------------------

    async def _check_every_second(self) -> None:
        while True:
            await asyncio.sleep(self._plan.check_s)
            await self._check()

    async def _check(self) -> None:
        async with self._observer.read() as tx:
            version = (await tx.execute(text("PRAGMA data_version"))).scalar_one()
            if version != self._version:
                self._version = version
                await self._audit(tx)

    async def _audit(self, tx: Tx) -> None:
        self.outcome.audits += 1
        report = await audit(tx)
        if report.breaches:
            first = report.breaches[0]
            raise Broken(
                f"{first.invariant}: {first.subject}: {first.detail} (of {len(report.breaches)} breaches)"
            )
        if problems := await closed_as_counted(tx, self.network):
            raise Broken("; ".join(problems))

    # -- what people have and do -------------------------------------------------------------

    async def _grant(self, user_id: str, amount: Nanos) -> None:
        """As an operator at the command line does, beside the servers."""
        async with self._observer.write() as tx:
            await ledger.grant(
                tx, user_id=user_id, amount=amount, kind="grant", idem_key=f"grant:{new_id()}", now=self.utc()
            )

    async def _purchase(self, user_id: str, cents: int) -> None:
        """As a payment provider tells it: several times, out of order; perhaps it is refunded, in part or in whole."""
        draw, session = self._draw, new_id()
        async with self._observer.write() as tx:
            ordered = await purchases.order(
                tx, user_id=user_id, pack=str(cents), amount_cents=cents, livemode=False, idem_key=session,
                twin_since=self.utc(), now=self.utc(),
            )  # fmt: skip
        told = ["paid"] * draw.randint(1, 3)
        told += ["refunded"] * (draw.randint(1, 2) if draw.random() < 0.3 else 0)
        draw.shuffle(told)
        back = draw.choice((cents, cents // 2))
        for what in told:
            await asyncio.sleep(draw.uniform(0.0, 2.0))
            async with self._observer.write() as tx:
                if what == "paid":
                    await purchases.fulfil(
                        tx, purchase_id=ordered.id, session_id=f"cs_{session}", payment_intent=f"pi_{session}",
                        amount_cents=cents, currency="usd", livemode=False, now=self.utc(),
                    )  # fmt: skip
                else:
                    await purchases.refunded(
                        tx, charge=f"ch_{session}", payment_intent=f"pi_{session}", cents=back, now=self.utc()
                    )

    def _habits(self) -> Habits:
        draw = self._draw
        return Habits(
            outcome=draw.choices(("answer", "busy", "no-answer"), weights=(8, 1, 1))[0],
            after_s=draw.uniform(0.5, 8.0),
            talk=tuple((draw.uniform(0.5, 9.0), draw.uniform(0.2, 3.0)) for _ in range(draw.randint(0, 20))),
            hangs_up_s=draw.choice((draw.uniform(1.0, 20.0), draw.uniform(20.0, 150.0), 10_000.0)),
            machine="machine_end_beep" if draw.random() < 0.1 else "human",
            vanishes_s=draw.uniform(5.0, 90.0) if draw.random() < 0.1 else None,
        )


class _End(Exception):
    """Everything was looked at; whatever still runs is cancelled."""


async def digest(tx: Tx) -> str:
    """Of every row of the money tables."""
    found = hashlib.sha256()
    for table in MONEY_TABLES:
        for row in sorted(map(repr, (await tx.execute(text(f"SELECT * FROM {table}"))).all())):
            found.update(f"{table} {row}\n".encode())
    return found.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Ids, tokens and codes come from the seed as well, and what the servers draw that is no secret. The standard
    library keeps its sources of chance there."""
    kept, state = secrets._sysrand, random.getstate()  # type: ignore[attr-defined]
    secrets._sysrand = Random(f"secrets {seed}")  # type: ignore[attr-defined]
    random.seed(f"common {seed}")
    try:
        yield
    finally:
        secrets._sysrand = kept  # type: ignore[attr-defined]
        random.setstate(state)


@contextmanager
def _told_to(outcome: Outcome, loops: list[SimulatedLoop]) -> Iterator[None]:
    """What the servers log becomes part of the story."""
    kept = structlog.get_config()

    def note(_logger: object, level: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if level != "debug" and loops:
            said = " ".join(
                f"{key}={value}" for key, value in entry.items() if key not in ("event", "exc_info")
            )
            outcome.story.append(f"{loops[0].time():9.3f}  [{level}] {entry['event']} {said}")
            if entry.get("exc_info"):
                outcome.faults["surprise"] += 1
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    try:
        yield
    finally:
        structlog.configure(**kept)


def template(folder: Path) -> Path:
    """A migrated database, to be copied for each world."""
    path = folder / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


def memory() -> str | None:
    """Where files are no disk's, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def simulate(seed: int, plan: Plan, migrated: Path, make: Callable[..., World] | None = None) -> Outcome:
    """Live through one world; `make` makes one with a history of its own.

    Raises `Broken`, with the story in the outcome it carries.
    """
    outcome = Outcome(seed)
    loops: list[SimulatedLoop] = []
    with tempfile.TemporaryDirectory(prefix="callmeback-world-", dir=memory()) as place:
        folder = Path(place)
        shutil.copyfile(migrated, folder / "callmeback.db")

        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SimulatedLoop)
            loops.append(loop)
            await (make or World)(seed, plan, folder, loop, outcome).live()

        with _seeded(seed), _told_to(outcome, loops):
            try:
                run_simulated(main())
            except Exception as error:
                cause: BaseException = error
                while isinstance(cause, BaseExceptionGroup):
                    cause = cause.exceptions[0]
                cause.add_note("\n".join(outcome.story[-LAST_LINES:]))
                cause.add_note(f"replay it: {plan.command(seed)}")
                raise cause from None
    return outcome
