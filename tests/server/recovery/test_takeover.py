"""A dead process's call, taken over: what of it goes on, what is settled, from whatever is left of it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text, update

from pipeline.core.effects import Charge, TurnTaken
from pipeline.core.events import CallResumed, CallStarted, HangUpAsked
from pipeline.core.terms import EndReason
from pipeline.journal_file import part_name, read_lines
from pipeline.replay import replay
from server.calls.answers import take_answer
from server.money.admission import Admitted
from server.recovery.resuming import Resuming
from server.recovery.takeover import Takeovers
from storage import calls, ledger, scenarios, turns
from storage.db import Database
from storage.nodes import hold_node
from storage.records import CallRow
from storage.tables import calls as calls_table
from tests.core.story import Story, started
from tests.server.recovery.test_orphans import Steps, World, data, looking, opened, world
from tests.server.rig import NOON, LoopClock
from tests.storage.world import audited, book, rows
from tests.twilio.rig import run_scaled

__all__ = ["world"]

SID = "CA1"


async def in_progress(world: World, owner: str = "dead") -> CallRow:
    row = await world.call(owner=owner, sid=SID)
    async with world.database.write() as tx:
        await tx.execute(update(calls_table).where(calls_table.c.id == row.id).values(answered_at=NOON))
    return row


def takeovers(world: World) -> Takeovers:
    return world.orphans._takeovers


def resuming(world: World) -> Resuming:
    return Resuming(world.database, world.clock, takeovers(world))


async def taken(by: Resuming, call_id: str) -> Admitted | None:
    """The call as it goes on here; its files are closed again."""
    with ExitStack() as opened:
        found = await by.take(call_id, SID, opened)
    return None if found is None else found[0]


async def lines(world: World, row: CallRow) -> dict[str, int]:
    async with world.database.read() as tx:
        return {line.line: line.quantity for line in await ledger.cost_lines(tx, row.id)}


async def losses(world: World) -> list[tuple[object, ...]]:
    return await rows(world.database, "SELECT reason, amount_nano FROM operator_losses")


def cut(steps: Steps, at_ms: int) -> Steps:
    return [step for step in steps if step[0].at <= at_ms]


async def test_a_call_without_its_journal_is_settled_from_the_ledger_by_the_carriers_seconds(
    world: World,
) -> None:
    row, steps = await in_progress(world), cut(await world.told(), 40_000)
    await world.flushed(row, steps)
    before = await lines(world, row)
    world.carrier.seconds = 61
    assert await world.orphans.settle_all() == 1
    settled, after = await world.now(row), await lines(world, row)
    assert (settled.status, settled.end_reason, settled.carrier_seconds) == ("completed", "server_lost", 61)
    assert after["carrier:twilio:second"] == 120 > before["carrier:twilio:second"]
    assert after["stt:whisper-tiny.en:second"] == before["stt:whisper-tiny.en:second"]
    ((reason, amount),) = await losses(world)
    assert reason == "unconfirmed:2"
    assert isinstance(amount, int)
    assert 0 < amount < 31_000_000, "a reply and its voice, at most"
    assert await world.held() == 0
    assert (await audited(world.database)).breaches == []


async def test_a_journal_the_ledger_has_gone_beyond_is_not_believed(world: World) -> None:
    row, steps = await in_progress(world), await world.told()
    data(cut(steps, 20_000), world.journal(row))
    await world.flushed(row, cut(steps, 50_000))
    before = await lines(world, row)
    world.carrier.seconds = 47
    assert await world.orphans.settle_all() == 1
    assert await lines(world, row) == before
    assert (await audited(world.database)).breaches == []


async def test_one_that_went_another_way_is_not_believed_either(world: World) -> None:
    """The same numbers, but the call was resumed elsewhere in between and bought other things."""
    row, steps = await in_progress(world), await world.told()
    data(cut(steps, 20_000), world.journal(row))
    await world.flushed(row, cut(steps, 12_000))
    async with world.database.write() as tx:
        last = "WHERE seq = (SELECT last_seq FROM calls)"
        await tx.execute(text(f"UPDATE call_cost_events SET line = 'llm:other:token_in' {last}"))
    claimed = await takeovers(world).claim(row)
    assert claimed is not None
    with ExitStack() as opened:
        resumed = await takeovers(world).resume(claimed, opened)
    assert resumed is not None
    admitted, _ = resumed
    assert isinstance(admitted.started, CallResumed)
    assert admitted.started.resumed.seq == (await world.now(row)).last_seq


async def test_what_goes_on_begins_where_the_journal_ends(world: World) -> None:
    row, steps = await in_progress(world), cut(await world.told(), 20_000)
    data(steps, world.journal(row))
    await world.flushed(row, steps[: len(steps) // 2])
    world.clock.move(25)
    admitted = await taken(resuming(world), row.id)
    assert admitted is not None
    now, known = await world.now(row), admitted.started
    assert isinstance(known, CallResumed)
    charges = [effect for _, effects in steps for effect in effects if isinstance(effect, Charge)]
    said = [effect for _, effects in steps for effect in effects if isinstance(effect, TurnTaken)]
    assert (now.owner, now.epoch, now.last_seq, now.final_at) == ("us", 2, charges[-1].seq, None)
    assert known.resumed.seq == charges[-1].seq
    assert {bought.line: bought.quantity for bought in known.resumed.bought} == await lines(world, row)
    assert [message.content for message in known.resumed.said] == [turn.text for turn in said]
    assert steps[-1][0].at <= known.at <= 25_000
    assert known.resumed.answered == 3_000
    begun = steps[0][0]
    assert isinstance(begun, CallStarted)
    assert (known.layers, known.phrases) == (begun.layers, begun.phrases), "it is the same conversation"
    assert known.allowance.reach > known.allowance.held, "what it holds is not all it can have"
    assert admitted.row.epoch == 2
    async with world.database.read() as tx:
        assert [turn.text for turn in await turns.of_call(tx, row.id)] == [turn.text for turn in said]
    assert (await audited(world.database)).breaches == []
    # The part that goes on: its journal is another, and it is settled as the first would be.
    second = Story(known).run(2_000)
    data(second.steps, world.folder / f"{part_name(row.id, 2)}.journal")
    async with world.database.write() as tx:
        await tx.execute(update(calls_table).values(owner="dead too"))
    world.carrier.seconds = 61
    assert await world.orphans.settle_all() == 1
    assert (await lines(world, row))["carrier:twilio:second"] == 120
    assert (await audited(world.database)).breaches == []


async def test_without_a_journal_it_goes_on_with_what_was_written(world: World) -> None:
    row, steps = await in_progress(world), cut(await world.told(), 40_000)
    await world.flushed(row, steps)
    world.clock.move(3_600)
    admitted = await taken(resuming(world), row.id)
    assert admitted is not None
    assert isinstance(admitted.started, CallResumed)
    assert admitted.started.at <= 40_000 + 60_000, "a clock that was moved costs a minute at most"
    assert admitted.started.resumed.announced is None
    assert [reason for reason, _ in await losses(world)] == ["unconfirmed:2"]


PROMPT, OPENING = "You meet at {place} to talk about {topic|nothing}.", "So, {place}, {name}?"


async def test_without_a_new_journal_the_old_one_still_tells_all(world: World) -> None:
    """The disk is full: it does not go on, and nothing was bought that its journal does not know."""
    row, steps = await in_progress(world), cut(await world.told(), 20_000)
    data(steps, world.journal(row))
    await world.flushed(row, steps[: len(steps) // 2])
    full = looking(world.database, world.carrier, world.clock, world.folder, world.node, full=True)
    assert await taken(Resuming(world.database, world.clock, full._takeovers), row.id) is None
    now = await world.now(row)
    assert (now.owner, now.epoch, now.final_at) == ("us", 2, None)
    async with world.database.read() as tx:
        hold = await ledger.hold_of(tx, row.id)
    assert hold is not None
    assert hold.epoch == 1, "no money is set aside for what cannot go on"
    await settled_by_the_first(world, row)


async def test_a_new_journal_that_was_only_opened_is_none(world: World) -> None:
    row, steps = await in_progress(world), cut(await world.told(), 20_000)
    data(steps, world.journal(row))
    await world.flushed(row, steps[: len(steps) // 2])
    (world.folder / f"{part_name(row.id, 2)}.journal").touch()
    await settled_by_the_first(world, row)


async def settled_by_the_first(world: World, row: CallRow) -> None:
    assert await world.orphans.settle_all() == 1
    assert await losses(world) == []
    assert replay(read_lines(world.journal(row))).exact, "its end is in its own journal"
    assert await world.held() == 0
    assert (await audited(world.database)).breaches == []


async def with_scenario(world: World, variables: str) -> tuple[CallRow, str]:
    """A call that was broken off, whose scenario leaves things open and whose journal is elsewhere."""
    row, steps = await in_progress(world), cut(await world.told(), 40_000)
    await world.flushed(row, steps)
    async with world.database.write() as tx:
        made = await scenarios.add(tx, world.user.id, title="t", prompt=PROMPT, opening=OPENING, now=NOON)
        told = {"scenario_id": made.id, "variables": variables}
        await tx.execute(update(calls_table).where(calls_table.c.id == row.id).values(told))
    return row, made.id


async def scenario_told(world: World, row: CallRow) -> tuple[str, str]:
    """What the model is told of the scenario as the call goes on here, and the greeting."""
    admitted = await taken(resuming(world), row.id)
    assert admitted is not None
    texts = [layer.text for layer in admitted.started.layers if layer.name == "scenario"]
    return "".join(texts), admitted.started.phrases.greeting


async def test_without_a_journal_its_scenario_is_filled_in_as_it_was(world: World) -> None:
    row, _ = await with_scenario(world, '{"place": "the pier"}')
    told, greeting = await scenario_told(world, row)
    assert told == 'You meet at "the pier" to talk about "nothing".'
    assert greeting == "So, the pier, Kim?"


async def test_a_scenario_that_asks_for_other_things_by_now_is_left_out(world: World) -> None:
    row, ident = await with_scenario(world, '{"place": "the pier"}')
    async with world.database.write() as tx:
        await scenarios.update(tx, world.user.id, ident, prompt="You meet {somebody}.", opening="Hello.")
    told, greeting = await scenario_told(world, row)
    assert told == ""
    assert "pier" not in greeting


@pytest.mark.parametrize(
    "spoil",
    [
        "status = 'completed', status_rank = 9",
        "answered_at = NULL",
        "twilio_call_sid = 'CA2'",
        "final_at = created_at",
    ],
)
async def test_what_is_over_or_never_was_is_hung_up(world: World, spoil: str) -> None:
    row = await in_progress(world)
    async with world.database.write() as tx:
        await tx.execute(text(f"UPDATE calls SET {spoil}"))
    assert await taken(resuming(world), row.id) is None
    assert await taken(resuming(world), "nothing") is None
    assert (await world.now(row)).epoch == 1


async def test_a_goodbye_is_not_taken_up_again_but_settled(world: World) -> None:
    row = await in_progress(world)
    async with world.database.read() as tx:
        prices = tuple(await book(tx))
    story = Story(started(prices=prices)).answer().hear_out()
    story.post(lambda at: HangUpAsked(at, EndReason.DRAINED)).run()
    data(story.steps, world.journal(row))
    assert await taken(resuming(world), row.id) is None
    assert (await world.now(row)).final_at is not None
    assert world.carrier.hung_up == [SID]


async def test_what_was_cut_off_before_the_process_died_is_marked(world: World) -> None:
    row = await in_progress(world)
    async with world.database.read() as tx:
        prices = tuple(await book(tx))
    story = Story(started(prices=prices)).answer().hear_out()
    long = "Once upon a time there was a king who had three daughters and no horse at all. "
    story.reply(long).say("Tell me a story, please.").run(4_000)
    story.say("Wait, sorry, can I ask you something else?").run(6_000)
    data(story.steps, world.journal(row))
    assert await world.orphans.settle_all() == 1
    async with world.database.read() as tx:
        (cut_off,) = [turn for turn in await turns.of_call(tx, row.id) if turn.unheard]
    assert cut_off.interrupted
    assert f"{cut_off.text} {cut_off.unheard}" == long.strip()


async def test_a_damaged_journal_is_left_to_be_looked_into(world: World) -> None:
    row = await in_progress(world)
    world.journal(row).write_bytes(b"00000000 nothing\n")
    assert await taken(resuming(world), row.id) is None
    left = await world.now(row)
    assert (left.final_at, left.owner) == (None, "us")


async def test_who_asks_twice_at_once_gets_one_call(world: World) -> None:
    row, steps = await in_progress(world), cut(await world.told(), 20_000)
    data(steps, world.journal(row))
    one = resuming(world)
    answers = await asyncio.gather(taken(one, row.id), taken(one, row.id))
    assert [isinstance(answer, Admitted) for answer in answers].count(True) == 1
    assert not one.taking(row.id)


async def test_a_call_that_was_given_up_is_neither_answered_nor_gone_on_with(world: World) -> None:
    """Its node asks the carrier to end it, in vain so far: whichever node is asked meanwhile hangs up."""
    row, steps = await in_progress(world), cut(await world.told(), 40_000)
    data(steps, world.journal(row))
    async with world.database.write() as tx:
        await calls.give_up(tx, [row.id], NOON)
    assert await taken(resuming(world), row.id) is None
    async with world.database.write() as tx:
        assert await take_answer(tx, row.id, SID, NOON) is None
    assert (await world.now(row)).epoch == 1, "nobody took it over"
    assert await rows(world.database, "SELECT * FROM stream_tokens") == []


def test_a_call_that_lives_elsewhere_is_waited_for_and_left_there(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def main() -> None:
        ours, theirs = Database.open(migrated_postgres), Database.open(migrated_postgres)
        async with opened(ours, theirs, tmp_path) as world, hold_node(theirs, "sibling") as lock:
            row, steps = await in_progress(world, "sibling"), cut(await world.told(), 20_000)
            data(steps, world.journal(row))
            waiting = Resuming(ours, LoopClock(), takeovers(world))
            assert await taken(waiting, row.id) is None
            assert (await world.now(row)).epoch == 1
            asked = asyncio.create_task(taken(waiting, row.id))
            await asyncio.sleep(1)
            await lock.release()  # as when its process dies
            assert await asked is not None
            assert (await world.now(row)).owner == "us"
        await ours.aclose()
        await theirs.aclose()

    run_scaled(main(), speed=20.0)


async def test_a_process_that_never_wrote_bought_nothing_and_costs_nobody_anything(world: World) -> None:
    """It went on with the call on a full disk, or its COMMIT got no answer: its journal is there and empty."""
    row, steps = await in_progress(world), cut(await world.told(), 20_000)
    data(steps, world.journal(row))
    await world.flushed(row, steps[: len(steps) // 2])
    assert await taken(resuming(world), row.id) is not None
    latest = world.folder / f"{part_name(row.id, 2)}.journal"
    assert latest.read_bytes() == b""
    before = await losses(world)
    latest.write_bytes(b"0000")  # half a line is none
    async with world.database.write() as tx:
        await tx.execute(update(calls_table).values(owner="dead too"))
    assert await taken(resuming(world), row.id) is not None
    assert await losses(world) == before
    async with world.database.write() as tx:
        await tx.execute(update(calls_table).values(owner="dead as well"))
    assert await world.orphans.settle_all() == 1
    assert await losses(world) == before
    assert (await audited(world.database)).breaches == []
