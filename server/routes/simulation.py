"""My simulated phone, where the carrier is simulated: its screen, where codes are read, and ringing the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.carriers.simulated import SimulatedCarrier
from server import numbers
from server.errors import invalid, not_found
from server.routing import AnyOp, Ask, Body, Op, Text, View
from storage import verification


class TextView(View):
    body: str


class TextList(View):
    items: list[TextView]
    next_cursor: str | None


async def texts(ask: Ask[None, None]) -> TextList:
    """Only what went to the number that I am proving, or have proved, to be mine."""
    kept = ask.parts.texts
    if kept is None:
        raise not_found()
    async with ask.parts.database.read() as tx:
        proving = await verification.latest(tx, ask.user.id)
    number = ask.user.phone_e164 if proving is None else proving.e164
    found = [] if number is None else kept.to(number)
    return TextList(items=[TextView(body=message.body) for message in found], next_cursor=None)


class RingIn(Body):
    """A number may be any: caller ids are forged with little effort, and who answers must bear that."""

    phone: Annotated[Text, Field(max_length=64)] | None = Field(
        None, description="The number it rings from; my verified one unless given."
    )
    keys: list[Annotated[str, Field(pattern="^[0-9*#]{0,32}$")]] = Field(
        default_factory=list, max_length=8, description="What is keyed in at each menu, such as 271828#."
    )


class Rung(View):
    """The carrier's name of the call. What became of it: my calls, where the PIN was mine; else the server's log."""

    sid: str


async def ring_in(ask: Ask[RingIn, None]) -> Rung:
    carrier = ask.parts.carrier
    if not isinstance(carrier, SimulatedCarrier):
        raise not_found()
    phone = ask.body.phone or (ask.user.phone_e164 if ask.user.phone_verified_at is not None else None)
    if phone is None:
        raise invalid("phone", "say which number it rings from, or verify yours")
    try:
        caller = numbers.normalise(phone)
    except ValueError as error:
        raise invalid("phone", str(error)) from None
    url = ask.parts.settings.public_url
    keys = tuple(ask.body.keys)
    return Rung(sid=carrier.ring_in(caller, f"{url}/twilio/voice", f"{url}/twilio/status", keys).sid)


OPS: tuple[AnyOp, ...] = (
    Op(
        "GET", "/api/simulation/texts", texts, "Texts to my simulated phone, newest first", reply=TextList,
        refuses=((404, "not_found"),),
    ),
    Op(
        "POST", "/api/simulation/calls", ring_in, "Have a simulated phone ring the server", body=RingIn, reply=Rung,
        status=202, refuses=((404, "not_found"),),
    ),
)  # fmt: skip
