"""The key under which telephone numbers and deleted memories are hashed, and how it is sealed with the server's secret.

It is random, made once a database, and never changes: a hash has to mean the same number for as long as that number
wants no calls. What changes is the secret, so the key is kept sealed with each secret that was in use; a start seals it
anew where only a former one opens it. Without any of them nobody knows who must not be rung, so there is no start.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

import structlog
from cryptography.fernet import Fernet, InvalidToken

from server.auth import derived_key, key_id
from server.settings import BadSettings
from storage import memories, number_hashes
from storage.db import Database

KEY_BYTES = 32

log = structlog.get_logger(__name__)

LOST = (
    "JWT_SECRET: the database remembers under another one which numbers want no calls; put that one into "
    "JWT_SECRET_PREVIOUS for one start (docs/security.md, Telephone numbers, if it is lost)"
)


async def unlock(database: Database, ring: tuple[bytes, ...]) -> None:
    """Gives the database its key of numbers, made at the first start. Raises `BadSettings` where no secret opens it."""
    async with database.write() as tx:
        # Of processes at their first start one makes it, whichever secrets they have; the others read what it made.
        await number_hashes.keys_alone(tx)
        sealed = await number_hashes.sealed_keys(tx)
        key = secrets.token_bytes(KEY_BYTES) if not sealed else _opened(sealed, ring)
        signing = key_id(ring[0])
        if signing not in sealed:
            await number_hashes.put_sealed(tx, signing, seal(key, ring[0]))
    database.number_key.value = key
    # Another transaction: this may take a while, and nobody's start is to wait for it.
    async with database.write() as tx:
        if keyed := await number_hashes.key_all(tx):
            log.info("numbers_keyed", hashes=keyed)
    if marks := await _key_marks(database):
        log.info("marks_keyed", marks=marks)


async def _key_marks(database: Database) -> int:
    """All that an older version left, which may be many: in short transactions, for calls need the database too."""
    count = 0
    while True:
        async with database.write() as tx:
            some = await memories.key_some(tx)
        if not some:
            return count
        count += some


def seal(key: bytes, secret: bytes) -> str:
    """Only the secret opens it, and it opens to this key or not at all."""
    return _seal(secret).encrypt(key).decode()


def unseal(sealed: str, secret: bytes) -> bytes | None:
    """None where another secret sealed it, or it was altered."""
    try:
        return _seal(secret).decrypt(sealed.encode())
    except InvalidToken:
        return None


def _opened(sealed: Mapping[str, str], ring: tuple[bytes, ...]) -> bytes:
    for secret in ring:
        if (found := sealed.get(key_id(secret))) is not None and (key := unseal(found, secret)) is not None:
            return key
    raise BadSettings((LOST,))


def _seal(secret: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(derived_key((secret,), "numbers: sealing")))
