"""The price list. Rows are never changed: a new price is a new row, and a call pins those it started under."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, get_args

from sqlalchemy import Row, or_, select

from pipeline.core.money import Nanos
from pipeline.core.tariff import Price, Service, Unit
from storage.db import Tx
from storage.records import PriceList, PriceRow
from storage.tables import pricing

SERVICES: tuple[str, ...] = get_args(Service)
"""What a call can buy. The table also holds text messages and verifications, which no call buys."""
MILLION = 1_000_000
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """What the carrier asks for each started minute to a destination: a country, or the first digits of numbers."""

    destination: str
    price_nano: Nanos
    source: str
    seen_on: date
    note: str = ""


async def current(tx: Tx, at: datetime, price_list: PriceList = "list") -> list[PriceRow]:
    """One row for each price line and destination, valid at `at`. The `free` list replaces what it names, no more."""
    query = (
        select(pricing)
        .where(pricing.c.service.in_(SERVICES), pricing.c.effective_from <= at)
        .where(or_(pricing.c.effective_to.is_(None), pricing.c.effective_to > at))
        .where(pricing.c.price_list.in_({"list", price_list}))
        # Later rows win: the asked list over the other, a newer price over an older one.
        .order_by(pricing.c.price_list == price_list, pricing.c.effective_from, pricing.c.id)
    )
    newest = {(row.service, row.model, row.unit, row.destination): row for row in await tx.execute(query)}
    return _priced(sorted(newest.values(), key=lambda row: int(row.id)))


async def set_own(
    tx: Tx, model: str, prices: Iterable[tuple[Unit, int]], at: datetime, price_list: PriceList
) -> bool:
    """The operator's own price of a language model, a million tokens; False when it stands so already."""
    wanted = dict(prices)
    have = {
        row.price.unit: row.price.price_nano
        for row in await current(tx, at, price_list)
        if row.price.service == "llm" and row.price.model == model and row.price.block_units == MILLION
    }
    if have == wanted:
        return False
    for unit, nano in wanted.items():
        await tx.execute(
            pricing.insert().values(
                provider="operator", service="llm", model=model, unit=unit, price_nano=nano,
                block_units=MILLION, source="LLM_PRICE_USD", seen_on=at.date(), effective_from=at,
            )
        )  # fmt: skip
    return True


async def set_rates(tx: Tx, model: str, rates: Iterable[Rate], at: datetime) -> int:
    """The carrier's prices by destination, from `at` on; how many are new. Those that stand so already are left."""
    stands = {
        row.destination: row.price.price_nano
        for row in await current(tx, at)
        if row.price.service == "carrier" and row.price.model == model and row.price.block_units == MINUTE_S
    }
    changed = [rate for rate in rates if stands.get(rate.destination) != rate.price_nano]
    for rate in changed:
        await tx.execute(
            pricing.insert().values(
                provider="operator", service="carrier", model=model, unit="second", price_nano=rate.price_nano,
                block_units=MINUTE_S, increment=MINUTE_S, destination=rate.destination, note=rate.note,
                source=rate.source, seen_on=rate.seen_on, effective_from=at,
            )
        )  # fmt: skip
    return len(changed)


async def by_ids(tx: Tx, ids: Iterable[int]) -> list[PriceRow]:
    """The rows a call pinned, in the order of their ids; valid or not by now."""
    query = select(pricing).where(pricing.c.id.in_(set(ids)), pricing.c.service.in_(SERVICES))
    return _priced((await tx.execute(query.order_by(pricing.c.id))).all())


def _priced(rows: Iterable[Row[Any]]) -> list[PriceRow]:
    return [
        PriceRow(
            price=Price(
                price_id=row.id,
                service=row.service,
                model=row.model,
                unit=row.unit,
                price_nano=row.price_nano,
                block_units=row.block_units,
                increment=row.increment,
                minimum=row.minimum,
                note=row.note,
            ),
            provider=row.provider,
            price_list=row.price_list,
            source=row.source,
            seen_on=row.seen_on,
            effective_from=row.effective_from,
            effective_to=row.effective_to,
            destination=row.destination,
        )
        for row in rows
    ]
