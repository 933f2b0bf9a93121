"""Balances, holds and settlements: the same money is never given twice, however often it is asked for."""

import asyncio

import pytest

from pipeline.core.errors import Refused
from pipeline.core.money import Nanos
from storage import calls, ledger
from storage.db import Database
from storage.records import Balance, Budget, Fenced, Final, Overdrawn, User
from tests.storage.world import (
    DOLLAR,
    LINES,
    NASTY,
    NOON,
    audited,
    book,
    call,
    charges,
    completed,
    held_call,
    later,
    patiently,
    person,
    rows,
    tile,
)

# What one call needs: two started minutes on the carrier and some speech.
ONE_CALL = 73_000_000


async def account(database: Database, user: User) -> Balance:
    async with database.read() as tx:
        return await ledger.balance(tx, user.id)


def amounts(balance: int, held: int) -> Balance:
    return Balance(Nanos(balance), Nanos(held), Nanos(balance - held))


# -- postings --------------------------------------------------------------------------


async def test_a_grant_counts_once_a_key(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)

    async def grant(key: str, amount: int) -> bool:
        return await patiently(
            database,
            lambda tx: ledger.grant(
                tx, user_id=user.id, amount=Nanos(amount), kind="grant", idem_key=key, note=NASTY, now=NOON
            ),
        )

    assert sorted(await asyncio.gather(*(grant("gift:1", DOLLAR) for _ in range(5)))) == [False] * 4 + [True]
    assert await grant("gift:2", 2 * DOLLAR)
    assert await grant("refund:2", -DOLLAR)
    assert await account(database, user) == amounts(2 * DOLLAR, 0)
    with pytest.raises(Overdrawn):
        await grant("refund:3", -2 * DOLLAR - 1)
    assert not await grant("refund:2", -DOLLAR)
    async with database.read() as tx:
        page = await ledger.transactions(tx, user.id, None, 2)
        rest = await ledger.transactions(tx, user.id, page.next_cursor, 2)
        with pytest.raises(Refused):
            await ledger.transactions(tx, user.id, "!", 2)
    posted = [*page.items, *rest.items]
    assert [(item.amount_nano, item.balance_after_nano) for item in posted] == [
        (-DOLLAR, 2 * DOLLAR),
        (2 * DOLLAR, 3 * DOLLAR),
        (DOLLAR, DOLLAR),
    ]
    assert {(item.kind, item.note, item.created_at, item.call_id) for item in posted} == {
        ("grant", NASTY, NOON, None)
    }
    assert rest.next_cursor is None
    assert (await audited(database)).breaches == []


async def test_an_account_written_by_hand_can_be_credited(database: Database) -> None:
    from sqlalchemy import text

    async with database.write() as tx:
        await tx.execute(
            text("INSERT INTO users (id, email, password_hash) VALUES ('u', 'raw@example.com', 'h')")
        )
        assert await ledger.balance(tx, "u") == amounts(0, 0)
        assert await ledger.budget(tx, "u") == Budget()
        assert await ledger.grant(tx, user_id="u", amount=Nanos(5), kind="gift", idem_key="k", now=NOON)
        assert await ledger.balance(tx, "u") == amounts(5, 0)


async def test_a_budget_is_what_was_put_last(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        tight = Budget(Nanos(1), Nanos(2), None, 50, auto_cutoff=False)
        for wanted in (tight, Budget(), tight):
            assert await ledger.put_budget(tx, user.id, wanted) == wanted
            assert await ledger.budget(tx, user.id) == wanted


async def test_the_list_of_one_call_has_its_rows_only(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        settled = []
        for _ in range(3):
            placed = await held_call(tx, user, ONE_CALL)
            await completed(tx, placed.id)
            await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
            settled.append(placed.id)
        pages = [await ledger.transactions(tx, user.id, None, 1, call_id=call_id) for call_id in settled]
        other = await person(tx)
        assert (await ledger.transactions(tx, other.id, None, 9, call_id=settled[0])).items == []
    assert [[item.call_id for item in page.items] for page in pages] == [[each] for each in settled]
    assert {page.next_cursor for page in pages} == {None}


# -- holds -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credit", "at_least", "wanted", "limit", "granted"),
    [
        (100, 10, 50, None, 50),
        (100, 10, 500, None, 100),
        (100, 10, 500, 40, 40),
        (100, 100, 100, 100, 100),
        (100, 101, 500, None, 0),
        (100, 41, 500, 40, 0),
        (9, 10, 50, None, 0),
        (0, 1, 1, None, 0),
    ],
)
async def test_a_hold_is_what_is_free_and_allowed_or_nothing(
    database: Database, credit: int, at_least: int, wanted: int, limit: int | None, granted: int
) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=credit)
        placed = await call(tx, user)
        for _ in range(2):  # asking again changes nothing
            answer = await ledger.hold(
                tx, user_id=user.id, call_id=placed.id, epoch=1, at_least=Nanos(at_least), wanted=Nanos(wanted),
                budget_limit=None if limit is None else Nanos(limit),
            )  # fmt: skip
            assert answer == granted
        found = await ledger.hold_of(tx, placed.id)
        assert (found.amount_nano if found else 0) == granted
        stale = await ledger.hold(
            tx,
            user_id=user.id,
            call_id=placed.id,
            epoch=2,
            at_least=Nanos(1),
            wanted=Nanos(1),
            budget_limit=None,
        )
        assert stale == 0
    assert await account(database, user) == amounts(credit, granted)
    periods = await rows(
        database, "SELECT limit_nano, held_nano, spent_nano FROM budget_periods ORDER BY key"
    )
    assert periods == ([(limit, granted, 0), (None, granted, 0), (None, granted, 0)] if granted else [])
    assert (await audited(database)).breaches == []


