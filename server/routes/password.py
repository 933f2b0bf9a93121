"""A new password: the old one proves who asks, and every other session ends."""

from __future__ import annotations

from server.errors import invalid
from server.routes.auth import LoggedIn, Password, Tried, guessing, refuse_guessable, view
from server.routing import AnyOp, Ask, Body, Op
from storage import users


class NewPassword(Body):
    current_password: Tried
    new_password: Password


async def change(ask: Ask[NewPassword, None]) -> LoggedIn:
    """Wrong guesses count as failed logins, whatever session they come from."""
    parts = ask.parts
    with guessing(parts.limiters, ask.user.email, ask.client) as guess:
        guess.right = await parts.passwords.matches(ask.body.current_password, ask.user.password_hash)
    if not guess.right:
        raise invalid("current_password", "is not your password")
    refuse_guessable("new_password", ask.body.new_password, email=ask.user.email, name=ask.user.name)
    hashed = await parts.passwords.hash(ask.body.new_password)
    async with parts.database.write() as tx:
        user = await users.update(tx, ask.user.id, password_hash=hashed, end_sessions=True)
    issued = parts.tokens.issue(user)
    return LoggedIn(token=issued.token, expires_at=issued.expires_at, user=view(user))


OPS: tuple[AnyOp, ...] = (
    Op(
        "POST", "/api/me/password", change, "Change my password; ends every session and begins one",
        body=NewPassword, reply=LoggedIn, refuses=((429, "rate_limited"),),
    ),
)  # fmt: skip
