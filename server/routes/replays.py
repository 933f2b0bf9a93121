"""A call that is over, run again on the server: are the same decisions made, and the same sounds?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.errors import Refused
from pipeline.journal_file import parts
from server.routes.calls import mine
from server.routing import AnyOp, Ask, Op, View


class ReplayView(View):
    """`level` 2 has the sound in it, where calls are recorded; 1 every decision."""

    exact: bool
    level: Literal[1, 2]
    steps: int
    seconds: float
    summary: str
    first_difference: Annotated[
        str | None, Field(description="The first line of the journal that is not as recorded.")
    ]


async def replay(ask: Ask[None, None]) -> ReplayView:
    async with ask.parts.database.read() as tx:
        call = await mine(tx, ask.user.id, ask.ident())
    if call.final_at is None:
        raise Refused("invalid_request", "The call is not over, or not settled yet.", status=409)
    journals: list[Path] = await asyncio.to_thread(parts, ask.parts.settings.calls_dir, call.id)
    if not journals:
        raise Refused(
            "invalid_request",
            "The journal of this call is not kept any more, or lies on another node.",
            status=409,
        )
    found = await ask.parts.replays.run(journals)
    return ReplayView(
        exact=found.exact,
        level=found.level,
        steps=found.steps,
        seconds=found.seconds,
        summary=found.summary,
        first_difference=found.first_difference,
    )


OPS: tuple[AnyOp, ...] = (
    Op(
        "POST", "/api/calls/{id}/replay", replay, "Run it again, from its journal", reply=ReplayView,
        refuses=((409, "invalid_request"), (503, "overloaded")),
    ),
)  # fmt: skip
