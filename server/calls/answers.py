"""A call that was picked up: noted in its row, and given a one-time token for its media socket.

The same on every node: the webhook of the answer may land on any, whoever conducts the call.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from storage import calls, personas, stream_tokens
from storage.db import Tx
from storage.records import OVER, STATUS_RANK, CallRow

TOKEN_LIFE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Answer:
    """`moved`: this is the first that is heard of the answer."""

    token: str = field(repr=False)
    moved: bool


async def take_answer(
    tx: Tx, call_id: str, sid: str, now: datetime, *, epoch: int | None = None
) -> Answer | None:
    """None when the call is over or being ended, that leg is not its leg, or whoever asks, by `epoch`, has lost it."""
    # Before the token refers to the call: two that are asked at once would each wait for the other's token to be gone.
    row = await calls.lock(tx, call_id)
    if row is None or not goes_on(row) or (row.sid is not None and row.sid != sid):
        return None
    if epoch is not None and row.epoch != epoch:
        return None
    token = await new_token(tx, call_id, sid, now)
    moved = await calls.advance(tx, call_id, "in-progress", at=now, sid=sid)
    if moved:
        await personas.met(tx, row.user_id, row.persona_id, now)
    return Answer(token, moved)


def goes_on(row: CallRow) -> bool:
    """Whether somebody may still be connected to the call, as far as its row knows."""
    return STATUS_RANK[row.status] != OVER and row.given_up_at is None


def since_answer(row: CallRow, now: datetime) -> int | None:
    """Of a call that came in, and so begins answered: for how many milliseconds it is; None of any other."""
    if row.direction == "outbound" or row.answered_at is None:
        return None
    return max(0, round((now - row.answered_at).total_seconds() * 1000))


async def new_token(tx: Tx, call_id: str, sid: str, now: datetime) -> str:
    """Lets one media socket onto the call, once, for a moment."""
    token = secrets.token_urlsafe(32)
    await stream_tokens.add(tx, hash_of(token), call_id, sid, now + TOKEN_LIFE)
    return token


def hash_of(token: str) -> str:
    """What is kept of a stream token."""
    return hashlib.sha256(token.encode()).hexdigest()
