"""Telephone numbers that are kept without being known: as keyed hashes, to be counted and compared.

There are few enough numbers to try them all, so a hash without a key hides none. Nor does it hide words: the marks of
what a persona is to forget have the same key (`storage/memories.py`). The key is made once and lies in
the database, sealed with the server's secret (`server/number_key.py`): a number hashes to the same after the secret was
changed, or whoever wants no calls would be rung again. A `Database` is given the key before numbers are looked for.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from sqlalchemy import Column, delete, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from storage.db import NUMBER_KEY, NumberKey, Tx, insert
from storage.tables import codes_sent, dials, inbound_blocks, inbound_rings, number_keys, opt_outs

KEYED: Final = "k"
"""What a keyed hash begins with, as no hexadecimal digest does."""


class NoNumberKey(LookupError):
    """Numbers are asked about through a `Database` that was not given their key."""


def hashed(tx: Tx, purpose: str, value: str) -> str:
    """The hash of a number, or of what else tells who somebody is; of another `purpose` another one."""
    return _keyed(_key(tx), unkeyed(purpose, value))


def unkeyed(purpose: str, value: str) -> str:
    """What the key is put to. Rows of older versions hold it as it is, until `key_all`."""
    return hashlib.sha256(f"callmeback {purpose} {value}".encode()).hexdigest()


def keying(tx: Tx) -> Callable[[str], str]:
    """Puts the key to a hash that was made without one; for as long as the transaction. Raises `NoNumberKey`."""
    return partial(_keyed, _key(tx))


async def key_all(tx: Tx) -> int:
    """Puts the key to every hash of a number that an older version left without one; to how many."""
    key, count = _key(tx), 0
    for column in _COLUMNS:
        bare: ColumnElement[bool] = column.not_like(f"{KEYED}%") & (column != "")
        for old in (await tx.execute(select(column).where(bare).distinct())).scalars().all():
            new = _keyed(key, old)
            if column.primary_key and (await tx.execute(select(column).where(column == new))).first():
                await tx.execute(delete(column.table).where(column == old))  # noted twice, by two versions
            else:
                await tx.execute(update(column.table).where(column == old).values({column: new}))
            count += 1
    return count


async def keys_alone(tx: Tx) -> None:
    """Transactions that open the key, or make it, go one after the other. SQLite has but one writer anyway."""
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(number_keys.name, 0))))


async def sealed_keys(tx: Tx) -> Mapping[str, str]:
    """The key as each of the server's secrets sealed it, by that secret's public name."""
    return {row.kid: row.sealed for row in await tx.execute(select(number_keys.c.kid, number_keys.c.sealed))}


async def put_sealed(tx: Tx, kid: str, sealed: str) -> None:
    """One that is there stays."""
    row = insert(tx, number_keys).values(kid=kid, sealed=sealed)
    await tx.execute(row.on_conflict_do_nothing(index_elements=["kid"]))


_COLUMNS: tuple[Column[str], ...] = (
    opt_outs.c.number_hash, inbound_blocks.c.number_hash, dials.c.number_hash, inbound_rings.c.number_hash,
    codes_sent.c.number_hash, codes_sent.c.prefix_hash, codes_sent.c.network_hash,
)  # fmt: skip


def _keyed(key: bytes, words: str) -> str:
    return KEYED + hmac.digest(key, words.encode(), "sha256").hex()


def _key(tx: Tx) -> bytes:
    options = {} if tx.sync_connection is None else tx.sync_connection.get_execution_options()
    held: NumberKey | None = options.get(NUMBER_KEY)
    if held is None or held.value is None:
        raise NoNumberKey("the database was opened without the key of numbers")
    return held.value
