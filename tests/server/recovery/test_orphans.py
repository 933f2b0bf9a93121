"""Calls nobody conducts: settled to the last charge whatever state their journal is in, or left open and told.

Long because every state in which a process can die is here.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from structlog.testing import capture_logs

from pipeline.carriers.base import Leg
from pipeline.clock import Clock
from pipeline.core.effects import Charge, Effect
from pipeline.core.errors import CarrierError
from pipeline.core.events import Answered, Event
from pipeline.core.money import Nanos
from pipeline.journal_file import SUFFIX, JournalFile, frame, part_name, read_lines
from pipeline.replay import replay
from server.calls.files import Files
from server.calls.live import open_desk
from server.calls.orders import LATE_S, LIMIT_SLACK_S, RINGS_S, dial_order
from server.metrics import SURPRISES
from server.money.admission import Admissions
from server.recovery.orphans import EVERY_S, LEFT_MOST_S, LEFT_S, OWN_S, Orphans
from server.recovery.takeover import Takeovers
from storage import calls, ledger
from storage.db import Database
from storage.ledger import CallCharges
from storage.nodes import hold_node, is_alive, renew
from storage.records import CallRow, User
from storage.tables import nodes
from tests.core.story import Story, started
from tests.server.rig import NOON, LoopClock, ManualClock, RecordingCarrier, running, settings
from tests.storage.world import DOLLAR, audited, book, migrated, person, rows
from tests.storage.world import call as placed_call
from tests.twilio.rig import run_scaled
from tests.whole.rig import scripted

Steps = list[tuple[Event, list[Effect]]]
HELD = Nanos(DOLLAR // 4)


@dataclass
class HangingUp(RecordingCarrier):
    """Knows every call, and how long it took; None where it does not say."""

    hung_up: list[str] = field(default_factory=list)
    seconds: int | None = 20
    away: bool = False

    async def hang_up(self, sid: str) -> None:
        if self.away:
            raise CarrierError("not now", retryable=True)
        self.hung_up.append(sid)

    async def fetch(self, sid: str) -> Leg:
        return Leg(sid, "completed", self.seconds)


@dataclass
class World:
    """One node that finds what others left; `user` has a dollar."""

    database: Database
    other: Database
    folder: Path
    carrier: HangingUp
    user: User
    orphans: Orphans
    node: str
    clock: ManualClock

    def journal(self, row: CallRow) -> Path:
        return self.folder / f"{row.id}{SUFFIX}"

    async def look(self, conducts: Callable[[str], bool]) -> int:
        return await looked(self.orphans, conducts)

    async def call(self, owner: str = "dead", sid: str | None = None) -> CallRow:
        async with self.database.write() as tx:
            row = await placed_call(tx, self.user, owner=owner)
            await ledger.hold(
                tx,
                user_id=self.user.id,
                call_id=row.id,
                epoch=1,
                at_least=Nanos(1),
                wanted=HELD,
                budget_limit=None,
            )
            if sid is not None:
                await calls.advance(tx, row.id, "in-progress", at=NOON, sid=sid)
        return row

    async def told(self) -> Steps:
        """A call of a minute and a half that breaks off."""
        async with self.database.read() as tx:
            prices = tuple(await book(tx))
        story = Story(started(prices=prices)).answer().hear_out().say("What is new with you?").run(70_000)
        return story.steps

    async def flushed(self, row: CallRow, steps: Steps) -> None:
        charges = tuple(effect for _, effects in steps for effect in effects if isinstance(effect, Charge))
        async with self.database.write() as tx:
            assert await ledger.flush(tx, [CallCharges(row.id, 1, charges, 0)]) == []

    async def now(self, row: CallRow) -> CallRow:
        async with self.database.read() as tx:
            found = await calls.get(tx, row.id)
        assert found is not None
        return found

    async def held(self) -> int:
        async with self.database.read() as tx:
            return (await ledger.balance(tx, self.user.id)).held


def conducts_nothing(_call_id: str) -> bool:
    return False


async def looked(orphans: Orphans, conducts: Callable[[str], bool]) -> int:
    """How many calls one look settled."""
    async with asyncio.TaskGroup() as tasks:
        settling = await orphans.look(conducts, tasks)
    return sum(task.result() for task in settling)


def data(steps: Steps, path: Path) -> bytes:
    journal = JournalFile(path)
    for event, effects in steps:
        journal.append(event, effects)
    journal.close()
    return path.read_bytes()


@asynccontextmanager
async def opened(database: Database, other: Database, folder: Path, node: str = "us") -> AsyncIterator[World]:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
    async with hold_node(database, node) as lock:
        carrier, clock = HangingUp(), ManualClock()
        orphans = looking(database, carrier, clock, folder, lock.node)
        yield World(database, other, folder, carrier, user, orphans, node, clock)


def looking(
    database: Database, carrier: HangingUp, clock: Clock, folder: Path, node: str, *, full: bool = False
) -> Orphans:
    """`full`: nothing can be written to the disk of the machine that looks, so that files are begun at most."""
    given = settings(folder)
    admissions = Admissions(given, scripted(), clock, node)

    def files(row: CallRow, opened: ExitStack) -> Files:
        journal = JournalFile(folder / f"{part_name(row.id, row.epoch)}{SUFFIX}")
        opened.callback(journal.close)
        if full:
            raise OSError(errno.ENOSPC, "no room")
        return Files(journal)

    takeovers = Takeovers(
        database,
        carrier,
        clock,
        folder,
        admissions,
        node,
        order=lambda row: dial_order(row, given, "+12025550100"),
        files=files,
    )
    return Orphans(database, clock, takeovers)


async def lapsed(database: Database, node: str, seconds: float = 11.0) -> None:
    """The node's last sign of life is that long ago, by the database's clock."""
    async with database.write() as tx:
        found = (await tx.execute(select(nodes.c.heartbeat_at).where(nodes.c.boot_id == node))).scalar_one()
        aged = (
            update(nodes)
            .where(nodes.c.boot_id == node)
            .values(heartbeat_at=found - timedelta(seconds=seconds))
        )
        await tx.execute(aged)


@pytest.fixture
async def world(two_nodes: tuple[Database, Database], tmp_path: Path) -> AsyncIterator[World]:
    async with opened(*two_nodes, tmp_path) as made:
        yield made


def surprises() -> float:
    found: float = SURPRISES.labels("recovery")._value.get()
    return found


async def test_a_step_half_written_is_completed_and_paid(world: World) -> None:
    """Cut anywhere behind the event of a step that buys, the call comes to the same as uncut."""
    steps = await world.told()
    last = max(i for i, (_, effects) in enumerate(steps) if any(isinstance(e, Charge) for e in effects))
    answer = next(i for i, (event, _) in enumerate(steps) if isinstance(event, Answered))
    for whole in (steps[: last + 1], steps[: answer + 1]):
        before = len(data(whole[:-1], world.folder / "before"))
        uncut = data(whole, world.folder / "uncut")
        (world.folder / "before").unlink()
        (world.folder / "uncut").unlink()
        event_end = uncut.index(b"\n", before) + 1
        totals, journals = set(), set()
        for length in (len(uncut), event_end, event_end + 12, len(uncut) - 1):
            row = await world.call()
            world.journal(row).write_bytes(uncut[:length])
            await world.flushed(row, whole[: len(whole) // 2])
            assert await world.orphans.settle_all() == 1
            settled = await world.now(row)
            assert (settled.status, settled.end_reason) == ("completed", "server_lost")
            assert replay(read_lines(world.journal(row))).exact
            totals.add((settled.total_nano, settled.last_seq))
            journals.add(world.journal(row).read_bytes())
        assert len(totals) == 1, totals
        assert len(journals) == 1
        assert min(totals)[0] > 0
    assert await world.held() == 0
    assert (await audited(world.database)).breaches == []


async def test_charges_that_do_not_join_the_ledger_are_told_and_nothing_is_closed(world: World) -> None:
    steps = await world.told()
    row = await world.call()
    data(steps[: len(steps) // 2], world.journal(row))
    lines = read_lines(world.journal(row))
    gone = next(i for i, line in enumerate(lines) if '"type":"Charge"' in line)
    world.journal(row).write_bytes(b"".join(frame(line) for line in lines[:gone] + lines[gone + 1 :]))
    before = surprises()
    with capture_logs() as told:
        assert await world.orphans.settle_all() == 0
    assert surprises() == before + 1
    assert [entry["event"] for entry in told if entry["log_level"] == "error"] == [
        "orphan_replays_differently",
        "orphan_left_open",
    ]
    open_still = await world.now(row)
    assert (open_still.final_at, open_still.total_nano, open_still.status) == (None, 0, "queued")
    assert await world.held() == HELD
    assert await world.look(conducts_nothing) == 0
    assert surprises() == before + 1, "and not tried again at once"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(frame('E {"type":"CallStarted","at":0,"text":"secret"}')),
        lambda path: path.write_bytes(frame('E {"type":"Tick","at":0}')),
        lambda path: path.write_bytes(b"00000000 secret\n"),
        lambda path: path.mkdir(),
    ],
)
async def test_a_bad_orphan_stops_no_other_and_repeats_no_speech(
    world: World, spoil: Callable[[Path], object]
) -> None:
    bad, good = await world.call(), await world.call()
    spoil(world.journal(bad))
    data(await world.told(), world.journal(good))
    before = surprises()
    with capture_logs() as told:
        assert await world.orphans.settle_all() == 1
    assert surprises() == before + 1
    assert "secret" not in str(told)
    assert [entry["call"] for entry in told if entry["event"] == "orphan_left_open"] == [bad.id]
    assert (await world.now(bad)).final_at is None
    assert (await world.now(good)).final_at is not None
    assert await world.held() == HELD


async def test_one_that_was_left_open_is_tried_again_after_a_while(world: World) -> None:
    row = await world.call()
    world.journal(row).mkdir()
    before = surprises()
    assert await world.orphans.settle_all() == 0
    pause_s, tries = LEFT_S, 1
    for _ in range(7):
        world.clock.move(pause_s - 1)
        assert await world.look(conducts_nothing) == 0
        assert surprises() == before + tries, "not yet"
        world.clock.move(1)
        assert await world.look(conducts_nothing) == 0
        tries += 1
        assert surprises() == before + tries
        pause_s = min(2 * pause_s, LEFT_MOST_S)
    world.journal(row).rmdir()
    assert await world.look(conducts_nothing) == 0
    world.clock.move(LEFT_MOST_S)
    assert await world.look(conducts_nothing) == 1
    settled = await world.now(row)
    assert settled.final_at is not None
    assert settled.epoch == 2, "it was claimed once"
    assert await world.held() == 0


@pytest.mark.parametrize("content", [None, b"", b"0123"])
async def test_a_call_that_never_began_frees_its_hold(world: World, content: bytes | None) -> None:
    row = await world.call()
    if content is not None:
        world.journal(row).write_bytes(content)
    assert await world.orphans.settle_all() == 1
    settled = await world.now(row)
    assert (settled.status, settled.end_reason, settled.total_nano) == ("failed", None, 0)
    assert await world.held() == 0


async def test_a_call_without_its_file_is_ended_as_the_carrier_saw_it(world: World) -> None:
    row = await world.call(sid="CA1")
    world.carrier.seconds = 31
    assert await world.orphans.settle_all() == 1
    settled = await world.now(row)
    assert (settled.status, settled.end_reason, settled.carrier_seconds) == ("completed", "server_lost", 31)
    assert world.carrier.hung_up == ["CA1"]


async def test_books_are_not_closed_over_a_leg_that_may_run_on(world: World) -> None:
    row = await world.call(sid="CA2")
    world.carrier.away = True
    assert await world.orphans.settle_all() == 0
    assert await world.look(conducts_nothing) == 0, "it hears nothing again"
    waiting = await world.now(row)
    assert (waiting.final_at, waiting.epoch, waiting.owner) == (None, 2, world.node)
    assert await world.held() == HELD
    world.carrier.away = False
    assert await world.look(conducts_nothing) == 1
    assert (await world.now(row)).carrier_seconds == 20


async def test_past_the_carriers_own_limit_a_leg_is_over_whatever_is_heard(world: World) -> None:
    row = await world.call(sid="CA2")
    world.carrier.away = True
    assert await world.orphans.settle_all() == 0
    since = (world.clock.utc() - row.created_at).total_seconds()
    world.clock.move(60 * row.max_minutes + LIMIT_SLACK_S + RINGS_S + LATE_S - since - 1)
    assert await world.look(conducts_nothing) == 0
    world.clock.move(1)
    assert await world.look(conducts_nothing) == 1
    assert (await world.now(row)).status == "completed"
    assert await world.held() == 0


async def test_a_second_try_adds_nothing_to_the_journal(world: World) -> None:
    row = await world.call()
    data(await world.told(), world.journal(row))
    assert await world.orphans.settle_all() == 1
    first, journal = await world.now(row), world.journal(row).read_bytes()
    async with world.database.write() as tx:
        await tx.execute(text("UPDATE calls SET final_at = NULL WHERE id = :id"), {"id": row.id})
        await tx.execute(
            text("UPDATE credit_transactions SET idem_key = 'undone' WHERE call_id = :id"), {"id": row.id}
        )
    assert await world.orphans.settle_all() == 1
    assert world.journal(row).read_bytes() == journal
    assert (await world.now(row)).total_nano == first.total_nano


async def test_a_call_of_ours_is_settled_once_nobody_was_on_it_for_a_while(world: World) -> None:
    """A COMMIT whose answer got lost leaves such a row; one just placed looks the same for a moment."""
    lost, live = await world.call(owner=world.node), await world.call(owner=world.node)
    on: set[str] = {lost.id, live.id}

    async def look() -> int:
        world.clock.move(OWN_S)
        return await world.look(on.__contains__)

    assert await look() == 0
    on.remove(lost.id)
    assert await look() == 0
    on.add(lost.id)
    assert await look() == 0, "it was only on its way"
    on.remove(lost.id)
    assert await look() == 0
    assert await world.look(on.__contains__) == 0, "not yet"
    assert await look() == 1
    assert ((await world.now(lost)).status, (await world.now(live)).final_at) == ("failed", None)
    assert await world.held() == HELD


async def test_the_calls_of_a_node_whose_lease_ran_out_are_found_and_those_of_others_left_alone(
    postgres_pair: tuple[Database, Database], tmp_path: Path
) -> None:
    ours, theirs = postgres_pair
    async with opened(ours, theirs, tmp_path) as world, hold_node(theirs, "sibling"):
        row = await world.call(owner="sibling")
        data(await world.told(), world.journal(row))
        assert await world.orphans.settle_all() == 0
        await looked_for_a_lease(world)
        await lapsed(ours, "sibling", 9.0)
        assert await world.look(conducts_nothing) == 0
        await lapsed(ours, "sibling", 2.0)
        assert await world.look(conducts_nothing) == 1, "though its lock is there: it is frozen"
        settled = await world.now(row)
        assert (settled.owner, settled.epoch, settled.status) == ("us", 2, "completed")
        assert await world.held() == 0
        assert (await audited(ours)).breaches == []


async def test_two_nodes_that_find_the_same_orphan_settle_it_once(
    postgres_pair: tuple[Database, Database], tmp_path: Path
) -> None:
    ours, theirs = postgres_pair
    async with opened(ours, theirs, tmp_path) as world, hold_node(theirs, "sibling") as lock:
        row = await world.call(sid="CA1")
        data(await world.told(), world.journal(row))
        sibling = looking(theirs, world.carrier, world.clock, tmp_path, lock.node)
        found = await asyncio.gather(world.orphans.settle_all(), sibling.settle_all())
        assert sum(found) == 1
        assert world.carrier.hung_up == ["CA1"]
        assert await rows(ours, "SELECT count(*) FROM credit_transactions WHERE kind = 'usage'") == [(1,)]
        assert replay(read_lines(world.journal(row))).exact


def test_the_servers_task_looks_again_and_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)

    async def main() -> None:
        database = Database.open(url)
        async with opened(database, database, tmp_path) as world, asyncio.TaskGroup() as tasks:
            lost, live = await world.call(owner=world.node), await world.call(owner=world.node)
            looks: list[str] = []
            again = asyncio.Event()

            def conducts(call_id: str) -> bool:
                looks.append(call_id)
                if call_id == live.id:
                    world.clock.move(OWN_S)
                again.set()
                return call_id == live.id

            task = tasks.create_task(world.orphans.run(conducts))
            async with asyncio.timeout(60 * EVERY_S):
                while looks.count(live.id) < 3 or (await world.now(lost)).status != "failed":
                    again.clear()
                    await again.wait()
            assert looks.count(lost.id) >= 2, "the first look was too early"
            assert (await world.now(live)).final_at is None
            task.cancel()
        await database.aclose()

    run_scaled(main(), speed=60.0)


async def test_a_server_on_postgres_settles_at_start_what_a_killed_one_left(
    migrated_postgres: str, tmp_path: Path
) -> None:
    database = Database.open(migrated_postgres)
    given = settings(
        tmp_path,
        database_url=migrated_postgres,
        stt_engine="scripted",
        llm_engine="scripted",
        tts_engine="scripted",
    )
    async with opened(database, database, given.calls_dir, "another") as world:
        row, other = await world.call(owner="killed"), await world.call(owner="another")
        data(await world.told(), world.journal(row))
        async with running(given, open_desk, clock=LoopClock()):
            settled = await world.now(row)
            assert (settled.status, settled.end_reason) == ("completed", "server_lost")
            assert settled.final_at is not None
            assert (await world.now(other)).final_at is None
            assert await alive(database, settled.owner), "the server holds its own sign of life"
        assert not await alive(database, settled.owner)
    await database.aclose()


async def alive(database: Database, node: str) -> bool:
    async with database.read() as tx:
        return await is_alive(tx, node)


async def looked_for_a_lease(world: World, on: str = "") -> None:
    """So long that the node may judge the leases of others; it is on the call `on` itself."""
    for _ in range(6):
        assert await world.look({on}.__contains__) == 0
        world.clock.move(2)


async def test_who_starts_as_the_database_comes_back_judges_nobody_yet(
    postgres_pair: tuple[Database, Database], tmp_path: Path
) -> None:
    """It has seen no outage, and finds every lease run out."""
    ours, theirs = postgres_pair
    async with opened(ours, theirs, tmp_path) as world, hold_node(theirs, "sibling"):
        row = await world.call(owner="sibling", sid="CA1")
        await world.call(owner="gone", sid="CA2")
        await lapsed(ours, "sibling", 20)
        assert await world.orphans.settle_all() == 1, "the process without a sign of life"
        assert await world.look(conducts_nothing) == 0
        async with theirs.write() as tx:
            await renew(tx, "sibling")
        await looked_for_a_lease(world)
        assert (await world.now(row)).epoch == 1
        assert world.carrier.hung_up == ["CA2"]
        await lapsed(ours, "sibling")
        assert await world.look(conducts_nothing) == 1, "it had its time"


async def test_a_database_that_comes_back_lets_others_be_heard_before_they_are_judged(
    postgres_pair: tuple[Database, Database], tmp_path: Path
) -> None:
    """Nobody's lease outlives an outage: whoever asks first must not end the calls of all the others."""
    ours, theirs = postgres_pair
    async with opened(ours, theirs, tmp_path) as world, hold_node(theirs, "sibling"):
        row, left = await world.call(owner="sibling", sid="CA1"), await world.call(owner="gone", sid="CA2")
        await looked_for_a_lease(world, left.id)
        world.clock.move(20)
        await lapsed(ours, "sibling", 20)
        assert await world.look(conducts_nothing) == 1, "whose node gave its lease back is gone"
        async with theirs.write() as tx:
            await renew(tx, "sibling")
        world.clock.move(2)
        assert await world.look(conducts_nothing) == 0
        assert (await world.now(row)).epoch == 1
        assert world.carrier.hung_up == ["CA2"]
        await lapsed(ours, "sibling")
        for _ in range(4):
            assert await world.look(conducts_nothing) == 0
            world.clock.move(2)
        assert await world.look(conducts_nothing) == 1, "it had its time"
        assert (await world.now(row)).status == "completed"
