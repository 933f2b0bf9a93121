"""My credit and my budget, the price list, and what n minutes come to. Amounts are decimal strings of dollars."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from pipeline.core.guard import NotAllowed, Why
from pipeline.core.money import Nanos, parse_usd, usd
from server import numbers, permits
from server.calls.longest import LimitedBy, Longest, allowed
from server.errors import invalid, not_found
from server.money import prices
from server.money.destinations import for_number, price_of
from server.routing import AnyOp, Ask, Body, Op, PageQuery, Query, Usd, View, When
from server.settings import Settings
from storage import ledger, pricing
from storage.db import Tx
from storage.records import Budget, BudgetPeriod, Channel, PriceRow, User


def _positive(text: str) -> str:
    if parse_usd(text) <= 0:
        raise ValueError("has to be more than nothing; for no limit leave it empty")
    return text


Amount = Annotated[
    str,
    Field(max_length=19, description="More than 0 US dollars, a decimal string with at most nine places."),
    AfterValidator(_positive),
]


class Credits(View):
    """`held_usd` is set aside for calls; `available_usd` is the rest."""

    balance_usd: Usd
    held_usd: Usd
    available_usd: Usd


class TransactionView(View):
    id: int
    kind: str
    amount_usd: Usd
    balance_after_usd: Usd
    call_id: str | None
    note: str
    created_at: When


class TransactionsQuery(PageQuery):
    call_id: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Only what this call came to.")
    ] = None


class TransactionList(View):
    items: list[TransactionView]
    next_cursor: str | None


class BudgetBody(Body):
    """At least one of these. What is left out stays as it is: no limit is lifted but by null."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    per_call_usd: Amount | None = None
    daily_usd: Amount | None = None
    monthly_usd: Amount | None = None
    warn_percent: Annotated[int | None, Field(ge=1, le=100, description="null: as at the beginning, 80.")] = (
        None
    )
    auto_cutoff: Annotated[bool | None, Field(description="null: as at the beginning, true.")] = None


class PeriodView(View):
    """`period` is a date or a month of the user's time zone; `held_usd` is set aside for calls going on."""

    period: str
    spent_usd: Usd
    held_usd: Usd
    limit_usd: Usd | None


class BudgetView(View):
    """The limits, and what of the present day and month is used."""

    per_call_usd: Usd | None
    daily_usd: Usd | None
    monthly_usd: Usd | None
    warn_percent: int
    auto_cutoff: bool
    day: PeriodView
    month: PeriodView


class PriceView(View):
    """`price_usd` buys `block_units` units; quantities are raised to `minimum`, then to a multiple of `increment`.

    `destination`: the country, or the first digits of the numbers, it is for; empty where it holds for all. `in_use`:
    my calls are billed by it while every engine works; the others of the list are those of engines that are not set.
    """

    service: str
    model: str
    unit: str
    price_usd: Usd
    block_units: int
    increment: int
    minimum: int
    note: str
    destination: str
    source: str
    seen_on: date | None
    in_use: bool


class PriceListView(View):
    items: list[PriceView]
    next_cursor: str | None


class EstimateQuery(Query):
    minutes: int = Field(ge=1, le=240)
    persona_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    scenario_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    channel: Annotated[
        Channel, Field(description="A call in the browser needs no carrier, so costs less.")
    ] = "phone"


class EstimateLine(View):
    service: str
    model: str
    unit: str
    quantity: int
    usd: Usd


class EstimateView(View):
    """Of a call in which both sides talk half of the time.

    `minutes` is what was asked for, or `longest_minutes` where that is less: the most that the server, the persona and
    the scenario allow. `limited_by` names which of the two it is, and whose limit.
    """

    minutes: int
    longest_minutes: int
    limited_by: LimitedBy
    channel: Channel
    total_usd: Usd
    lines: list[EstimateLine]


async def balance(ask: Ask[None, None]) -> Credits:
    async with ask.parts.database.read() as tx:
        found = await ledger.balance(tx, ask.user.id)
    return Credits(
        balance_usd=usd(found.balance), held_usd=usd(found.held), available_usd=usd(found.available)
    )


async def transactions(ask: Ask[None, TransactionsQuery]) -> TransactionList:
    query = ask.query
    async with ask.parts.database.read() as tx:
        page = await ledger.transactions(tx, ask.user.id, query.cursor, query.limit, call_id=query.call_id)
    items = [
        TransactionView(
            id=item.id,
            kind=item.kind,
            amount_usd=usd(item.amount_nano),
            balance_after_usd=usd(item.balance_after_nano),
            call_id=item.call_id,
            note=item.note,
            created_at=item.created_at,
        )
        for item in page.items
    ]
    return TransactionList(items=items, next_cursor=page.next_cursor)


def _nanos(amount: str | None) -> Nanos | None:
    return None if amount is None else parse_usd(amount)


def _usd(amount: Nanos | None) -> str | None:
    return None if amount is None else usd(amount)


def _period_view(period: BudgetPeriod) -> PeriodView:
    return PeriodView(
        period=period.key.partition(":")[2],
        spent_usd=usd(period.spent_nano),
        held_usd=usd(period.held_nano),
        limit_usd=_usd(period.limit_nano),
    )


async def _budget_view(ask: Ask[None, None] | Ask[BudgetBody, None], tx: Tx, budget: Budget) -> BudgetView:
    day, month = await ledger.periods_of(tx, ask.user.id, ask.parts.clock.utc())
    return BudgetView(
        per_call_usd=_usd(budget.per_call_nano),
        daily_usd=_usd(budget.daily_nano),
        monthly_usd=_usd(budget.monthly_nano),
        warn_percent=budget.warn_percent,
        auto_cutoff=budget.auto_cutoff,
        day=_period_view(day),
        month=_period_view(month),
    )


