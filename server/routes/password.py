"""A new password: the old one proves who asks, and every other session ends."""

from __future__ import annotations

from server.errors import invalid
from server.limits import take_all
from server.routes.auth import LoggedIn, Password, refuse_guessable, view
from server.routing import AnyOp, Ask, Body, Op
from storage import users


class NewPassword(Body):
    current_password: Password
    new_password: Password


async def change(ask: Ask[NewPassword, None]) -> LoggedIn:
    """Wrong guesses count as failed logins, whatever session they come from."""
    parts, account = ask.parts, f"{ask.user.email} {ask.client}"
    take_all([(parts.limiters.login_network, ask.client), (parts.limiters.login, account)])
    right: bool | None = None
    try:
        right = await parts.passwords.matches(ask.body.current_password, ask.user.password_hash)
    finally:
        if right is not False:
            parts.limiters.login_network.give_back(ask.client)
            parts.limiters.login.give_back(account)
    if not right:
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
