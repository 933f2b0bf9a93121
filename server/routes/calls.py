"""Calls: place one, look at it, end it. Whether a call may be placed is `server/desk.py`'s to say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.money import usd
from server.calls.endings import duration
from server.calls.longest import LimitedBy, allowed
from server.calls.open_points import Variables, kept
from server.errors import not_found
from server.money import prices
from server.parts import PlaceCall
from server.routes.call_files import FilesView, kept_files
from server.routing import AnyOp, Ask, Body, Op, PageQuery, Text, Usd, View, When
from storage import calls, charges, ledger, notes, pricing, turns
from storage.bounds import bound
from storage.db import Tx
from storage.free import Bounding
from storage.records import OVER, STATUS_RANK, CallRow, CallStatus, Channel, Direction, TurnRow

Ident = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class NewCall(Body):
    persona_id: Ident
    scenario_id: Ident | None = None
    context: Annotated[
        Text, Field(max_length=2000, description="What the persona should know this time.")
    ] = ""
    variables: Variables = Field(default_factory=dict)
    max_minutes: Annotated[int, Field(ge=1, le=240)] | None = None
    channel: Channel = "phone"


class CallView(View):
    id: str
    status: CallStatus
    end_reason: str | None
    persona_id: str
    scenario_id: str | None
    channel: Channel
    direction: Annotated[Direction, Field(description="Who rang: we did, or I.")]
    phone_last2: str | None
    context: str
    variables: dict[str, str]
    max_minutes: int
    created_at: When
    answered_at: When | None
    ended_at: When | None
    duration_seconds: int | None
    total_usd: Usd
    scheduled_call_id: str | None
    memory: Annotated[
        str | None,
        Field(
            description="Whether it is remembered: kept, or why not (money, failed, late); null: not asked."
        ),
    ]


class Latencies(View):
    """From the caller's last audible sample to the first of the answer, at the carrier."""

    turns: int
    p50_ms: int
    p95_ms: int


class Eager(View):
    """Replies begun before the turn was over, and what those dropped have cost."""

    begun: int
    used: int
    dropped_usd: Usd


class TimedCall(CallView):
    latency: Latencies | None


class WholeCall(TimedCall):
    eager: Eager
    files: Annotated[
        FilesView | None,
        Field(description="null until the books are closed and nothing is written any more."),
    ]


class CallList(View):
    items: list[TimedCall]
    next_cursor: str | None


class CostLineView(View):
    service: str
    model: str
    unit: str
    quantity: int
    usd: Usd


class CostSecondView(View):
    """What was bought in that second since the answer, and of which service; a refund is negative."""

    second: int
    usd: Usd
    services: dict[str, Usd]


class BoundView(View):
    """What a call that goes on may come to at most, as things stand, and which limit that is.

    From about `warn_usd` on the persona says that it runs out.
    """

    by: Bounding
    usd: Usd
    warn_usd: Usd


class Costs(View):
    total_usd: Usd
    held_usd: Usd
    lines: list[CostLineView]
    per_second: list[CostSecondView]
    limit: Annotated[BoundView | None, Field(description="null once the call is settled.")]


class TurnLatency(View):
    """Milliseconds after the caller's last audible sample."""

    end_of_turn_ms: int
    first_token_ms: int
    first_audio_ms: int
    first_frame_ms: int
    audible_ms: int


class TurnView(View):
    """One line of the transcript; of the agent's words, those that were heard.

    `unheard` is what the agent was to say besides when it was interrupted, as far as that is known; else empty.
    `latency` is how fast a caller's turn was answered, null where it was not or the answer was cut off.
    """

    index: int
    role: Literal["caller", "agent"]
    text: str
    started_ms: int
    ended_ms: int
    interrupted: bool
    unheard: str
    latency: TurnLatency | None


class Transcript(View):
    items: list[TurnView]
    next_cursor: str | None


def is_over(call: CallRow) -> bool:
    return STATUS_RANK[call.status] == OVER


def view(call: CallRow) -> CallView:
    return CallView(
        id=call.id,
        status=call.status,
        end_reason=call.end_reason,
        persona_id=call.persona_id,
        scenario_id=call.scenario_id,
        channel=call.channel,
        direction=call.direction,
        phone_last2=call.phone_e164[-2:] if call.phone_e164 else None,
        context=call.context,
        variables=kept(call.variables),
        max_minutes=call.max_minutes,
        created_at=call.created_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        duration_seconds=duration(call),
        total_usd=usd(call.total_nano),
        # The dial's id begins with the schedule's.
        scheduled_call_id=call.scheduled_call_id and call.scheduled_call_id.rsplit(".", 2)[0],
        memory=call.memory,
    )


def turn_view(turn: TurnRow) -> TurnView:
    return TurnView(
        index=turn.index,
        role=turn.role,
        text=turn.text,
        started_ms=turn.started_ms,
        ended_ms=turn.ended_ms,
        interrupted=turn.interrupted,
        unheard=turn.unheard,
        latency=_latency(turn),
    )


def _latency(turn: TurnRow) -> TurnLatency | None:
    stages = {name: getattr(turn, name) for name in TurnLatency.model_fields}
    return None if turn.audible_ms is None else TurnLatency(**stages)


