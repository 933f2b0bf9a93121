"""The key of the hashes of numbers: made once, sealed with the server's secret, the same after that was changed."""

from __future__ import annotations

import asyncio
import base64
from datetime import date
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from sqlalchemy import text

from pipeline.core.effects import Learned
from pipeline.core.memory import Finding, Memory, marks
from server import remembering
from server.number_key import seal, unlock, unseal
from server.settings import BadSettings
from storage import inbound, memories, opt_outs
from storage.db import Database
from storage.number_hashes import NoNumberKey, sealed_keys, unkeyed
from tests.server.rig import NOON, PHONE
from tests.storage.world import call, person

ONE, OTHER, THIRD = (name.encode() * 32 for name in "abc")


@given(st.binary(min_size=32, max_size=32), st.integers(0, 104), st.integers(1, 255))
def test_a_seal_opens_with_its_secret_and_unaltered_only(key: bytes, where: int, by: int) -> None:
    sealed = seal(key, ONE)
    assert unseal(sealed, ONE) == key
    assert unseal(sealed, OTHER) is None
    altered = bytearray(base64.urlsafe_b64decode(sealed))
    altered[where] ^= by
    assert unseal(base64.urlsafe_b64encode(altered).decode(), ONE) is None
    assert key not in base64.urlsafe_b64decode(sealed)


@pytest.mark.parametrize("sealed", ["", "00", "no digits at all", "ab" * 200])
def test_what_is_no_seal_opens_to_nothing(sealed: str) -> None:
    assert unseal(sealed, ONE) is None


@pytest.fixture
def databases(migrated_sqlite: str) -> list[Database]:
    """As four starts of the server see it."""
    return [Database.open(migrated_sqlite) for _ in range(4)]


async def test_numbers_are_known_again_after_the_secret_was_changed(databases: list[Database]) -> None:
    first, both, second, strange = databases
    await unlock(first, (ONE,))
    async with first.write() as tx:
        await opt_outs.add(tx, PHONE, "sms", NOON)
    for database, ring in ((both, (OTHER, ONE)), (second, (OTHER,))):
        await unlock(database, ring)
        async with database.read() as tx:
            assert await opt_outs.has(tx, PHONE)
            assert not await opt_outs.has(tx, "+12025550199")
    with pytest.raises(BadSettings, match="JWT_SECRET_PREVIOUS"):
        await unlock(strange, (THIRD,))
    with pytest.raises(NoNumberKey):
        async with strange.read() as tx:
            await opt_outs.has(tx, PHONE)
    for database in databases:
        await database.aclose()


async def test_hashes_of_an_older_version_get_the_key(databases: list[Database]) -> None:
    old, new, *_ = databases
    async with old.write() as tx:
        for table, purpose in (("opt_outs", "opt-out"), ("inbound_blocks", "ring")):
            words = {"hash": unkeyed(purpose, PHONE)}
            await tx.execute(text(f"INSERT INTO {table} (number_hash) VALUES (:hash)"), words)
        await tx.execute(text("INSERT INTO inbound_blocks (number_hash) VALUES ('')"))
    for database in (new, old):
        await unlock(database, (ONE,))
        async with database.write() as tx:
            assert await opt_outs.has(tx, PHONE)
            assert await inbound.is_blocked(tx, PHONE)
            assert await inbound.is_blocked(tx, None), "who withholds theirs"
            kept = list((await tx.execute(text("SELECT number_hash FROM opt_outs"))).scalars())
            assert len(kept) == 1, "and once only"
            assert unkeyed("opt-out", PHONE) not in kept
            # A process of the older version still runs beside.
            old_row = {"hash": unkeyed("opt-out", PHONE)}
            await tx.execute(text("INSERT INTO opt_outs (number_hash) VALUES (:hash)"), old_row)
    for database in databases:
        await database.aclose()


async def test_what_was_deleted_under_an_older_version_does_not_come_back(migrated_url: str) -> None:
    day = date(2026, 11, 23)
    gone = Memory("1", "fact", "My sister is called Ann", "sister's name", 3, day, None, NOON, NOON)
    database = Database.open(migrated_url)
    async with database.write() as tx:
        row = await call(tx, await person(tx))
        bare = marks(partial(memories.unkeyed, row.user_id, row.persona_id), gone)
        await memories.mark(tx, row.user_id, row.persona_id, bare, NOON)
    await unlock(database, (ONE,))
    again = Finding("fact", "Ann is the name of my sister", "family")
    other = Finding("fact", "My boss is called Joan", "boss's name")
    async with database.write() as tx:
        kept = await memories.marks(tx, row.user_id, row.persona_id)
        assert len(kept) == len(bare)
        assert not {half for mark in kept for half in mark.split()} & {
            half for mark in bare for half in mark.split()
        }
        await remembering.keep(tx, row.id, Learned(day.isoformat(), (again, other)), NOON)
        assert [each.text for each in await memories.of(tx, row.user_id, row.persona_id)] == [other.text]
    await database.aclose()


@pytest.mark.parametrize("rings", [((ONE,), (ONE,)), ((OTHER, ONE), (ONE,)), ((ONE,), (OTHER, ONE))])
async def test_two_first_starts_at_the_same_time_agree_or_one_is_refused(
    migrated_url: str, rings: tuple[tuple[bytes, ...], tuple[bytes, ...]]
) -> None:
    """Refused is the one that cannot open what the other made: it would not know whom the other may not ring."""
    databases = [Database.open(migrated_url) for _ in rings]
    for database in databases:
        async with database.read() as tx:  # connected, so that neither has a head start
            assert await sealed_keys(tx) == {}
    found = await asyncio.gather(*map(_started, databases, rings))
    keys = {key for key in found if key is not None}
    assert len(keys) == 1
    if rings[0][0] == rings[1][0]:
        assert None not in found
    for database in databases:
        await database.aclose()


async def _started(database: Database, ring: tuple[bytes, ...]) -> bytes | None:
    try:
        await unlock(database, ring)
    except BadSettings:
        return None
    return database.number_key.value


def test_the_key_is_in_no_repr(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'x.db'}")
    database.number_key.value = b"secretsecret"
    assert "secret" not in repr(database.number_key)
