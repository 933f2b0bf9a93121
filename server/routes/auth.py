"""Accounts: register, log in, validate a token, log out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, EmailStr, Field
from starlette.responses import Response

from pipeline.core.errors import Refused
from server import numbers
from server.auth import end_session
from server.errors import invalid
from server.guessable import check_new
from server.limits import take_all
from server.metrics import LOGINS
from server.parts import Limiters
from server.passwords import check_length
from server.routing import AnyOp, Ask, Body, Op, Text, View, When, Words, no_content
from server.zones import zone_names
from storage import users
from storage.records import EmailTaken, User


def _zone(name: str) -> str:
    if name not in zone_names():
        raise ValueError("is no time zone, such as Europe/Berlin")
    return name


Email = Annotated[EmailStr, Field(max_length=254)]
Password = Annotated[str, AfterValidator(check_length), Field(description="8 to 1024 bytes of UTF-8.")]
Tried = Annotated[str, Field(description="One that cannot be a password is wrong like any other.")]
Zone = Annotated[str, AfterValidator(_zone), Field(description="IANA time zone name.", max_length=64)]
PersonName = Annotated[Words, Field(min_length=1, max_length=100)]
Phone = Annotated[Text, Field(max_length=32, description="A number in international form, +1 202 555 0100.")]


class Register(Body):
    email: Email
    password: Password
    name: PersonName
    phone: Phone | None = None
    timezone: Zone = "UTC"


class Login(Body):
    email: Annotated[Text, Field(max_length=254)]
    password: Tried


class MissedCallBack(View):
    """I was told that I am rung back, and was not: why, as the code of a problem, and when that was given up."""

    code: str
    at: When


class UserView(View):
    """An account, as its owner sees it. `quiet_hours` are one's own, null where the operator's hold.

    `phone_notice` is `lost` when somebody else verified the number since, `taken_over` when it was another account's.
    """

    id: str
    email: str
    name: str
    phone: str | None
    phone_verified: bool
    phone_notice: Literal["", "lost", "taken_over"]
    quiet_hours: str | None
    inbound_pin: Annotated[bool, Field(description="Whether I have a PIN for when I ring.")]
    missed_call_back: MissedCallBack | None
    timezone: str
    role: str
    created_at: When


class LoggedIn(View):
    token: str
    expires_at: When
    user: UserView


class Validated(View):
    valid: bool
    user: UserView


def _notice(user: User) -> Literal["", "lost", "taken_over"]:
    match user.phone_notice:
        case "lost" | "taken_over" as told:
            return told
        case _:
            return ""


def _missed(user: User) -> MissedCallBack | None:
    if user.missed_call_back_at is None:
        return None
    return MissedCallBack(code=user.missed_call_back, at=user.missed_call_back_at)


def view(user: User) -> UserView:
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        phone=user.phone_e164,
        phone_verified=user.phone_verified_at is not None,
        phone_notice=_notice(user),
        quiet_hours=user.quiet_hours,
        inbound_pin=user.inbound_pin_hash is not None,
        missed_call_back=_missed(user),
        timezone=user.timezone,
        role=user.role,
        created_at=user.created_at,
    )


async def register(ask: Ask[Register, None]) -> LoggedIn:
    parts, new = ask.parts, ask.body
    e164 = _normalised(new.phone)
    refuse_guessable("password", new.password, email=new.email, name=new.name)
    take_all([(parts.limiters.registration, ask.client)])
    password_hash = await parts.passwords.hash(new.password)
    now = parts.clock.utc()
    try:
        async with parts.database.write() as tx:
            user = await users.add(
                tx,
                email=new.email,
                password_hash=password_hash,
                name=new.name,
                phone=new.phone,
                timezone=new.timezone,
                now=now,
            )
            if e164 is not None:
                user = await users.set_phone(tx, user.id, e164)
    except EmailTaken:
        raise Refused("email_taken", "There is an account with this e-mail address.", status=409) from None
    issued = parts.tokens.issue(user)
    return LoggedIn(token=issued.token, expires_at=issued.expires_at, user=view(user))


def refuse_guessable(field: str, password: str, *, email: str, name: str) -> None:
    """Raises `Refused` about that field for a password that is among the first anybody would try."""
    try:
        check_new(password, email=email, name=name)
    except ValueError as error:
        raise invalid(field, str(error)) from None


def _normalised(phone: str | None) -> str | None:
    if phone is None:
        return None
    try:
        return numbers.normalise(phone)
    except ValueError as error:
        raise invalid("phone", str(error)) from None


@dataclass(slots=True)
class Guess:
    """A password that somebody tries. `right` is None until that is known."""

    right: bool | None = None


@contextmanager
def guessing(limiters: Limiters, email: str, client: str) -> Iterator[Guess]:
    """Around the check of a password. Raises `Refused(rate_limited)` where there were too many wrong ones.

    Counted as a failure beforehand, so that tries at the same moment cannot outrun the count.
    """
    taken = [(limiters.login_network, client), (limiters.login, f"{email.lower()} {client}")]
    take_all(taken)
    guess = Guess()
    try:
        yield guess
    finally:
        # Right, or nothing was learned about the password: no failure.
        if guess.right is not False:
            for limiter, key in taken:
                limiter.give_back(key)


async def login(ask: Ask[Login, None]) -> LoggedIn:
    parts = ask.parts
    with guessing(parts.limiters, ask.body.email, ask.client) as guess:
        async with parts.database.read() as tx:
            user = await users.by_email(tx, ask.body.email)
        guess.right = await parts.passwords.matches(ask.body.password, user.password_hash if user else None)
    if user is None or not guess.right:
        LOGINS.labels("refused").inc()
        raise Refused("bad_credentials", "The e-mail address or the password is wrong.", status=401)
    LOGINS.labels("let in").inc()
    issued = parts.tokens.issue(user)
    return LoggedIn(token=issued.token, expires_at=issued.expires_at, user=view(user))


async def validate(ask: Ask[None, None]) -> Validated:
    return Validated(valid=True, user=view(ask.user))


async def logout(ask: Ask[None, None]) -> Response:
    await end_session(ask.session, ask.parts.database)
    return no_content()


OPS: tuple[AnyOp, ...] = (
    Op(
        "POST", "/api/auth/register", register, "Make an account", body=Register, reply=LoggedIn, status=201,
        refuses=((409, "email_taken"), (429, "rate_limited"), (503, "overloaded")), public=True,
    ),
    Op(
        "POST", "/api/auth/login", login, "Get a token", body=Login, reply=LoggedIn,
        refuses=((401, "bad_credentials"), (429, "rate_limited"), (503, "overloaded")), public=True,
    ),
    Op("GET", "/api/auth/validate", validate, "Is my token good?", reply=Validated),
    Op("POST", "/api/auth/logout", logout, "End my token", status=204),
)  # fmt: skip
