"""What a persona remembers of me: mine to read, add to, correct and delete."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from pipeline.core.memory import LONGEST, Kind, Memory
from server import remembering
from server.errors import not_found
from server.routing import AnyOp, Ask, Body, Op, PageQuery, View, When, Words, no_content
from storage import memories, personas
from storage.db import Tx

Remembered = Annotated[
    Words, Field(max_length=LONGEST, description="One thing, in my own words: I am allergic to nuts.")
]


class MemoryText(Body):
    text: Remembered


class MemoryView(View):
    """A `fact`, the `summary` of a call, or a `thread` to come back to. `call_id` is null where I wrote it myself."""

    id: str
    kind: Kind
    text: str
    importance: Annotated[int, Field(description="1 to 5; where there are too many, the least goes first.")]
    call_id: str | None
    created_at: When
    updated_at: When


class MemoryList(View):
    items: list[MemoryView]
    next_cursor: str | None


def view(memory: Memory) -> MemoryView:
    return MemoryView(
        id=memory.id,
        kind=memory.kind,
        text=memory.text,
        importance=memory.importance,
        call_id=memory.call_id,
        created_at=memory.created_at,
        updated_at=memory.updated_at,
    )


async def _persona(tx: Tx, ident: str) -> str:
    if await personas.by_id(tx, ident) is None:
        raise not_found()
    return ident


async def listing(ask: Ask[None, PageQuery]) -> MemoryList:
    async with ask.parts.database.read() as tx:
        persona = await _persona(tx, ask.ident())
        page = await memories.page(tx, ask.user.id, persona, ask.query.cursor, ask.query.limit)
    return MemoryList(items=[view(memory) for memory in page.items], next_cursor=page.next_cursor)


async def add(ask: Ask[MemoryText, None]) -> MemoryView:
    async with ask.parts.database.write() as tx:
        persona = await _persona(tx, ask.ident())
        text = ask.body.text.strip()
        return view(await remembering.write(tx, ask.user, persona, text, ask.parts.clock.utc()))


async def correct(ask: Ask[MemoryText, None]) -> MemoryView:
    async with ask.parts.database.write() as tx:
        text, now = ask.body.text.strip(), ask.parts.clock.utc()
        memory = await remembering.correct(tx, ask.user, ask.ident(), ask.ident("mid"), text, now)
    if memory is None:
        raise not_found()
    return view(memory)


async def forget(ask: Ask[None, None]) -> Response:
    async with ask.parts.database.write() as tx:
        gone = await remembering.forget(tx, ask.user.id, ask.ident(), ask.ident("mid"), ask.parts.clock.utc())
    if not gone:
        raise not_found()
    return no_content()


async def forget_all(ask: Ask[None, None]) -> Response:
    async with ask.parts.database.write() as tx:
        persona = await _persona(tx, ask.ident())
        await remembering.forget_all(tx, ask.user.id, persona, ask.parts.clock.utc())
    return no_content()


OPS: tuple[AnyOp, ...] = (
    Op(
        "GET", "/api/personas/{id}/memories", listing, "What it remembers of me",
        query=PageQuery, reply=MemoryList,
    ),
    Op(
        "POST", "/api/personas/{id}/memories", add, "Tell it something", body=MemoryText, reply=MemoryView,
        status=201,
    ),
    Op("DELETE", "/api/personas/{id}/memories", forget_all, "Have it forget everything", status=204),
    Op(
        "PATCH", "/api/personas/{id}/memories/{mid}", correct, "Correct a memory", body=MemoryText,
        reply=MemoryView,
    ),
    Op("DELETE", "/api/personas/{id}/memories/{mid}", forget, "Have it forget one for good", status=204),
)  # fmt: skip
