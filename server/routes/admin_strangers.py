"""Strangers who ring, as the operator sees them: their calls, what they cost, and numbers that are not answered.

`server/operators.py` says who may see it, `server/inbound/door.py` who is answered.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import Response

from pipeline.core.money import parse_usd, usd
from server.errors import not_found
from server.operators import noted, operator
from server.routes.admin_views import DaySpend
from server.routing import AnyOp, Ask, Op, Usd, View, When, no_content
from storage import calls, inbound, overview, strangers
from storage.free import room

DAYS = 31
CALLS_SHOWN, BLOCKS_SHOWN = 20, 200
WITHHELD = "withheld"


class StrangerCall(View):
    """`phone_last2` null where the caller withheld the number, or what was said is cleared."""

    id: str
    phone_last2: str | None
    persona_id: str
    status: str
    end_reason: str | None
    created_at: When
    seconds: int | None
    total_usd: Usd
    blocked: bool


class BlockView(View):
    """`id` is for lifting it; `phone_last2` null for all who withhold their number, or where it was not kept."""

    id: str
    withheld: bool
    phone_last2: str | None
    by: str
    at: When


class Strangers(View):
    """`answered`: whom the server answers. `days`: of a month, UTC; `daily_usd` is what a day may cost."""

    answered: Literal["everybody", "users", "off"]
    daily_usd: Usd
    spent_today_usd: Usd
    held_usd: Usd
    left_today_usd: Usd
    month_usd: Usd
    month_calls: int
    days: list[DaySpend]
    calls: list[StrangerCall]
    blocks: Annotated[list[BlockView], Field(description=f"The latest {BLOCKS_SHOWN}.")]


async def show(ask: Ask[None, None]) -> Strangers:
    operator(ask)
    now, settings = ask.parts.clock.utc(), ask.parts.settings
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    async with ask.parts.database.read() as tx:
        today = await strangers.today(tx, parse_usd(settings.inbound_daily_usd), now)
        days = await overview.spend_by_day(tx, midnight - timedelta(days=DAYS), strangers.ACCOUNT)
        page = await calls.page(tx, strangers.ACCOUNT, None, CALLS_SHOWN)
        month = [day for day in days if day.day.startswith(f"{now:%Y-%m}")]
        return Strangers(
            answered=settings.inbound_calls,
            daily_usd=usd(today.limit_nano or 0),
            spent_today_usd=usd(today.spent_nano),
            held_usd=usd(today.held_nano),
            left_today_usd=usd(max(0, room(today) or 0)),
            month_usd=usd(sum(day.nano for day in month)),
            month_calls=sum(day.calls for day in month),
            days=[DaySpend(day=day.day, calls=day.calls, usd=usd(day.nano)) for day in days],
            calls=[
                StrangerCall(
                    id=call.id,
                    phone_last2=call.phone_e164[-2:] if call.phone_e164 else None,
                    persona_id=call.persona_id,
                    status=call.status,
                    end_reason=call.end_reason,
                    created_at=call.created_at,
                    seconds=_seconds(call.answered_at, call.ended_at),
                    total_usd=usd(call.total_nano),
                    blocked=await inbound.is_blocked(tx, call.phone_e164),
                )
                for call in page.items
            ],
            blocks=[
                BlockView(
                    id=block.number_hash or WITHHELD,
                    withheld=not block.number_hash,
                    phone_last2=block.last2 or None,
                    by=block.method,
                    at=block.created_at,
                )
                for block in await inbound.blocked(tx, BLOCKS_SHOWN)
            ],
        )


async def block_caller(ask: Ask[None, None]) -> Response:
    """By the call, so that the number need not be known. One who withheld theirs stands for all who do."""
    operator(ask)
    async with ask.parts.database.write() as tx:
        call = await calls.get_for(tx, strangers.ACCOUNT, ask.ident())
        if call is None:
            raise not_found()
        await inbound.block(tx, call.phone_e164, "operator", ask.parts.clock.utc())
        await noted(tx, ask, "inbound.blocked", _subject((call.phone_e164 or "")[-2:]))
    return no_content()


async def unblock(ask: Ask[None, None]) -> Response:
    operator(ask)
    ident = ask.ident()
    async with ask.parts.database.write() as tx:
        lifted = await inbound.unblock_hash(tx, "" if ident == WITHHELD else ident)
        if lifted is None:
            raise not_found()
        await noted(tx, ask, "inbound.unblocked", _subject(lifted.last2) if lifted.number_hash else WITHHELD)
    return no_content()


def _subject(last2: str) -> str:
    return f"number ending in {last2}" if last2 else WITHHELD


def _seconds(answered: When | None, ended: When | None) -> int | None:
    return None if answered is None or ended is None else round((ended - answered).total_seconds())


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/admin/strangers", show, "Strangers who ring, and what they cost", reply=Strangers,
       refuses=((404, "not_found"),)),
    Op("POST", "/api/admin/strangers/{id}/block", block_caller, "Do not answer who made this call again", status=204),
    Op("DELETE", "/api/admin/inbound-blocks/{id}", unblock, "Answer that number again", status=204),
)  # fmt: skip
