"""The reckoning of a run of chaos: what it calls lost, doubled, or the operator's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from storage import ledger
from storage.db import Database
from tests.storage.world import (
    DOLLAR,
    LINES,
    NOON,
    book,
    charges,
    completed,
    held_call,
    migrated,
    person,
    tile,
)
from tests.whole.reckoning import Legs, Outcome, compare, read, table


async def reckoned(folder: Path, *, carrier_s: int, billed_s: int, epoch: int) -> Outcome:
    """Of one call that was billed so much, and of which the carrier counts so many seconds."""
    url = f"sqlite:///{folder / 'test.db'}"
    migrated(url)
    database, outcome = Database.open(url), Outcome(7)
    async with database.write() as tx:
        user, prices = await person(tx, credit=DOLLAR), await book(tx)
        placed = await held_call(tx, user, 73_000_000)
        if billed_s:
            await ledger.flush(tx, [charges(placed.id, [tile(prices, 1, LINES["carrier"], 0, billed_s)])])
        await completed(tx, placed.id, seconds=carrier_s)
        await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
        await tx.execute(
            text("UPDATE calls SET epoch = :epoch, end_reason = 'agent_ended'"), {"epoch": epoch}
        )
    async with database.read() as tx:
        await compare(tx, outcome, Legs(over={"CA1": (placed.id, carrier_s)}))
    await database.aclose()
    return outcome


@pytest.mark.parametrize(
    ("carrier_s", "billed_s", "epoch", "lost", "doubled", "unbilled"),
    [
        (61, 120, 1, 0, 0, 0),
        (60, 120, 1, 0, 60, 0),
        (121, 120, 1, 60, 0, 0),
        (121, 120, 2, 60, 0, 0),
        (60, 0, 1, 60, 0, 0),
        (60, 0, 2, 0, 0, 60),
        (61, 0, 2, 60, 0, 60),
    ],
)
async def test_a_minute_that_no_rule_explains_is_lost(
    tmp_path: Path, carrier_s: int, billed_s: int, epoch: int, lost: int, doubled: int, unbilled: int
) -> None:
    """A call that was answered while its server was dead, and that nobody took, was hung up: one started minute."""
    found = await reckoned(tmp_path, carrier_s=carrier_s, billed_s=billed_s, epoch=epoch)
    assert (found.lost_s, found.doubled_s, found.unbilled_s) == (lost, doubled, unbilled)
    assert bool(found.problems) == bool(lost or doubled)
    assert (found.taken_over, found.resumed) == (epoch - 1, epoch - 1)


def test_outcomes_are_written_read_and_summed(tmp_path: Path) -> None:
    runs = [Outcome(seed, calls=10 * seed, unconfirmed_nano=1_500_000_000) for seed in (1, 2)]
    runs[1].doubled_s = 1
    for run in runs:
        run.faults.update(SIGKILL=3)
        run.write(tmp_path)
    found = [read(tmp_path / f"chaos-{seed}.json") for seed in (1, 2)]
    assert found == runs
    *_, second, both = (line.strip("| ").split(" | ") for line in table(found).splitlines())
    assert (second[0], second[1], second[2]) == ("2", "3", "20")
    assert (both[0], both[1], both[2], both[10], both[12]) == ("all", "6", "30", "1", "$3.00")
