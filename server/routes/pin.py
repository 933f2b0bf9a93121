"""The PIN by which I prove on the telephone who I am."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.core.guard import NotAllowed, Why
from server import permits
from server.inbound.pins import check_pin
from server.routes.auth import UserView, view
from server.routing import AnyOp, Ask, Body, Op, Text
from storage import inbound, users


class NewPin(Body):
    pin: Annotated[
        Text,
        Field(max_length=10, description="6 to 10 digits, no row and no repetition."),
        AfterValidator(check_pin),
    ]


async def set_pin(ask: Ask[NewPin, None]) -> UserView:
    """Also where another was: guesses of that one are forgotten."""
    if ask.user.phone_e164 is None or ask.user.phone_verified_at is None:
        raise permits.refusal(NotAllowed(Why.UNVERIFIED))
    hashed = await ask.parts.passwords.hash(ask.body.pin)
    async with ask.parts.database.write() as tx:
        await inbound.forget_guesses(tx, ask.user.id)
        return view(await users.set_inbound_pin(tx, ask.user.id, hashed))


async def remove_pin(ask: Ask[None, None]) -> UserView:
    """Whoever rings from my number is a stranger then."""
    async with ask.parts.database.write() as tx:
        return view(await users.set_inbound_pin(tx, ask.user.id, None))


OPS: tuple[AnyOp, ...] = (
    Op(
        "PUT", "/api/me/inbound-pin", set_pin, "Choose the PIN I key in when I ring", body=NewPin, reply=UserView,
        refuses=((403, "phone_not_verified"),),
    ),
    Op("DELETE", "/api/me/inbound-pin", remove_pin, "Remove that PIN", reply=UserView),
)  # fmt: skip
