"""The screen of my simulated phone: where the carrier is simulated, a code has to be read somewhere."""

from __future__ import annotations

from server.errors import not_found
from server.routing import AnyOp, Ask, Op, View
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


OPS: tuple[AnyOp, ...] = (
    Op(
        "GET", "/api/simulation/texts", texts, "Texts to my simulated phone, newest first", reply=TextList,
        refuses=((404, "not_found"),),
    ),
)  # fmt: skip
