"""Which of the carrier's prices holds for a number, and a sheet of such prices as an operator writes it.

A price without a destination holds everywhere. One for a country goes before it, and one for a prefix of numbers, the
longest that fits, before both. Where none fits the number has no price, and so is not rung: another country's price
would be a guess, paid by the operator.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

import phonenumbers

from pipeline.core.money import Nanos, parse_usd
from pipeline.core.tariff import Price
from server.calls.casting import CARRIER_MODEL
from storage.pricing import Rate
from storage.records import PriceRow

T = TypeVar("T")

MINUTE_S = 60
NEEDED = ("destination", "usd_per_minute")
OPTIONAL = ("source", "seen_on", "note")
_PREFIX = re.compile(r"\+[1-9]\d{0,14}")


class BadSheet(ValueError):
    """What is wrong with a sheet of prices, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def for_number(rows: Iterable[PriceRow], e164: str, region: str) -> list[PriceRow]:
    """The rows that hold for a number: of each line that is priced by destination, only the one that fits best."""
    best: dict[tuple[str, str, str], PriceRow] = {}
    for row in rows:
        price = row.price
        line = (price.service, price.model, price.unit)
        closeness = _closeness(row, e164, region)
        if closeness >= 0 and (line not in best or closeness > _closeness(best[line], e164, region)):
            best[line] = row
    return list(best.values())


def _closeness(row: PriceRow, e164: str, region: str) -> int:
    """Negative where it does not hold at all."""
    where = row.destination
    if not where:
        return 0
    if where.startswith("+"):
        return len(where) if e164.startswith(where) else -1
    return 1 if where == region else -1


def price_of(book: Iterable[Price]) -> Nanos | None:
    """What the carrier asks for a minute of a call out under this price book; None where it has no such line."""
    for price in book:
        if (price.service, price.model, price.unit) == ("carrier", CARRIER_MODEL, "second"):
            return Nanos(-(-price.price_nano * MINUTE_S // price.block_units))
    return None


def without_price(rows: Collection[PriceRow], regions: Iterable[str]) -> list[str]:
    """Those of these countries of which no number can have a price, and so none is rung."""
    priced = {row.destination for row in rows if price_of([row.price]) is not None}

    def has_one(region: str) -> bool:
        code = f"+{phonenumbers.country_code_for_region(region)}"
        prefixes = (where for where in priced if where.startswith("+"))
        return bool(priced & {"", region}) or any(
            where.startswith(code) or code.startswith(where) for where in prefixes
        )

    return [region for region in regions if not has_one(region)]


def read(sheet: Path, today: date) -> list[Rate]:
    """The prices of a CSV file whose first line names its columns. Raises `BadSheet`, `OSError`."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file)
        names = tuple(lines.fieldnames or ())
        if missing := [name for name in NEEDED if name not in names]:
            raise BadSheet([f"the first line names no column {', '.join(missing)}"])
        if unknown := [name for name in names if name not in {*NEEDED, *OPTIONAL}]:
            raise BadSheet(
                [f"{', '.join(unknown)} is no column; there are {', '.join((*NEEDED, *OPTIONAL))}"]
            )
        found, problems = [], []
        for row in lines:
            try:
                if None in row:
                    raise ValueError("has more columns than names")
                found.append(_rate({name: (row[name] or "").strip() for name in names}, sheet.name, today))
            except ValueError as error:
                problems.append(f"line {lines.line_num}: {error}")
    seen: set[str] = set()
    for rate in found:
        if rate.destination in seen:
            problems.append(f"{rate.destination} is there twice")
        seen.add(rate.destination)
    if problems or not found:
        raise BadSheet(problems or ["there is no price in it"])
    return found


def _rate(row: dict[str, str], source: str, today: date) -> Rate:
    return Rate(
        destination=_said(row, "destination", _destination),
        price_nano=_said(row, "usd_per_minute", parse_usd),
        source=row.get("source") or source,
        seen_on=_said(row, "seen_on", date.fromisoformat, today.isoformat()),
        note=row.get("note", ""),
    )


def _said(row: dict[str, str], name: str, parse: Callable[[str], T], absent: str = "") -> T:
    try:
        return parse(row.get(name) or absent)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _destination(text: str) -> str:
    if text in phonenumbers.SUPPORTED_REGIONS or _PREFIX.fullmatch(text):
        return text
    raise ValueError(
        "is a country of two capital letters, such as GB, or the first digits of numbers, such as +4420"
    )
