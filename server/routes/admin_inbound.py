"""Numbers that are not answered when they ring. `server/operators.py` says who may block one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from server.errors import invalid
from server.inbound.senders import WITHHELD, named
from server.operators import noted, operator
from server.routing import AnyOp, Ask, Body, Op, Text, View
from storage import inbound


class Block(Body):
    """`blocked` false answers the number again; left out, it is only looked up."""

    phone: Annotated[
        Text,
        Field(min_length=1, max_length=40, description="With its country, +1 202 555 0142; or withheld."),
    ]
    blocked: bool | None = None


class Blocked(View):
    phone: str
    blocked: bool


async def block(ask: Ask[Block, None]) -> Blocked:
    """Not in an address, since addresses are logged."""
    operator(ask)
    try:
        e164 = named(ask.body.phone)
    except ValueError as error:
        raise invalid("phone", str(error)) from None
    async with ask.parts.database.write() as tx:
        if ask.body.blocked is not None:
            if ask.body.blocked:
                await inbound.block(tx, e164, "operator", ask.parts.clock.utc())
            else:
                await inbound.unblock(tx, e164)
            action = "inbound.blocked" if ask.body.blocked else "inbound.unblocked"
            await noted(tx, ask, action, "withheld" if e164 is None else f"number ending in {e164[-2:]}")
        return Blocked(phone=e164 or WITHHELD, blocked=await inbound.is_blocked(tx, e164))


OPS: tuple[AnyOp, ...] = (
    Op("POST", "/api/admin/inbound-blocks", block, "Do not answer a number, or again", body=Block, reply=Blocked,
       refuses=((404, "not_found"),)),
)  # fmt: skip
