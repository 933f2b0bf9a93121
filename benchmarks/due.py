"""How late scheduled calls are: one scheduler on PostgreSQL, many people whose calls come due within a minute.

Real time, the real scheduler and the real desk's orders: guard, hold, prompt and journal, in the transaction that makes
the call. Late is from the moment a call was due to the moment its phone would be dialled.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.figures import Figure, percentile
from benchmarks.flushing import fresh_postgres
from benchmarks.replaying import engines
from pipeline.clock import Clock
from pipeline.core.money import Nanos
from server.calls.files import Files
from server.calls.placing import Placing
from server.money.admission import Admissions, Admitted
from server.number_key import unlock
from server.schedules.due import Scheduler
from server.settings import Settings
from server.zones import tzdata_version
from storage import ledger, schedules, users
from storage.db import Database, Tx
from storage.migrate import migrate

AREAS = (202, 212, 213, 303, 305, 312, 404, 415, 503, 617)
"""Each has a hundred numbers that belong to nobody."""
PACE = 50
"""The carrier takes more a second than come due, so that nobody waits for it."""
HEAD_START = timedelta(seconds=3)
"""By then all of them are written."""
BAR_MS = 2_000.0
SECRET = b"of a benchmark, and of nothing else"


async def _person(tx: Tx, number: int, now: datetime) -> str:
    """Somebody with a phone and credit; their id."""
    user = await users.add(
        tx, email=f"due{number}@example.com", password_hash="-", name="Kim Doe", phone=None,
        timezone="America/New_York", now=now,
    )  # fmt: skip
    await users.mark_verified(tx, user.id, f"+1{AREAS[number // 100]}55501{number % 100:02d}", now)
    await ledger.grant(
        tx, user_id=user.id, amount=Nanos(10**10), kind="grant", idem_key=f"bench:due{number}", now=now
    )
    return user.id


async def lateness(url: str, count: int, over: timedelta, place: Path) -> list[float]:
    """Milliseconds, one for each call, of `count` that come due evenly `over` so long."""
    await migrate(url)
    database, clock = Database.open(url), Clock()
    settings = Settings(data_dir=place)
    due: dict[str, datetime] = {}
    late: list[float] = []
    all_rung = asyncio.Event()

    def rings(admitted: Admitted, files: Files) -> None:
        files.journal.close()
        of, _, _ = str(admitted.row.scheduled_call_id).partition(".")
        late.append((clock.utc() - due[of]) / timedelta(milliseconds=1))
        if len(late) == count:
            all_rung.set()

    desk = Placing(
        settings,
        clock,
        database,
        Admissions(settings, engines(), clock, "bench"),
        room=lambda: count,
        begin=rings,
        deciding=nullcontext,
    )
    try:
        await unlock(database, (SECRET,))
        async with database.write() as tx:
            people = [await _person(tx, number, clock.utc()) for number in range(count)]
        begin = clock.utc() + HEAD_START
        async with database.write() as tx:
            for number, user_id in enumerate(people):
                at = begin + number * over / count
                values = {"persona_id": "brad", "due_at": at, "tzdata": tzdata_version(), "retries": 0}
                due[(await schedules.add(tx, user_id, values, clock.utc())).id] = at
        scheduler = Scheduler(
            database=database,
            clock=clock,
            desk=desk,
            node="bench",
            calls_per_second=PACE,
            taking=lambda: True,
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(scheduler.run())
            # Those that were refused never ring: then what there is is shown.
            waits = (begin - clock.utc() + over).total_seconds() + 30
            with suppress(TimeoutError):
                async with asyncio.timeout(waits):
                    await all_rung.wait()
            await scheduler.at_rest()
            running.cancel()
    finally:
        await database.aclose()
    return late


async def measure(count: int, seconds: float) -> list[Figure]:
    with fresh_postgres() as url, tempfile.TemporaryDirectory(prefix="callmeback-bench-") as place:
        if url is None:
            return []
        late = await lateness(url, count, timedelta(seconds=seconds), Path(place))
    note = f"{len(late)} of {count} rang, due within {seconds:g} s; one scheduler, PostgreSQL, fsync off"
    return [
        Figure("schedules", "late: p50", percentile(late, 50), "ms", note=note),
        Figure("schedules", "late: p99", percentile(late, 99), "ms", BAR_MS, note="from due to the dial"),
        Figure("schedules", "rang", float(len(late)), "calls", float(count), "at least"),
    ]


def main() -> None:
    """`python -m benchmarks.due`: these figures alone."""
    for figure in asyncio.run(measure(300, 60.0)):
        print(f"{figure.name}: {figure.value:,.1f} {figure.unit} {figure.note}")


if __name__ == "__main__":
    main()
