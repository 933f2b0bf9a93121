"""`callmeback password`: another password for somebody who forgot theirs. Nobody gets one by e-mail: there is none."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from server.commands.command import configured, fail, on_record, open_database, run


def password(email: Annotated[str, typer.Argument(help="Whose account.")]) -> None:
    """Give an account another password, asked for or read from standard input; ends its sessions."""
    from server.guessable import check_new
    from server.passwords import Passwords, check_length
    from storage import users

    chosen = _asked()

    async def work() -> None:
        hashes = Passwords(configured().bcrypt_cost)
        try:
            async with open_database() as database:
                async with database.read() as tx:
                    user = await users.by_email(tx, email)
                if user is None:
                    fail("there is no account with this address")
                try:
                    check_new(check_length(chosen), email=user.email, name=user.name)
                except ValueError as error:
                    fail(f"the password {error}")
                hashed = await hashes.hash(chosen)
                async with database.write() as tx:
                    await users.update(tx, user.id, password_hash=hashed, end_sessions=True)
                    await on_record(tx, "password.set", user.id)
        finally:
            hashes.close()
        typer.echo(f"{email} has a new password; whoever was logged in has to log in again")

    run(work())


def _asked() -> str:
    """Never an argument: those can be read by everybody on the machine."""
    if sys.stdin.isatty():
        return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
