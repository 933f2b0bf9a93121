"""Accounts: one an address, one owner a number, and everything gone on deletion."""

import asyncio

import pytest

from pipeline.core.errors import Refused
from storage import ledger, scenarios, users
from storage.db import Database
from storage.defaults import SCENARIOS
from storage.records import Budget, EmailTaken, NoSuchUser, User
from storage.tables import metadata
from tests.storage.world import NASTY, NOON, book, charges, held_call, later, person, rows, tile

E164 = "+12025550123"


async def test_a_new_account_starts_empty_with_default_scenarios(database: Database) -> None:
    async with database.write() as tx:
        user = await users.add(
            tx, email="Kim@Example.com", password_hash="h", name=NASTY, phone="202 555 0123",
            timezone="Europe/Berlin", now=NOON,
        )  # fmt: skip
    assert user == User(
        id=user.id, email="kim@example.com", password_hash="h", name=NASTY, phone="202 555 0123", phone_e164=None,
        phone_verified_at=None, timezone="Europe/Berlin", role="user", token_version=0, inbound_pin_hash=None,
        created_at=NOON, updated_at=NOON,
    )  # fmt: skip
    assert len(bytes.fromhex(user.id)) == 16
    async with database.read() as tx:
        assert await users.by_id(tx, user.id) == user
        assert await users.by_email(tx, "KIM@example.COM") == user
        assert (await ledger.balance(tx, user.id)).balance == 0
        assert await ledger.budget(tx, user.id) == Budget()
        mine = await scenarios.page(tx, user.id, None, 50)
        assert {item.title for item in mine.items} == {template.title for template in SCENARIOS}


async def test_an_address_is_taken_once_whatever_its_case(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        with pytest.raises(EmailTaken):
            await users.add(
                tx, email=user.email.upper(), password_hash="h", name="", phone=None, timezone="UTC", now=NOON
            )
        # The transaction is still good.
        assert await users.by_id(tx, user.id) == user
    async with database.read() as tx:
        assert await users.by_email(tx, "nobody@example.com") is None
        assert await users.by_id(tx, "nobody") is None


async def test_only_what_is_given_changes(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        renamed = await users.update(tx, user.id, name="Lou")
        assert (renamed.name, renamed.timezone, renamed.token_version) == ("Lou", user.timezone, 0)
        other = await users.update(
            tx,
            user.id,
            timezone="UTC",
            password_hash="new",
            role="admin",
            end_sessions=True,
        )
        assert (other.name, other.timezone, other.password_hash) == ("Lou", "UTC", "new")
        assert (other.role, other.token_version) == ("admin", 1)
        with pytest.raises(NoSuchUser):
            await users.update(tx, "nobody", name="Lou")


async def test_a_number_has_one_proven_owner(database: Database) -> None:
    async with database.write() as tx:
        first, second = await person(tx), await person(tx)
        for user in (first, second):
            unproven = await users.set_phone(tx, user.id, E164)
            assert (unproven.phone, unproven.phone_e164, unproven.phone_verified_at) == (E164, E164, None)
        assert (await users.mark_verified(tx, first.id, E164, NOON)).phone_verified_at == NOON
        assert (await users.mark_verified(tx, second.id, E164, later(1))).phone_verified_at == later(1)
        loser = await users.by_id(tx, first.id)
        assert loser is not None
        assert loser.phone_verified_at is None
        # Another number starts unproven again.
        assert (await users.set_phone(tx, second.id, "+12025550124")).phone_verified_at is None


async def test_two_users_prove_one_number_at_once(database: Database) -> None:
    async with database.write() as tx:
        people = [await person(tx) for _ in range(4)]

    async def prove(user: User) -> None:
        async with database.write() as tx:
            await users.mark_verified(tx, user.id, E164, NOON)

    await asyncio.gather(*(prove(user) for user in people))
    assert await rows(database, "SELECT count(*) FROM users WHERE phone_verified_at IS NOT NULL") == [(1,)]


async def test_deletion_leaves_nothing_of_the_person(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx, credit=10**9)
        placed = await held_call(tx, user, 10**8)
        tiles = [tile(await book(tx), 1, "carrier:twilio:second", 0, 60)]
        assert await ledger.flush(tx, [charges(placed.id, tiles)]) == []
        await users.mark_verified(tx, user.id, E164, NOON)
        assert await users.delete(tx, user.id)
        assert not await users.delete(tx, user.id)
    for table in metadata.sorted_tables:
        for column in {"user_id", "call_id"} & set(table.c.keys()):
            found = await rows(database, f"SELECT count(*) FROM {table.name} WHERE {column} IS NOT NULL")
            assert found == [(0,)], table.name


@pytest.mark.parametrize("bad", ["a\0b", "half \ud83d"])
async def test_text_no_database_holds_is_refused_before_it(database: Database, bad: str) -> None:
    async with database.write() as tx:
        user = await person(tx)
    with pytest.raises(Refused, match="surrogate"):
        async with database.write() as tx:
            await users.update(tx, user.id, name=bad)
    async with database.read() as tx:
        assert await users.by_id(tx, user.id) == user
