"""Calls of one account on two nodes at the same moment: no interleaving gives the same money twice."""

import asyncio

import pytest

from pipeline.core.money import Nanos
from storage import ledger
from storage.db import Database, Tx
from storage.records import CallRow, Final, User
from tests.storage.world import LINES, NOON, audited, book, call, charges, completed, patiently, person, tile

Pair = tuple[Database, Database]
CALLS = 8
"""Of each node; those of both are at the same moment."""
CREDIT = 400_000_000
LEAST = 60_000_000


async def one_call(database: Database, user: User, placed: CallRow) -> tuple[int, int]:
    """Held, renewed four times, used up, settled. What was held, and what the user paid."""

    async def hold(tx: Tx) -> int:
        return await ledger.hold(
            tx, user_id=user.id, call_id=placed.id, epoch=1, at_least=Nanos(LEAST), wanted=Nanos(LEAST), now=NOON
        )  # fmt: skip

    async def renew(tx: Tx) -> int:
        grant = await ledger.renew(
            tx, user_id=user.id, call_id=placed.id, epoch=1, known=Nanos(held), wanted=Nanos(30_000_000), now=NOON
        )  # fmt: skip
        return grant.held

    async def use_up(tx: Tx) -> list[str]:
        tiles = [tile(await book(tx), 1, LINES["carrier"], 0, held // 14_000_000 * 60)]
        return list(await ledger.flush(tx, [charges(placed.id, tiles)]))

    async def settle(tx: Tx) -> Final:
        await completed(tx, placed.id)
        return await ledger.finalise(tx, call_id=placed.id, epoch=1, now=NOON)

    held = await patiently(database, hold)
    if held == 0:
        return 0, 0
    for _ in range(4):
        held = await patiently(database, renew)
    assert await patiently(database, use_up) == []
    final = await patiently(database, settle)
    assert final.operator == 0
    return held, final.from_user


async def rounds(pair: Pair, count: int) -> None:
    async with pair[0].write() as tx:
        user = await person(tx, credit=CREDIT)
    for number in range(count):
        async with pair[0].write() as tx:
            placed = [await call(tx, user) for _ in range(CALLS * len(pair))]
        done = await asyncio.gather(
            *(one_call(pair[which % len(pair)], user, row) for which, row in enumerate(placed))
        )
        async with pair[1].write() as tx:
            left = await ledger.balance(tx, user.id)
            await ledger.grant(
                tx, user_id=user.id, amount=Nanos(CREDIT - left.balance), kind="gift", idem_key=f"{user.id}{number}",
                now=NOON,
            )  # fmt: skip
        assert left.held == 0
        assert 0 <= left.balance == CREDIT - sum(from_user for _, from_user in done)
        assert sum(1 for held, _ in done if held) >= 1
    assert (await audited(pair[0])).breaches == []


async def test_eight_calls_on_each_of_two_nodes_never_overdraw_one_balance(postgres_pair: Pair) -> None:
    await rounds(postgres_pair, 3)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_eight_calls_on_each_of_two_nodes_never_overdraw_one_balance_in_200_rounds(
    postgres_pair: Pair,
) -> None:
    await rounds(postgres_pair, 200)
