"""A call as it happens, as server-sent events (HTML standard, section 9.2). Reads news and rows; changes nothing.

Ids increase within a call, and `Last-Event-ID` resumes after the one named. A reader that was
too slow is told how many events it missed in a comment. A call that is over and no longer in
memory is told from its rows, from the start: a turn carries its index, so a reader that
resumed can leave out what it has.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response, StreamingResponse

from pipeline.core.errors import Refused
from server.auth import authenticate
from server.calls.endings import ending, spent
from server.news import Listening
from server.routes.calls import is_over, mine, turn_view
from server.routing import AnyOp, Ask, Op
from storage import ledger, turns
from storage.db import DatabaseDown
from storage.records import CallRow

CHECK_S = 5.0
"""How often a stream makes sure that its token still holds. Where nothing was sent since, a comment keeps it alive."""


async def events(ask: Ask[None, None]) -> Response:
    async with ask.parts.database.read() as tx:
        call = await mine(tx, ask.user.id, ask.ident())
    after = _last_id(ask.request.headers.get("last-event-id", ""))
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    if is_over(call) and not ask.parts.news.knows(call.id):
        stream = _told(ask, call, after)
    else:
        stream = _followed(ask, call, after)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _last_id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _event(ident: int, kind: str, data: Mapping[str, object]) -> str:
    return f"id: {ident}\nevent: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


async def _followed(ask: Ask[None, None], call: CallRow, after: int) -> AsyncIterator[str]:
    with ask.parts.desk.follow(call) as elsewhere:
        listening = ask.parts.news.listen(call.id, after, ahead=elsewhere)
        async for text in _live(ask, listening, call.id, after):
            yield text


async def _live(ask: Ask[None, None], listening: Listening, call_id: str, after: int) -> AsyncIterator[str]:
    clock = ask.parts.clock
    yield "retry: 2000\n\n"
    check_at = clock.seconds() + CHECK_S
    last = after
    quiet = True
    while True:
        try:
            async with asyncio.timeout(max(0.0, check_at - clock.seconds())):
                item = await anext(listening)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if quiet:
                yield ": still here\n\n"
        else:
            quiet = False
            if item.missed:
                yield f": missed {item.missed}\n\n"
            last = item.id
            yield _event(item.id, item.kind, item.data)
        if clock.seconds() >= check_at:
            check_at = clock.seconds() + CHECK_S
            quiet = True
            call = await _checked(ask, call_id)
            if call is None:
                return
            if is_over(call) and not ask.parts.news.knows(call_id):
                # It ended on another node, or before this one started.
                async for text in _told(ask, call, last):
                    yield text
                return


async def _checked(ask: Ask[None, None], call_id: str) -> CallRow | None:
    """The call as it is now, or None when this reader may not go on: the client asks again and is told why."""
    try:
        await authenticate(ask.request.headers.get("authorization"), ask.parts.tokens, ask.parts.database)
        async with ask.parts.database.read() as tx:
            return await mine(tx, ask.user.id, call_id)
    except (Refused, DatabaseDown):
        return None


async def _told(ask: Ask[None, None], call: CallRow, after: int) -> AsyncIterator[str]:
    async with ask.parts.database.read() as tx:
        lines = await turns.of_call(tx, call.id)
        bought = await ledger.cost_lines(tx, call.id)
    ident = after
    for line in lines:
        ident += 1
        yield _event(ident, "turn", turn_view(line).model_dump())
    yield _event(ident + 1, "cost", spent(call, bought))
    yield _event(ident + 2, "ended", ending(call))


OPS: tuple[AnyOp, ...] = (
    Op(
        "GET", "/api/calls/{id}/events", events, "It as it happens: status, turn, cost, warning, ended",
        media="text/event-stream", headers=(("Last-Event-ID", "Resume after this event."),),
    ),
)  # fmt: skip
