"""The operator's view: calls, nodes, engines, jobs, books, people. `server/operators.py` says who may see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, ValidationError
from starlette.responses import Response

from pipeline.core.money import Nanos, parse_usd, usd
from server import numbers
from server.errors import invalid, not_found
from server.money.auditing import KIND, RESULT, AuditResult, ask_for_audit
from server.operators import noted, operator
from server.routes.admin_views import (
    Audited,
    Granted,
    JobCount,
    NumberView,
    Overview,
    People,
    Spend,
    books_view,
    call_view,
    dead_view,
    engines_view,
    entry_view,
    node_view,
    packs_view,
    person_view,
    spend_view,
)
from server.routing import AnyOp, Ask, Body, Op, Query, Text, Words, no_content
from storage import jobs, ledger, opt_outs, overview, users
from storage.db import Tx
from storage.standing import standing

LIVE_SHOWN, DEAD_SHOWN, LOG_SHOWN, PEOPLE_SHOWN = 200, 20, 20, 50
DAYS = 31
"""At least the whole month."""


class PeopleQuery(Query):
    """A part of the address or the name."""

    q: Annotated[Text, Field(max_length=200)] = ""


class Grant(Body):
    """`key`: granted at most once under it, however often it is asked for."""

    usd: Annotated[Text, Field(max_length=20, description="Dollars, such as 12.50.")]
    note: Annotated[Words, Field(max_length=200)] = "granted by the operator"
    key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]


class Number(Body):
    phone: Annotated[
        Text, Field(min_length=1, max_length=40, description="With its country: +1 202 555 0142.")
    ]


async def show(ask: Ask[None, None]) -> Overview:
    operator(ask)
    async with ask.parts.database.read() as tx:
        live = await overview.live(tx, LIVE_SHOWN)
        here = ask.parts.settings.node_url
        counts = await jobs.counts(tx)
        nodes = await overview.all_nodes(tx)
        return Overview(
            now=ask.parts.clock.utc(),
            live_calls=await overview.live_count(tx),
            calls=[call_view(call) for call in live],
            nodes=[node_view(node, here, live) for node in nodes],
            engines=engines_view(nodes, here),
            jobs=[
                JobCount(kind=kind, status=status, number=number)
                for (kind, status), number in sorted(counts.items())
            ],
            dead_jobs=[dead_view(job) for job in await overview.dead_jobs(tx, DEAD_SHOWN)],
            packs=[packs_view(pack) for pack in await overview.sold(tx)],
            books=books_view(await standing(tx)),
            audit=await _audited(tx),
            opt_outs=await overview.opted_out(tx),
            log=[entry_view(one) for one in await overview.noted(tx, LOG_SHOWN)],
        )


async def _audited(tx: Tx) -> Audited:
    """A result that another version wrote, and that cannot be read, is none."""
    waiting = await overview.job_waits(tx, KIND)
    for one in await overview.noted(tx, 1, RESULT):
        try:
            result = AuditResult.model_validate_json(one.detail)
        except ValidationError:
            break
        return Audited(waiting=waiting, at=one.created_at, result=result)
    return Audited(waiting=waiting, at=None, result=None)


async def spend(ask: Ask[None, None]) -> Spend:
    operator(ask)
    now = ask.parts.clock.utc()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    async with ask.parts.database.read() as tx:
        days = await overview.spend_by_day(tx, today - timedelta(days=DAYS))
        services = await overview.spend_by_service(tx, today.replace(day=1))
    return spend_view(days, services, today.date().isoformat())


async def audit(ask: Ask[None, None]) -> Audited:
    """Another one is not begun while one is due or under way."""
    operator(ask)
    async with ask.parts.database.write() as tx:
        if await ask_for_audit(tx, ask.parts.clock):
            await noted(tx, ask, "audit.asked", "books")
        return await _audited(tx)


async def people(ask: Ask[None, PeopleQuery]) -> People:
    operator(ask)
    async with ask.parts.database.read() as tx:
        found = await overview.people(tx, ask.query.q.strip(), PEOPLE_SHOWN)
    return People(items=[person_view(person) for person in found], next_cursor=None)


async def grant(ask: Ask[Grant, None]) -> Granted:
    operator(ask)
    try:
        amount = parse_usd(ask.body.usd)
    except ValueError as error:
        raise invalid("usd", str(error)) from None
    if amount <= 0:
        raise invalid("usd", "has to be more than nothing")
    async with ask.parts.database.write() as tx:
        user = await users.by_id(tx, ask.ident())
        if user is None:
            raise not_found()
        granted = await _grant(tx, ask, user.id, amount)
        balance = await ledger.balance(tx, user.id)
    return Granted(granted=granted, balance_usd=usd(balance.balance))


async def _grant(tx: Tx, ask: Ask[Grant, None], user_id: str, amount: Nanos) -> bool:
    granted = await ledger.grant(
        tx,
        user_id=user_id,
        amount=amount,
        kind="grant",
        idem_key=f"grant:admin:{user_id}:{ask.body.key}",
        note=ask.body.note,
        now=ask.parts.clock.utc(),
    )
    if granted:
        await noted(tx, ask, "credit.granted", user_id, f"{usd(amount)} USD: {ask.body.note}")
    return granted


async def stop_calls(ask: Ask[Number, None]) -> Response:
    """For somebody who asked by letter: nobody rings the number from now on, and a call to it ends."""
    operator(ask)
    e164 = _e164(ask.body)
    await ask.parts.desk.opt_out(e164, "operator")
    async with ask.parts.database.write() as tx:
        await noted(tx, ask, "opt_out.added", f"number ending in {e164[-2:]}")
    return no_content()


async def look_up(ask: Ask[Number, None]) -> NumberView:
    operator(ask)
    e164 = _e164(ask.body)
    async with ask.parts.database.read() as tx:
        return NumberView(phone=e164, opted_out=await opt_outs.has(tx, e164))


def _e164(body: Number) -> str:
    try:
        return numbers.normalise(body.phone)
    except ValueError as error:
        raise invalid("phone", str(error)) from None


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/admin/overview", show, "Calls, nodes, engines, jobs, books", reply=Overview,
       refuses=((404, "not_found"),)),
    Op("GET", "/api/admin/spend", spend, "What calls cost, by day and by service", reply=Spend,
       refuses=((404, "not_found"),)),
    Op("POST", "/api/admin/audit", audit, "Have the books audited", reply=Audited, status=202,
       refuses=((404, "not_found"),)),
    Op("GET", "/api/admin/users", people, "Accounts by address or name", query=PeopleQuery, reply=People,
       refuses=((404, "not_found"),)),
    Op("POST", "/api/admin/users/{id}/credit", grant, "Give an account credit", body=Grant, reply=Granted),
    Op("POST", "/api/admin/opt-outs", stop_calls, "Never ring a number", body=Number, status=204,
       refuses=((404, "not_found"),)),
    Op("POST", "/api/admin/opt-outs/lookup", look_up, "Whether a number may be rung", body=Number,
       reply=NumberView, refuses=((404, "not_found"),)),
)  # fmt: skip
