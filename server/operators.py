"""Who may see what only the operator may: users with the role admin. To everybody else there is nothing there."""

from __future__ import annotations

from typing import Any

from server.errors import not_found
from server.routing import Ask
from storage import audit_trail
from storage.db import Tx
from storage.records import User


def operator(ask: Ask[Any, Any]) -> User:
    """Whoever asks, if they may; to others this is an unknown address."""
    if ask.user.role != "admin":
        raise not_found()
    return ask.user


async def noted(tx: Tx, ask: Ask[Any, Any], action: str, subject: str, detail: str = "") -> None:
    """What an operator does is on record, in the transaction in which it is done."""
    await audit_trail.note(tx, actor=f"user:{ask.user.id}", action=action, subject=subject, detail=detail)