async def budget(ask: Ask[None, None]) -> BudgetView:
    async with ask.parts.database.read() as tx:
        return await _budget_view(ask, tx, await ledger.budget(tx, ask.user.id))


async def put_budget(ask: Ask[BudgetBody, None]) -> BudgetView:
    """Calls going on keep what is held for them; what they ask for next goes by the new limits."""
    if not ask.body.model_fields_set:
        raise invalid(
            "body", f"give at least one of {', '.join(BudgetBody.model_fields)}; null lifts a limit"
        )
    async with ask.parts.database.write() as tx:
        await ledger.lock_account(tx, ask.user.id)
        wanted = _changed(await ledger.budget(tx, ask.user.id), ask.body)
        return await _budget_view(ask, tx, await ledger.put_budget(tx, ask.user.id, wanted))


def _changed(budget: Budget, body: BudgetBody) -> Budget:
    given = body.model_fields_set
    amounts = {"per_call_nano": "per_call_usd", "daily_nano": "daily_usd", "monthly_nano": "monthly_usd"}
    changed: dict[str, Any] = {
        name: _nanos(getattr(body, field)) for name, field in amounts.items() if field in given
    }
    for name in given - set(amounts.values()):
        value = getattr(body, name)
        changed[name] = getattr(Budget(), name) if value is None else value
    return replace(budget, **changed)


async def _current(ask: Ask[None, None] | Ask[None, EstimateQuery]) -> list[PriceRow]:
    parts = ask.parts
    async with parts.database.read() as tx:
        return await pricing.current(tx, parts.clock.utc(), parts.settings.price_list)


async def price_list(ask: Ask[None, None]) -> PriceListView:
    """Which carrier's line is in use goes by the number the account has."""
    rows = await _current(ask)
    used = {row.price.price_id for row in _used(rows, ask.user, ask.parts.settings)}
    items = [
        PriceView(
            service=row.price.service,
            model=row.price.model,
            unit=row.price.unit,
            price_usd=usd(row.price.price_nano),
            block_units=row.price.block_units,
            increment=row.price.increment,
            minimum=row.price.minimum,
            note=row.price.note,
            destination=row.destination,
            source=row.source,
            seen_on=row.seen_on,
            in_use=row.price.price_id in used,
        )
        for row in rows
    ]
    return PriceListView(items=items, next_cursor=None)


async def estimate(ask: Ask[None, EstimateQuery]) -> EstimateView:
    query = ask.query
    most = await _longest(ask)
    minutes = min(query.minutes, most.minutes)
    rows, settings = await _current(ask), ask.parts.settings
    if query.channel == "phone":
        rows = _where_it_rings(rows, ask.user, settings)
    lines = prices.estimate(prices.price_book(rows, settings, query.channel), minutes)
    return EstimateView(
        minutes=minutes,
        longest_minutes=most.minutes,
        limited_by="order" if minutes == query.minutes else most.by,
        channel=query.channel,
        total_usd=usd(sum(line.amount for line in lines)),
        lines=[
            EstimateLine(
                service=line.price.service,
                model=line.price.model,
                unit=line.price.unit,
                quantity=line.quantity,
                usd=usd(line.amount),
            )
            for line in lines
        ],
    )


async def _longest(ask: Ask[None, EstimateQuery]) -> Longest:
    query, server = ask.query, ask.parts.settings.max_call_minutes
    try:
        async with ask.parts.database.read() as tx:
            return await allowed(
                tx, ask.user.id, order=None, scenario_id=query.scenario_id, persona_id=query.persona_id, server=server
            )  # fmt: skip
    except LookupError:
        raise not_found() from None


def _where_it_rings(rows: list[PriceRow], user: User, settings: Settings) -> list[PriceRow]:
    """What holds for the user's phone; for whoever has none yet, for a phone of the operator's first country."""
    try:
        found = _for_phone(rows, user, settings)
    except ValueError:  # a row written by hand
        raise permits.refusal(NotAllowed(Why.NO_NUMBER)) from None
    if price_of(row.price for row in found) is None:
        raise permits.refusal(NotAllowed(Why.UNPRICED))
    return found


def _for_phone(rows: list[PriceRow], user: User, settings: Settings) -> list[PriceRow]:
    """Raises `ValueError` for what is no number."""
    e164 = user.phone_e164 or ""
    return for_number(rows, e164, numbers.region(e164) if e164 else settings.operator_country[0])


def _used(rows: list[PriceRow], user: User, settings: Settings) -> list[PriceRow]:
    try:
        there = _for_phone(rows, user, settings)
    except ValueError:
        there = rows
    wanted = prices.models(settings)
    return [row for row in there if wanted.get(row.price.service) == row.price.model]


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/credits", balance, "My balance", reply=Credits),
    Op(
        "GET", "/api/credits/transactions", transactions, "My ledger, newest first", query=TransactionsQuery,
        reply=TransactionList,
    ),
    Op("GET", "/api/budget", budget, "My limits", reply=BudgetView),
    Op("PUT", "/api/budget", put_budget, "Set my limits", body=BudgetBody, reply=BudgetView),
    Op("GET", "/api/prices", price_list, "The price list", reply=PriceListView),
    Op(
        "GET", "/api/estimate", estimate, "What n minutes come to", query=EstimateQuery, reply=EstimateView,
        refuses=((403, "not_allowed_number"), (404, "not_found")),
    ),
)  # fmt: skip
