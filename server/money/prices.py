"""Which lines of the price list a call is billed by, and what n minutes usually come to.

The lines follow from the engines that are set. An estimate is for people: what is really
charged is metered, and what a call may spend is decided in `pipeline/core/budget.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.core.money import Nanos
from pipeline.core.tariff import Price, PriceBook, Service, cost
from server import numbers
from server.engines import models as engine_models
from server.money.destinations import for_number
from server.settings import Settings
from storage.records import CallRow, Channel, PriceRow

AGENT_CHARS_A_MINUTE = 420
"""Half a minute of speech at fourteen characters a second."""
REPLIES_A_MINUTE = 5
PROMPT_TOKENS = 700
REPLY_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Estimate:
    price: Price
    quantity: int
    amount: Nanos


def models(settings: Settings, channel: Channel = "phone") -> dict[Service, str]:
    """The model of each service a call buys while every engine works. A browser call has no carrier."""
    engines: dict[Service, str] = {service: names[0] for service, names in engine_models(settings).items()}
    if channel == "browser":
        return engines
    return {"carrier": "twilio", "stream": "twilio-media", "amd": "twilio", **engines}


def language_models(settings: Settings) -> tuple[str, ...]:
    """The models a persona may be given, the one that speaks for all others first."""
    return engine_models(settings)["llm"]


def price_book(rows: Iterable[PriceRow], settings: Settings, channel: Channel = "phone") -> PriceBook:
    """The rows of a current price list that a call of this channel pins."""
    wanted = models(settings, channel)
    return PriceBook(tuple(row.price for row in rows if wanted.get(row.price.service) == row.price.model))


def last_minute(rows: Sequence[PriceRow], settings: Settings, call: CallRow) -> Nanos:
    """What one more minute of this call comes to."""
    e164 = call.phone_e164 or ""
    try:
        region = numbers.region(e164) if e164 else settings.operator_country[0]
    except ValueError:  # a row written by hand
        region = settings.operator_country[0]
    book = price_book(for_number(rows, e164, region), settings, call.channel)
    one, two = (sum(line.amount for line in estimate(book, minutes)) for minutes in (1, 2))
    return Nanos(two - one)


def estimate(book: PriceBook, minutes: int) -> list[Estimate]:
    """What each line comes to in a call of this many minutes in which both sides talk half of the time."""
    quantities = {
        "second": 60 * minutes,
        "char": AGENT_CHARS_A_MINUTE * minutes,
        "token_in": REPLIES_A_MINUTE * PROMPT_TOKENS * minutes,
        "token_out": REPLIES_A_MINUTE * REPLY_TOKENS * minutes,
        "call": 1,
    }
    lines = []
    for price in book:
        quantity = quantities.get(price.unit, 0)
        if quantity:
            lines.append(Estimate(price, quantity, cost(price, quantity)))
    return lines
