"""Who rang and how far they came; whose account pays for strangers."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from pipeline.core.money import Nanos
from storage import ageing, calls, inbound, ledger, strangers, users
from storage.db import Database
from storage.records import NewCall
from tests.storage.world import DOLLAR, NOON, audited, book, call, later, patiently, person

HERS, HIS = "+12025550142", "+12025550143"


async def test_a_ring_is_begun_once_and_leaves_the_menu_once(database: Database) -> None:
    async with database.write() as tx:
        first = await inbound.begin(tx, "CA1", HERS, None, NOON)
        again = await inbound.begin(tx, "CA1", HIS, None, later(5))
        assert first == again
        assert (first.stage, first.guesses, first.at) == ("menu", 0, NOON)
        assert await inbound.move(tx, "CA1", "stranger")
        assert not await inbound.move(tx, "CA1", "known")
        assert not await inbound.guess(tx, "CA1", 3), "past the menu nothing is guessed"
        found = await inbound.find(tx, "CA1")
        assert found is not None
        assert (found.stage, found.call_id) == ("stranger", first.call_id)
        assert await inbound.find(tx, "CA2") is None


async def test_guesses_count_for_the_number_and_for_the_account(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        for sid, number, owner in (("CA1", HERS, ann.id), ("CA2", HERS, None), ("CA3", HIS, ann.id)):
            await inbound.begin(tx, sid, number, owner, NOON)
            assert [await inbound.guess(tx, sid, 2) for _ in range(3)] == [True, True, False]
        assert await inbound.guesses(tx, HERS, None, later(-1)) == 4
        assert await inbound.guesses(tx, HIS, ann.id, later(-1)) == 4
        assert await inbound.guesses(tx, HIS, None, later(-1)) == 2
        assert await inbound.guesses(tx, HERS, ann.id, NOON) == 0
        await inbound.guessed_right(tx, "CA3")
        assert await inbound.guesses(tx, HIS, ann.id, later(-1)) == 3
        await inbound.forget_guesses(tx, ann.id)
        assert await inbound.guesses(tx, None, ann.id, later(-1)) == 0


async def test_guesses_at_once_are_all_counted(two_nodes: tuple[Database, Database]) -> None:
    async with two_nodes[0].write() as tx:
        await inbound.begin(tx, "CA1", HERS, None, NOON)

    async def guess(database: Database) -> bool:
        return await patiently(database, lambda tx: inbound.guess(tx, "CA1", 3))

    assert (
        sorted(await asyncio.gather(*(guess(two_nodes[turn % 2]) for turn in range(8))))
        == [False] * 5 + [True] * 3
    )


async def test_rings_are_counted_by_number_and_stage_and_forgotten(database: Database) -> None:
    async with database.write() as tx:
        for sid, number in (("CA1", HERS), ("CA2", HERS), ("CA3", None), ("CA4", None)):
            await inbound.begin(tx, sid, number, None, NOON)
        await inbound.move(tx, "CA1", "stranger")
        since = later(-1)
        assert await inbound.rang(tx, HERS, since) == 2
        assert await inbound.rang(tx, HERS, since, ["stranger"]) == 1
        assert await inbound.rang(tx, None, since) == 2, "who withholds their number is one number"
        assert await inbound.answered(tx, since, ["menu", "left"]) == 3
        assert await inbound.answered(tx, since, ["menu"], but="CA3") == 2
        assert await ageing.purge(tx, later(86_400), 100) == 0, "a limit may look back at them"
        await inbound.begin(tx, "CA5", HIS, None, later(2 * 86_400))
        assert [await ageing.purge(tx, later(2 * 86_400 + 1), 3) for _ in range(3)] == [3, 1, 0]
        assert await inbound.answered(tx, since, ["menu", "stranger"]) == 1
        kept = (await tx.execute(text("SELECT number_hash FROM inbound_rings"))).scalar_one()
        assert HIS[2:] not in kept


async def test_a_number_is_blocked_and_answered_again(database: Database) -> None:
    async with database.write() as tx:
        for number in (HERS, None):
            assert not await inbound.is_blocked(tx, number)
            await inbound.block(tx, number, "operator", NOON)
            await inbound.block(tx, number, "operator", NOON)
            assert await inbound.is_blocked(tx, number)
        await inbound.unblock(tx, HERS)
        assert [await inbound.is_blocked(tx, number) for number in (HERS, HIS, None)] == [False, False, True]


async def test_strangers_are_paid_for_by_an_account_that_is_filled_up_to_a_day(database: Database) -> None:
    daily = Nanos(DOLLAR // 10)
    async with database.write() as tx:
        assert await strangers.left_today(tx, daily, NOON) == daily
        payer = await strangers.provide(tx, daily, "c1", NOON)
        assert (payer.id, payer.role, payer.phone_e164) == (strangers.ACCOUNT, "user", None)
        prices = await book(tx)
        taken = Nanos(DOLLAR // 25)
        for ident in ("c1", "c2", "c3"):
            assert (await strangers.provide(tx, daily, ident, NOON)).id == payer.id
            new = NewCall(
                ident, payer.id, "sarah", "phone", NOON, tuple(price.price_id for price in prices), "node",
                direction="inbound",
            )  # fmt: skip
            await calls.create(tx, new)
            granted = await ledger.hold(
                tx, user_id=payer.id, call_id=ident, epoch=1, at_least=taken, wanted=taken, now=NOON
            )
            assert granted == (taken if ident != "c3" else 0), "the third is beyond the day"
        balance = await ledger.balance(tx, payer.id)
        assert (balance.available, balance.held) == (daily, 2 * taken)
        assert await strangers.left_today(tx, daily, NOON) == daily - 2 * taken
        assert await strangers.left_today(tx, daily, later(86_400)) == daily
    assert (await audited(database)).breaches == []


async def test_it_is_nobody_s_to_log_in_as_and_its_name_is_no_address(database: Database) -> None:
    async with database.write() as tx:
        payer = await strangers.provide(tx, Nanos(DOLLAR), "c1", NOON)
        assert "@" not in payer.email
        assert payer.password_hash == ""
        less = await strangers.provide(tx, Nanos(DOLLAR // 2), "c2", NOON)
        assert less.id == payer.id
        assert (await ledger.budget(tx, payer.id)).daily_nano == DOLLAR // 2
        assert (await ledger.balance(tx, payer.id)).balance == DOLLAR, "what was granted is not taken back"


async def test_who_has_a_number_and_who_rang_them_last(database: Database) -> None:
    async with database.write() as tx:
        ann = await person(tx)
        assert await users.by_number(tx, HERS) is None
        await users.set_phone(tx, ann.id, HERS)
        assert await users.by_number(tx, HERS) is None, "not proved yet"
        await users.mark_verified(tx, ann.id, HERS, NOON)
        found = await users.by_number(tx, HERS)
        assert found is not None
        assert found.id == ann.id
        assert await calls.latest_to_phone(tx, ann.id) is None
        one, two = await call(tx, ann), await call(tx, ann, at=later(5))
        new = NewCall("in", ann.id, "sarah", "phone", later(9), (), "node", direction="inbound")
        await calls.create(tx, new)
        latest = await calls.latest_to_phone(tx, ann.id)
        assert latest is not None
        assert (latest.id, one.direction) == (two.id, "outbound")
