"""One account on PostgreSQL that several processes draw on at once.

`python -m benchmarks.hot_account` is one of these processes; it reads its order, one line of JSON, when all are ready.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.child import child
from benchmarks.figures import Figure, percentile
from benchmarks.replaying import engines
from pipeline.clock import Clock, real_seconds
from pipeline.core.money import Nanos
from server.calls.files import Files
from server.calls.placing import Placing
from server.money.admission import Admissions, Admitted
from server.money.group_commit import GroupCommit
from server.parts import PlaceCall
from server.settings import Settings
from storage import calls, ids, ledger, users
from storage.db import Database, DatabaseDown, Tx
from storage.migrate import migrate
from storage.records import NewCall, User

PROCESSES, CONNECTIONS, CALLERS = 2, 4, 64
BATCH = 50
"""Calls of one user that one flush renews, or that are prepared in one transaction."""
A_SECOND = 3_000
"""More holds than a process makes in a second."""
UNBOUND = 10**9


@dataclass(frozen=True, slots=True)
class Kind:
    """`at_once`: so many callers of a process, each with a transaction of `size` of what is counted, or with one of
    them that shares its transaction with others."""

    what: str
    note: str
    at_once: int = CONNECTIONS
    size: int = 1
    bar: float | None = None


KINDS = {
    "hold": Kind("first holds on one account, PostgreSQL", f"a transaction each, {CONNECTIONS} connections"),
    "group": Kind(
        "first holds on one account, in groups",
        f"as orders take them; {CALLERS} callers",
        CALLERS,
        bar=1_000.0,
    ),
    "order": Kind(
        "whole orders on one account, in groups", f"with row, prompt and journal; {CALLERS} callers", CALLERS
    ),
    "renew": Kind("renewals on one account, PostgreSQL", f"a transaction each, {CONNECTIONS} connections"),
    "flush": Kind(
        "renewals on one account as a flush makes them",
        f"{BATCH} calls a transaction",
        size=BATCH,
        bar=1_000.0,
    ),
}


async def _placed(tx: Tx, user_id: str, number: int, now: datetime) -> list[str]:
    new = [
        NewCall(
            id=ids.new_id(), user_id=user_id, persona_id="sarah", channel="phone", created_at=now,
            price_ids=(), owner="bench",
        )
        for _ in range(number)
    ]  # fmt: skip
    await calls.create_all(tx, new)
    return [call.id for call in new]


async def _hold(tx: Tx, user_id: str, call_ids: Sequence[str], now: datetime) -> None:
    drawing = await ledger.draw(tx, user_id, call_ids=call_ids, now=now)
    for call_id in call_ids:
        drawing.first(call_id, 1, at_least=Nanos(1), wanted=Nanos(1_000))
    await drawing.write(tx)


class _Drawer:
    """What one process does, for so many callers at a time as the kind has."""

    def __init__(self, database: Database, user: User, kind: str, seconds: float, place: Path) -> None:
        self._database, self._user, self._kind, self._seconds = database, user, kind, seconds
        self._now = Clock().utc()
        self._placed: list[str] = []
        self._holds = GroupCommit(self._hold_together)
        self._placing = self._desk(place)
        self.took: list[float] = []
        self.refused = 0

    def _desk(self, place: Path) -> Placing:
        settings = Settings(data_dir=place, max_calls_per_user=UNBOUND)
        admissions = Admissions(settings, engines(), Clock(), "bench")
        return Placing(
            settings, Clock(), self._database, admissions,
            room=lambda: UNBOUND, begin=_put_away, deciding=nullcontext,
        )  # fmt: skip

    async def prepare(self) -> None:
        """Calls to hold money for, or calls that hold some already."""
        fresh = int(A_SECOND * self._seconds)
        number = {
            "hold": fresh,
            "group": fresh,
            "order": 0,
            "renew": CONNECTIONS,
            "flush": CONNECTIONS * BATCH,
        }
        for _ in range(0, number[self._kind], BATCH):
            async with self._database.write() as tx:
                some = await _placed(tx, self._user.id, BATCH, self._now)
                if self._kind in ("renew", "flush"):
                    await _hold(tx, self._user.id, some, self._now)
            self._placed += some

    async def run(self) -> None:
        ends = real_seconds() + self._seconds
        async with asyncio.TaskGroup() as tasks:
            for number in range(KINDS[self._kind].at_once):
                tasks.create_task(self._caller(self._act(number), ends))

    def _act(self, number: int) -> Callable[[], Awaitable[None]]:
        size = KINDS[self._kind].size
        share = self._placed[number * size : (number + 1) * size]
        rounds = itertools.count(1)
        return {
            "hold": self._hold_alone,
            "group": lambda: self._holds.join(self._user.id, self._placed.pop()),
            "order": self._order,
            "renew": lambda: self._renew(share, next(rounds)),
            "flush": lambda: self._renew(share, next(rounds)),
        }[self._kind]

    async def _caller(self, act: Callable[[], Awaitable[None]], ends: float) -> None:
        while real_seconds() < ends:
            begun = real_seconds()
            try:
                await act()
            except DatabaseDown:  # it waited for the account in vain
                self.refused += 1
                continue
            self.took.append(1000 * (real_seconds() - begun))

    async def _hold_alone(self) -> None:
        async with self._database.write() as tx:
            await _hold(tx, self._user.id, [self._placed.pop()], self._now)

    async def _hold_together(self, call_ids: Sequence[str]) -> list[Exception | None]:
        async with self._database.write() as tx:
            await _hold(tx, self._user.id, call_ids, self._now)
        return [None for _ in call_ids]

    async def _order(self) -> None:
        await self._placing.place(self._user, PlaceCall("sarah", None, "", None, "browser"), None)

    async def _renew(self, share: Sequence[str], rounds: int) -> None:
        """The hold is known to have grown with each round; one whose round was refused asks for less than it may."""
        asks = [ledger.Ask(call_id, 1, Nanos(1_000 * rounds), Nanos(1_000)) for call_id in share]
        async with self._database.write() as tx:
            await ledger.renew_all(tx, user_id=self._user.id, asks=asks, now=self._now)


def _put_away(_admitted: Admitted, files: Files) -> None:
    """Nobody conducts a call here."""
    files.journal.close()


async def measure(url: str, seconds: float) -> list[Figure]:
    await migrate(url)
    figures = []
    for kind in KINDS:
        figures += await _measured(url, kind, seconds)
    return figures


async def _measured(url: str, kind: str, seconds: float) -> list[Figure]:
    clock, database = Clock(), Database.open(url)
    try:
        async with database.write() as tx:
            now = clock.utc()
            user = await users.add(
                tx, email=f"{kind}@example.com", password_hash="-", name="Kim Doe", phone=None, timezone="UTC",
                now=now,
            )  # fmt: skip
            await ledger.grant(
                tx, user_id=user.id, amount=Nanos(10**15), kind="grant", idem_key=f"bench:{kind}", now=now
            )
    finally:
        await database.aclose()
    async with AsyncExitStack() as stack:
        order = json.dumps({"url": url, "email": user.email, "kind": kind, "seconds": seconds})
        drawers = [
            await stack.enter_async_context(child("benchmarks.hot_account", order)) for _ in range(PROCESSES)
        ]
        for drawer in drawers:
            await drawer.answer()
        told = await asyncio.gather(*(drawer.ask(do="run") for drawer in drawers))
    took = [each for one in told for each in one["took"]]
    is_of = KINDS[kind]
    rate = len(took) * is_of.size / max(one["seconds"] for one in told)
    refused = sum(one["refused"] for one in told)
    note = f"{is_of.note}; {PROCESSES} processes, fsync off; {refused} waited in vain"
    one = "a caller waited" if is_of.at_once == CALLERS else "one transaction of these"
    return [
        Figure("books", is_of.what, rate, "a second", is_of.bar, "at least", note),
        Figure("books", f"{one}: p50", percentile(took, 50), "ms"),
        Figure("books", f"{one}: p99", percentile(took, 99), "ms", note=f"of {len(took)}"),
    ]


async def _child(order: str) -> None:
    given = json.loads(order)
    database = Database.open(given["url"])
    try:
        async with database.read() as tx:
            user = await users.by_email(tx, given["email"])
        assert user is not None
        with tempfile.TemporaryDirectory(prefix="callmeback-bench-") as place:
            drawer = _Drawer(database, user, given["kind"], given["seconds"], Path(place))
            await drawer.prepare()
            print(json.dumps({"ready": True}), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            begun = real_seconds()
            await drawer.run()
            told = {"took": drawer.took, "seconds": real_seconds() - begun, "refused": drawer.refused}
            print(json.dumps(told), flush=True)
        with suppress(asyncio.CancelledError):
            await asyncio.to_thread(sys.stdin.readline)
    finally:
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(_child(sys.argv[1]))