def percentile(values: Sequence[int], percent: int) -> int:
    """The smallest value that at least so many percent do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


async def mine(tx: Tx, user_id: str, call_id: str) -> CallRow:
    call = await calls.get_for(tx, user_id, call_id)
    if call is None:
        raise not_found()
    return call


class PlacedCall(CallView):
    limited_by: Annotated[
        LimitedBy,
        Field(
            description="Whose `max_minutes` holds: what the order asked for, or the lower one of another."
        ),
    ]


async def place(ask: Ask[NewCall, None]) -> PlacedCall:
    new = ask.body
    order = PlaceCall(
        persona_id=new.persona_id,
        scenario_id=new.scenario_id,
        context=new.context,
        max_minutes=new.max_minutes,
        channel=new.channel,
        variables=new.variables,
    )
    placed = await ask.parts.desk.place(ask.user, order, ask.idempotency())
    return PlacedCall(**view(placed).model_dump(), limited_by=await _limited_by(ask, placed))


async def _limited_by(ask: Ask[NewCall, None], placed: CallRow) -> LimitedBy:
    asked, server = ask.body.max_minutes, ask.parts.settings.max_call_minutes
    if placed.max_minutes == asked:
        return "order"
    try:
        async with ask.parts.database.read() as tx:
            found = await allowed(
                tx,
                ask.user.id,
                order=asked,
                scenario_id=placed.scenario_id,
                persona_id=placed.persona_id,
                server=server,
            )
    except LookupError:  # deleted since the order was placed, whose answer this is again
        return "server"
    return found.by


def _latencies(waits: list[int]) -> Latencies | None:
    if not waits:
        return None
    return Latencies(turns=len(waits), p50_ms=percentile(waits, 50), p95_ms=percentile(waits, 95))


async def listing(ask: Ask[None, PageQuery]) -> CallList:
    async with ask.parts.database.read() as tx:
        page = await calls.page(tx, ask.user.id, ask.query.cursor, ask.query.limit)
        waits = await turns.waits(tx, [call.id for call in page.items])
    listed = [
        TimedCall(**view(call).model_dump(), latency=_latencies(waits.get(call.id, [])))
        for call in page.items
    ]
    return CallList(items=listed, next_cursor=page.next_cursor)


async def show(ask: Ask[None, None]) -> WholeCall:
    async with ask.parts.database.read() as tx:
        call = await mine(tx, ask.user.id, ask.ident())
        waits = await turns.waits(tx, [call.id])
        begun = await notes.eager(tx, call.id)
    closed = call.final_at is not None
    files = await asyncio.to_thread(kept_files, ask.parts.settings.calls_dir, call.id) if closed else None
    dropped = sum(reply.nano for reply in begun if not reply.committed)
    used = sum(reply.committed for reply in begun)
    return WholeCall(
        **view(call).model_dump(),
        latency=_latencies(waits.get(call.id, [])),
        eager=Eager(begun=len(begun), used=used, dropped_usd=usd(dropped)),
        files=files,
    )


async def costs(ask: Ask[None, None]) -> Costs:
    async with ask.parts.database.read() as tx:
        call = await mine(tx, ask.user.id, ask.ident())
        lines = await charges.cost_lines(tx, call.id)
        seconds = await charges.cost_seconds(tx, call.id)
        hold = await ledger.hold_of(tx, call.id)
        limit = await _limit(ask, tx, call)
    held = hold.amount_nano if hold is not None and hold.status == "open" else 0
    return Costs(
        total_usd=usd(call.total_nano),
        held_usd=usd(held),
        lines=[
            CostLineView(
                service=line.service,
                model=line.model,
                unit=line.unit,
                quantity=line.quantity,
                usd=usd(line.amount_nano),
            )
            for line in lines
        ],
        per_second=[
            CostSecondView(
                second=second.second,
                usd=usd(second.nano),
                services={service: usd(nano) for service, nano in second.services.items()},
            )
            for second in seconds
        ],
        limit=limit,
    )


async def _limit(ask: Ask[None, None], tx: Tx, call: CallRow) -> BoundView | None:
    """The warning comes at the user's percentage of a budget, or about a minute before the end: of little, halfway."""
    settings, now = ask.parts.settings, ask.parts.clock.utc()
    if (found := await bound(tx, call, now)) is None:
        return None
    listed = await pricing.current(tx, now, settings.price_list)
    near_end = found.most - min(prices.last_minute(listed, settings, call), found.most // 2)
    warned = near_end if found.warn_used is None else min(found.warn_used, near_end)
    return BoundView(by=found.by, usd=usd(found.most), warn_usd=usd(warned))


async def transcript(ask: Ask[None, None]) -> Transcript:
    async with ask.parts.database.read() as tx:
        call = await mine(tx, ask.user.id, ask.ident())
        found: Sequence[TurnRow] = await turns.of_call(tx, call.id)
    return Transcript(items=[turn_view(turn) for turn in found], next_cursor=None)


async def hang_up(ask: Ask[None, None]) -> CallView:
    return view(await ask.parts.desk.hang_up(ask.user.id, ask.ident()))


OPS: tuple[AnyOp, ...] = (
    Op(
        "POST", "/api/calls", place, "Ring me", body=NewCall, reply=PlacedCall, status=202,
        refuses=(
            (402, "insufficient_credit"), (402, "budget_exhausted"), (403, "phone_not_verified"),
            (403, "not_allowed_number"), (403, "opted_out"), (404, "not_found"), (409, "call_in_progress"),
            (409, "idempotency_conflict"), (429, "rate_limited"),
        ),
        headers=(("Idempotency-Key", "The same key and body again answer with the same call."),),
    ),
    Op("GET", "/api/calls", listing, "My calls, newest first", query=PageQuery, reply=CallList),
    Op("GET", "/api/calls/{id}", show, "One of them", reply=WholeCall),
    Op("GET", "/api/calls/{id}/costs", costs, "What it cost, by service and second", reply=Costs),
    Op("GET", "/api/calls/{id}/transcript", transcript, "What was said", reply=Transcript),
    Op("POST", "/api/calls/{id}/hangup", hang_up, "End it", reply=CallView, status=202),
)  # fmt: skip
