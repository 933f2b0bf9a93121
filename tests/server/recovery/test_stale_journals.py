"""A machine that lost a call goes on writing its journal for a moment: none of that is the call's any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.effects import Charge
from pipeline.core.events import CallResumed, HangUpAsked, StreamStarted
from pipeline.core.terms import EndReason
from pipeline.journal_file import part_name
from server.recovery.resuming import Resuming
from storage import ledger
from storage.ledger import CallCharges
from storage.records import CallRow
from tests.core.story import Story, started
from tests.server.recovery.test_orphans import Steps, World, data, looking, world
from tests.server.recovery.test_takeover import in_progress, lines, losses, resuming, taken
from tests.storage.world import audited, book

__all__ = ["world"]


async def lost(world: World) -> tuple[CallRow, Steps]:
    """A call of this machine's that another took over; its process thawed, went on a little, and ended it as fenced.

    What was bought until it froze is in the ledger. Its journal, which lies here, has all of it.
    """
    row = await in_progress(world)
    async with world.database.read() as tx:
        prices = tuple(await book(tx))
    story = Story(started(prices=prices)).answer().hear_out().say("What is new with you?").run(30_000)
    written = list(story.steps)
    await world.flushed(row, written)
    story.run(10_000)
    story.post(lambda at: HangUpAsked(at, EndReason.SERVER_LOST)).run(120_000)
    data(story.steps, world.journal(row))
    return row, written


async def elsewhere(world: World, row: CallRow, folder: Path, purchases: int) -> list[Charge]:
    """The other machine goes on with it, buys so many times what goes by the second, and dies."""
    takeovers = looking(world.database, world.carrier, world.clock, folder, "elsewhere")._takeovers
    admitted = await taken(Resuming(world.database, world.clock, takeovers), row.id)
    assert admitted is not None
    assert isinstance(admitted.started, CallResumed)
    story = Story(admitted.started).post(StreamStarted).run(90_000)
    data(story.steps, folder / f"{part_name(row.id, admitted.row.epoch)}.journal")
    bought = [effect for _, effects in story.steps for effect in effects if isinstance(effect, Charge)]
    bought = bought[:purchases]
    assert all(charge.line.startswith("stt:") for charge in bought)
    assert len(bought) == purchases
    made = tuple(bought)
    async with world.database.write() as tx:
        owed = CallCharges(row.id, admitted.row.epoch, made, made[-1].second if made else 0)
        assert await ledger.flush(tx, [owed], node="elsewhere") == []
    return bought


@pytest.mark.parametrize("purchases", [0, 1, 3])
async def test_its_end_and_what_it_bought_are_not_the_calls(
    world: World, tmp_path: Path, purchases: int
) -> None:
    """Also where its purchases look like those made elsewhere: the next second is the next second."""
    row, written = await lost(world)
    bought = await elsewhere(world, row, tmp_path / "elsewhere", purchases)
    last = max(effect.seq for _, effects in written for effect in effects if isinstance(effect, Charge))
    before, journal = await lines(world, row), world.journal(row).read_bytes()
    world.carrier.seconds = 65
    assert await world.orphans.settle_all() == 1
    settled, after = await world.now(row), await lines(world, row)
    assert (settled.status, settled.end_reason, settled.carrier_seconds) == ("completed", "server_lost", 65)
    assert after["carrier:twilio:second"] == 120, "two minutes, not the one that this machine saw"
    others = {line for line in before if not line.startswith(("carrier:", "stream:"))}
    assert {line: after[line] for line in others} == {line: before[line] for line in others}
    assert settled.last_seq == last + len(bought) + 1, "the carrier's second minute"
    assert world.journal(row).read_bytes() == journal
    assert all(amount for _, amount in await losses(world))
    assert (await audited(world.database)).breaches == []


async def test_its_end_does_not_keep_the_call_from_going_on(world: World, tmp_path: Path) -> None:
    row, _ = await lost(world)
    await elsewhere(world, row, tmp_path / "elsewhere", 1)
    admitted = await taken(resuming(world), row.id)
    assert admitted is not None
    assert isinstance(admitted.started, CallResumed)
    assert admitted.started.resumed.seq == (await world.now(row)).last_seq
    assert world.carrier.hung_up == []


async def test_the_journal_of_the_machine_that_went_on_is_believed(world: World, tmp_path: Path) -> None:
    """What it bought and the ledger has not is written from there, whatever older parts lie beside."""
    row, _ = await lost(world)
    folder = tmp_path / "elsewhere"
    await elsewhere(world, row, folder, 1)
    there = looking(world.database, world.carrier, world.clock, folder, "there")
    before = (await world.now(row)).last_seq
    assert await there.settle_all() == 1
    assert (await world.now(row)).last_seq > before + 1
    assert (await audited(world.database)).breaches == []
