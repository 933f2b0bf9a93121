"""What a call notes beside money, written once however often it is offered."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from pipeline.core.effects import EagerSettled, OptedOut, TurnTaken, TurnTimed
from pipeline.core.money import Millis, Nanos
from storage import notes, opt_outs, turns, users
from storage.db import Database
from storage.records import EagerReply
from storage.tables import calls
from storage.tables import opt_outs as opt_out_rows
from tests.storage.world import NASTY, NOON, call, later, person

NUMBER = "+12025550142"
NOTED: list[notes.Note] = [
    TurnTaken(0, "caller", NASTY, Millis(1_000), Millis(2_000)),
    TurnTaken(1, "agent", "I see.", Millis(2_500), Millis(3_000), interrupted=True),
    notes.Unheard(1, NASTY),
    TurnTimed(0, Millis(2_000), 250, 450, 570, 571, 590, eager=False),
    EagerSettled(1, committed=False, nano=Nanos(1_234)),
    EagerSettled(2, committed=True, nano=Nanos(99)),
]


async def test_all_kinds_are_read_back_and_a_second_writing_changes_nothing(database: Database) -> None:
    async with database.write() as tx:
        row = await call(tx, await person(tx))
        for _ in range(2):
            await notes.write(tx, row.id, NOTED, NOON)
    async with database.read() as tx:
        said, answered = await turns.of_call(tx, row.id)
        begun = await notes.eager(tx, row.id)
    assert (said.text, said.audible_ms, said.end_of_turn_ms) == (NASTY, 590, 250)
    assert (said.first_token_ms, said.first_audio_ms, said.first_frame_ms) == (450, 570, 571)
    assert (answered.text, answered.interrupted, answered.audible_ms) == ("I see.", True, None)
    assert (said.unheard, answered.unheard) == ("", NASTY)
    assert begun == [EagerReply(1, False, Nanos(1_234)), EagerReply(2, True, Nanos(99))]


async def test_the_notes_of_several_calls_are_written_together(database: Database) -> None:
    """A turn and its timing may come in one flush; who has nothing to say is passed over."""
    async with database.write() as tx:
        one = await call(tx, await person(tx))
        other = await call(tx, await person(tx))
        timed = TurnTimed(0, Millis(2_000), 1, 2, 3, 4, 5, eager=False)
        hers: list[notes.Note] = [timed, TurnTaken(0, "caller", "hers", Millis(1), Millis(2))]
        await notes.write_all(tx, {one.id: NOTED, other.id: hers, "nobody": []}, NOON)
    async with database.read() as tx:
        (turn,) = await turns.of_call(tx, other.id)
        said, _ = await turns.of_call(tx, one.id)
    assert (turn.text, turn.audible_ms, turn.end_of_turn_ms) == ("hers", 5, 1)
    assert (said.text, said.audible_ms) == (NASTY, 590)


async def test_opting_out_holds_for_the_number_until_it_is_proven_again(database: Database) -> None:
    async with database.write() as tx:
        row = await call(tx, await person(tx))
        number = row.phone_e164 or ""
        await notes.write(tx, row.id, [OptedOut("key")], NOON)
        await notes.write(tx, row.id, [OptedOut("voice")], later(5))
        assert await opt_outs.has(tx, number)
        assert not await opt_outs.has(tx, "+12025550199")
        await opt_outs.lift(tx, number)
        assert not await opt_outs.has(tx, number)


@pytest.mark.parametrize("proved", [True, False])
async def test_in_the_browser_it_holds_for_the_number_that_was_proved(
    database: Database, proved: bool
) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        await (
            users.mark_verified(tx, ann.id, NUMBER, NOON) if proved else users.set_phone(tx, ann.id, NUMBER)
        )
        row = await call(tx, ann)
        await tx.execute(update(calls).where(calls.c.id == row.id).values(channel="browser", phone_e164=None))
        await notes.write(tx, row.id, [OptedOut("voice")], NOON)
        assert await opt_outs.has(tx, NUMBER) is proved, "a number nobody proved is not theirs to close"


async def test_a_number_is_not_kept_in_the_clear(database: Database) -> None:
    async with database.write() as tx:
        await opt_outs.add(tx, NUMBER, "key", NOON)
        kept = (await tx.execute(select(opt_out_rows))).all()
    assert NUMBER not in str(kept)
    assert len(kept) == 1
