"""What of my scheduled calls was missed that I have not seen yet."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field
from starlette.responses import Response

from server.routing import AnyOp, Ask, Body, Op, View, When, no_content
from storage import missed
from storage.missed import Missed

SHOWN = 100


class MissedView(View):
    """A run that did not ring. `detail` says why; `at` is when that was noted."""

    schedule_id: str
    persona_id: str
    run_at: When
    detail: str
    at: When


class MissedList(View):
    items: list[MissedView]
    next_cursor: str | None


class Seen(Body):
    until: Annotated[AwareDatetime, Field(description="`at` of the newest that I have seen.")]


async def listing(ask: Ask[None, None]) -> MissedList:
    async with ask.parts.database.read() as tx:
        found = await missed.unseen(tx, ask.user.id, SHOWN)
    return MissedList(items=[_view(each) for each in found], next_cursor=None)


def _view(each: Missed) -> MissedView:
    try:
        zone = ZoneInfo(each.timezone)
    except (ValueError, KeyError, OSError):  # a row written by hand
        zone = ZoneInfo("UTC")
    return MissedView(
        schedule_id=each.schedule_id,
        persona_id=each.persona_id,
        run_at=each.run_at.astimezone(zone),
        detail=each.detail,
        at=each.at,
    )


async def seen(ask: Ask[Seen, None]) -> Response:
    """What is missed from now on is told all the same, whatever moment is named."""
    now = ask.parts.clock.utc()
    async with ask.parts.database.write() as tx:
        await missed.seen(tx, ask.user.id, now if ask.body.until > now else ask.body.until.astimezone(UTC))
    return no_content()


OPS: tuple[AnyOp, ...] = (
    Op(
        "GET", "/api/missed-calls", listing, "My scheduled calls that were missed and I have not seen, newest first",
        reply=MissedList,
    ),
    Op("POST", "/api/missed-calls/seen", seen, "I have seen them", body=Seen, status=204),
)  # fmt: skip
