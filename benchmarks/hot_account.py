"""One account on PostgreSQL that several processes draw on at once.

`python -m benchmarks.hot_account` is one of these processes; it reads its order, one line of JSON, when all are ready.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, suppress
from datetime import datetime

from benchmarks.child import child
from benchmarks.figures import Figure, percentile
from pipeline.clock import Clock, cpu_seconds
from pipeline.core.money import Nanos
from storage import calls, ids, ledger, users
from storage.db import Database, DatabaseDown, Tx
from storage.migrate import migrate
from storage.records import NewCall

PROCESSES, CONNECTIONS = 2, 4
BATCH = 50
"""Calls of one user that one flush renews."""
KINDS = ("hold", "renew", "flush")


async def _placed(tx: Tx, user_id: str, now: datetime) -> str:
    new = NewCall(
        id=ids.new_id(), user_id=user_id, persona_id="sarah", channel="phone", created_at=now, price_ids=(),
        owner="bench",
    )  # fmt: skip
    return (await calls.create(tx, new)).id


async def _hold(tx: Tx, user_id: str, call_id: str, now: datetime) -> None:
    await ledger.hold(
        tx, user_id=user_id, call_id=call_id, epoch=1, at_least=Nanos(1), wanted=Nanos(1_000), now=now
    )


class _Drawer:
    """What one process does: as many transactions at a time as it has connections."""

    def __init__(self, database: Database, user_id: str, kind: str, seconds: float) -> None:
        self._database, self._user_id, self._kind, self._seconds = database, user_id, kind, seconds
        self._now = Clock().utc()
        self.placed: list[str] = []
        self.took: list[float] = []
        self.refused = 0

    async def prepare(self) -> None:
        """Calls to hold money for, or calls that hold some already."""
        number = int(1_000 * self._seconds) if self._kind == "hold" else CONNECTIONS
        number = CONNECTIONS * BATCH if self._kind == "flush" else number
        async with self._database.write() as tx:
            self.placed = [await _placed(tx, self._user_id, self._now) for _ in range(number)]
        if self._kind != "hold":
            async with self._database.write() as tx:
                for call_id in self.placed:
                    await _hold(tx, self._user_id, call_id, self._now)

    async def run(self) -> None:
        size = {"hold": 0, "renew": 1, "flush": BATCH}[self._kind]
        shares = [self.placed[number * size : (number + 1) * size] for number in range(CONNECTIONS)]
        ends = cpu_seconds() + self._seconds
        async with asyncio.TaskGroup() as tasks:
            for share in shares:
                tasks.create_task(self._one_connection(share, ends))

    async def _one_connection(self, share: list[str], ends: float) -> None:
        known = dict.fromkeys(share, Nanos(1_000))
        while cpu_seconds() < ends and (share or self.placed):
            begun = cpu_seconds()
            try:
                async with self._database.write() as tx:
                    if share:
                        asks = [ledger.Ask(call_id, 1, known[call_id], Nanos(1_000)) for call_id in share]
                        granted = await ledger.renew_all(tx, user_id=self._user_id, asks=asks, now=self._now)
                        held = {call_id: grant.held for call_id, grant in granted.items()}
                    else:
                        held = {}
                        await _hold(tx, self._user_id, self.placed.pop(), self._now)
            except DatabaseDown:  # it waited for the account in vain
                self.refused += 1
                continue
            known |= held
            self.took.append(1000 * (cpu_seconds() - begun))


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
        order = json.dumps({"url": url, "user": user.id, "kind": kind, "seconds": seconds})
        drawers = [
            await stack.enter_async_context(child("benchmarks.hot_account", order)) for _ in range(PROCESSES)
        ]
        for drawer in drawers:
            await drawer.answer()
        told = await asyncio.gather(*(drawer.ask(do="run") for drawer in drawers))
    took = [each for one in told for each in one["took"]]
    size = BATCH if kind == "flush" else 1
    rate = sum(len(one["took"]) for one in told) * size / max(one["seconds"] for one in told)
    refused = sum(one["refused"] for one in told)
    what = {
        "hold": ("first holds on one account, PostgreSQL", "a transaction each"),
        "renew": ("renewals on one account, PostgreSQL", "a transaction each"),
        "flush": ("renewals on one account as a flush makes them", f"{BATCH} calls a transaction"),
    }[kind]
    note = (
        f"{what[1]}; {PROCESSES} processes × {CONNECTIONS} connections, fsync off; {refused} waited in vain"
    )
    bar = 1_000.0 if kind == "flush" else None
    return [
        Figure("books", what[0], rate, "a second", bar, "at least", note),
        Figure("books", "one transaction of these: p50", percentile(took, 50), "ms"),
        Figure("books", "one transaction of these: p99", percentile(took, 99), "ms", note=f"of {len(took)}"),
    ]


async def _child(order: str) -> None:
    given = json.loads(order)
    database = Database.open(given["url"])
    drawer = _Drawer(database, given["user"], given["kind"], given["seconds"])
    try:
        await drawer.prepare()
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begun = cpu_seconds()
        await drawer.run()
        told = {"took": drawer.took, "seconds": cpu_seconds() - begun, "refused": drawer.refused}
        print(json.dumps(told), flush=True)
        with suppress(asyncio.CancelledError):
            await asyncio.to_thread(sys.stdin.readline)
    finally:
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(_child(sys.argv[1]))