async def test_a_hold_is_for_more_than_nothing(database: Database) -> None:
    async with database.write() as tx:
        with pytest.raises(ValueError, match="nothing"):
            await ledger.hold(
                tx, user_id="u", call_id="c", epoch=1, at_least=Nanos(0), wanted=Nanos(1), budget_limit=None
            )


async def test_of_ten_calls_at_once_on_credit_for_one_exactly_one_is_held(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=ONE_CALL + 1)
        placed = [await call(tx, user) for _ in range(10)]

    async def hold(call_id: str) -> int:
        return await patiently(database, lambda tx: ledger.hold(
            tx, user_id=user.id, call_id=call_id, epoch=1, at_least=Nanos(ONE_CALL), wanted=Nanos(ONE_CALL),
            budget_limit=None,
        ))  # fmt: skip

    granted = await asyncio.gather(*(hold(item.id) for item in placed))
    assert sorted(granted) == [0] * 9 + [ONE_CALL]
    assert await account(database, user) == amounts(ONE_CALL + 1, ONE_CALL)
    assert (await audited(database)).breaches == []


async def test_a_correction_leaves_held_money_alone(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=100)
        await held_call(tx, user, 60)
        with pytest.raises(Overdrawn):
            await ledger.grant(tx, user_id=user.id, amount=Nanos(-41), kind="refund", idem_key="r", now=NOON)
        assert await ledger.grant(
            tx, user_id=user.id, amount=Nanos(-40), kind="refund", idem_key="r", now=NOON
        )
    assert await account(database, user) == amounts(60, 60)


# -- settlement ------------------------------------------------------------------------


async def test_a_call_is_settled_once(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await held_call(tx, user, ONE_CALL)
        prices = await book(tx)
        tiles = [tile(prices, 1, LINES["carrier"], 0, 60), tile(prices, 2, LINES["stt"], 0, 31, 31)]
        assert await ledger.flush(tx, [charges(placed.id, tiles, second=31)]) == []
        await completed(tx, placed.id, seconds=31)
    total = sum(item.nano for item in tiles)

    async def settle(epoch: int) -> Final:
        async with database.write() as tx:
            return await ledger.finalise(tx, call_id=placed.id, epoch=epoch, now=later(40))

    assert set(await asyncio.gather(settle(1), settle(1), settle(1))) == {
        Final(Nanos(total), Nanos(total), Nanos(0))
    }
    assert await settle(7) == Final(Nanos(total), Nanos(total), Nanos(0))
    assert await account(database, user) == amounts(DOLLAR - total, 0)
    posted = await rows(
        database, "SELECT amount_nano, kind, idem_key, call_id FROM credit_transactions ORDER BY id"
    )
    assert posted[1:] == [(-total, "usage", f"final:{placed.id}", placed.id)]
    async with database.read() as tx:
        closed = await ledger.hold_of(tx, placed.id)
    assert closed is not None
    assert (closed.status, closed.used_nano, closed.closed_at) == ("closed", total, later(40))
    assert await rows(database, "SELECT held_nano, spent_nano FROM budget_periods") == [(0, total)] * 3
    assert await rows(database, "SELECT total_nano, settled_nano FROM calls") == [(total, total)]
    assert (await audited(database)).breaches == []


async def test_what_exceeds_the_hold_is_the_operators(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await held_call(tx, user, 20_000_000)
        tiles = [tile(await book(tx), 1, LINES["carrier"], 0, 120)]
        await ledger.flush(tx, [charges(placed.id, tiles)])
        await completed(tx, placed.id)
        for _ in range(2):
            final = await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
            assert final == Final(Nanos(28_000_000), Nanos(20_000_000), Nanos(8_000_000))
    assert await account(database, user) == amounts(DOLLAR - 20_000_000, 0)
    assert await rows(database, "SELECT call_id, amount_nano FROM operator_losses") == [
        (placed.id, 8_000_000)
    ]
    assert (await audited(database)).breaches == []


async def test_a_call_without_a_hold_costs_the_user_nothing(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await call(tx, user)
        await ledger.flush(tx, [charges(placed.id, [tile(await book(tx), 1, LINES["tts"], 0, 10)])])
        await completed(tx, placed.id)
        final = await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
    assert final == Final(Nanos(150_000), Nanos(0), Nanos(150_000))
    assert await account(database, user) == amounts(DOLLAR, 0)
    assert (await audited(database)).breaches == []


async def test_a_call_nobody_answered_gives_the_hold_back(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await held_call(tx, user, ONE_CALL)
        await completed(tx, placed.id)
        final = await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
        again = await ledger.hold(
            tx,
            user_id=user.id,
            call_id=placed.id,
            epoch=1,
            at_least=Nanos(1),
            wanted=Nanos(1),
            budget_limit=None,
        )
    assert (final, again) == (Final(Nanos(0), Nanos(0), Nanos(0)), 0)
    assert await account(database, user) == amounts(DOLLAR, 0)
    assert (await audited(database)).breaches == []


async def test_only_the_owner_settles(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=DOLLAR)
        placed = await held_call(tx, user, ONE_CALL)
        await completed(tx, placed.id)
        with pytest.raises(Fenced):
            await ledger.finalise(tx, call_id=placed.id, epoch=2, now=NOON)
        with pytest.raises(LookupError):
            await ledger.finalise(tx, call_id="none", epoch=1, now=NOON)
        assert await calls.claim(tx, placed.id, 1, "another") is not None
        with pytest.raises(Fenced):
            await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)
    assert await account(database, user) == amounts(DOLLAR, ONE_CALL)
