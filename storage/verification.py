"""Codes sent to numbers: what was sent, how often it was guessed, how much was sent lately.

A code goes with the account that asked for it. That one was sent stays, for limits are counted from it, with hashes in
the place of the number and of the asker's network.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update

from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.ids import new_id
from storage.number_hashes import hashed
from storage.records import Verification
from storage.rows import columns, first, record
from storage.tables import codes_sent as counted
from storage.tables import phone_verifications as sent

MAX_GUESSES = 5
LINE_DIGITS = 4
"""Numbers that differ in their last digits only are neighbours."""


async def start(
    tx: Tx,
    user_id: str,
    e164: str,
    code_hash: str,
    expires_at: datetime,
    now: datetime,
    *,
    region: str = "",
    network: str = "",
) -> Verification:
    """`code_hash` is empty where the carrier makes the code. `network` is who asked, as limits count it."""
    row = insert(tx, sent).values(
        id=new_id(), user_id=user_id, e164=e164, code_hash=code_hash, expires_at=expires_at, created_at=now,
    )  # fmt: skip
    started = record(Verification, (await tx.execute(row.returning(*columns(sent, Verification)))).one())
    await tx.execute(
        insert(tx, counted).values(
            verification_id=started.id, region=region, at=now, expires_at=expires_at,
            number_hash=hashed(tx, "code", e164), prefix_hash=hashed(tx, "code", e164[:-LINE_DIGITS]),
            network_hash=hashed(tx, "code from", network),
        )
    )  # fmt: skip
    return started


async def name(tx: Tx, verification_id: str, sid: str) -> None:
    """The carrier made a code for it, which it calls so."""
    await tx.execute(update(sent).where(sent.c.id == verification_id).values(sid=sid))


async def latest(tx: Tx, user_id: str) -> Verification | None:
    """The code sent last, also when it is used up; earlier ones no longer count."""
    query = select(*columns(sent, Verification)).where(sent.c.user_id == user_id)
    return await first(tx, Verification, query.order_by(sent.c.created_at.desc(), sent.c.id).limit(1))


async def guess(tx: Tx, verification_id: str) -> int:
    """Counts a guess before it is compared; how many are left then. -1: none was left, do not compare."""
    open_ = (sent.c.id == verification_id, sent.c.finished_at.is_(None), sent.c.guesses < MAX_GUESSES)
    counted = update(sent).where(*open_).values(guesses=sent.c.guesses + 1).returning(sent.c.guesses)
    made = (await tx.execute(counted)).scalar_one_or_none()
    return -1 if made is None else MAX_GUESSES - int(made)


async def finish(tx: Tx, verification_id: str) -> bool:
    """Uses the code up. Of two at once, one gets True."""
    unused = (sent.c.id == verification_id, sent.c.finished_at.is_(None))
    if (await tx.execute(update(sent).where(*unused).values(finished_at=UtcNow()))).rowcount != 1:
        return False
    confirmed = update(counted).where(counted.c.verification_id == verification_id)
    await tx.execute(confirmed.values(confirmed=True))
    return True


async def sends_since(
    tx: Tx,
    *,
    since: datetime,
    user_id: str | None = None,
    e164: str | None = None,
    near: str | None = None,
    network: str | None = None,
) -> int:
    """Codes sent after `since` that match all that is given; `near`: to a number and its neighbours."""
    query = select(func.count()).select_from(counted).where(counted.c.at > since)
    if user_id is not None:
        query = query.join(sent).where(sent.c.user_id == user_id)
    if e164 is not None:
        query = query.where(counted.c.number_hash == hashed(tx, "code", e164))
    if near is not None:
        query = query.where(counted.c.prefix_hash == hashed(tx, "code", near[:-LINE_DIGITS]))
    if network is not None:
        query = query.where(counted.c.network_hash == hashed(tx, "code from", network))
    return int((await tx.execute(query)).scalar_one())


async def confirmed_of(tx: Tx, region: str, since: datetime, now: datetime, latest: int) -> tuple[int, int]:
    """Of the latest codes to a country after `since` that were typed in or are too old for it: (typed in, all)."""
    settled = (counted.c.region == region, counted.c.at > since)
    decided = counted.c.confirmed | (counted.c.expires_at <= now)
    last = select(counted.c.confirmed).where(*settled, decided).order_by(counted.c.at.desc()).limit(latest)
    found = last.subquery()
    query = select(func.count().filter(found.c.confirmed), func.count()).select_from(found)
    confirmed, total = (await tx.execute(query)).one()
    return int(confirmed), int(total)


async def numbers_of(tx: Tx, user_id: str, since: datetime) -> set[str]:
    """The numbers the user proved after `since`."""
    proved = (sent.c.user_id == user_id, sent.c.finished_at.is_not(None), sent.c.created_at > since)
    return set((await tx.execute(select(sent.c.e164).where(*proved))).scalars())
