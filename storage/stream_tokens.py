"""One-time tokens for the media sockets, the carrier's and the browser's. Only the hash is kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from storage.db import Tx, insert
from storage.records import StreamToken
from storage.rows import columns, first, record
from storage.tables import calls, stream_tokens, token_blacklist, users


async def add(
    tx: Tx,
    token_hash: str,
    call_id: str,
    call_sid: str,
    expires_at: datetime,
    *,
    session_jti: str | None = None,
    session_version: int | None = None,
) -> None:
    """`session_…`: of the session that asked for it, where a person did."""
    await tx.execute(
        insert(tx, stream_tokens).values(
            token_hash=token_hash,
            call_id=call_id,
            call_sid=call_sid,
            expires_at=expires_at,
            session_jti=session_jti,
            session_version=session_version,
        )
    )


async def spend(tx: Tx, token_hash: str, now: datetime) -> StreamToken | None:
    """Uses the token up. Of any number at once exactly one gets it; None when spent, late or unknown."""
    valid = (
        stream_tokens.c.token_hash == token_hash,
        stream_tokens.c.spent_at.is_(None),
        stream_tokens.c.expires_at > now,
    )
    spent = update(stream_tokens).where(*valid).values(spent_at=now)
    row = (await tx.execute(spent.returning(*columns(stream_tokens, StreamToken)))).first()
    return None if row is None else record(StreamToken, row)


async def session_holds(tx: Tx, token: StreamToken) -> bool:
    """Whether the session that asked for the token was neither logged out nor ended with all others."""
    if token.session_jti is None:
        return False
    query = (
        select(users.c.id)
        .join(calls, calls.c.user_id == users.c.id)
        .outerjoin(token_blacklist, token_blacklist.c.jti == token.session_jti)
        .where(
            calls.c.id == token.call_id,
            users.c.token_version == token.session_version,
            token_blacklist.c.jti.is_(None),
        )
    )
    return (await tx.execute(query)).first() is not None


async def find(tx: Tx, token_hash: str) -> StreamToken | None:
    """Whose token this is; whether it may still be spent is another question."""
    query = select(*columns(stream_tokens, StreamToken)).where(stream_tokens.c.token_hash == token_hash)
    return await first(tx, StreamToken, query)
