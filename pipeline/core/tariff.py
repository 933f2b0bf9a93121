"""The price list a call is billed by, and what a quantity costs on it.

A price is whole nanodollars for a block of units, so list prices that are no whole
number of nanos a unit ($0.0059 a minute, by the second) stay exact. A cost is always
computed from the cumulative quantity and rounded up once; summing rounded slices
would make the bill depend on how often usage was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.core.money import Nanos

Unit = Literal["second", "char", "token_in", "token_cached", "token_out", "call"]
Service = Literal["carrier", "stream", "amd", "stt", "llm", "tts"]

STEP_SERVICES: tuple[Service, ...] = ("carrier", "stream")
"""Billed by the started minute: bought as lumps at 0, 60, 120 s."""


@dataclass(frozen=True, slots=True)
class Price:
    """One line of the price list, immutable.

    `price_nano` buys `block_units` units; a quantity is raised to a whole multiple of
    `increment`, and to `minimum` when that is more.
    """

    price_id: int
    service: Service
    model: str
    unit: Unit
    price_nano: int
    block_units: int
    increment: int = 1
    minimum: int = 0
    note: str = ""

    @property
    def line(self) -> str:
        return f"{self.service}:{self.model}:{self.unit}"


def service_of(line: str) -> str:
    """The service of a line as `Price.line` names it."""
    return line.partition(":")[0]


def billable(price: Price, quantity: int) -> int:
    """What the vendor counts for `quantity` units; 0 stays 0."""
    if quantity <= 0:
        return 0
    stepped = -(-quantity // price.increment) * price.increment
    return max(price.minimum, stepped)


def cost(price: Price, quantity: int) -> Nanos:
    """Cost of a cumulative quantity, rounded up to a whole nano once."""
    return Nanos(-(-billable(price, quantity) * price.price_nano // price.block_units))


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The prices pinned to one call at its start."""

    prices: tuple[Price, ...]

    def __iter__(self) -> Iterator[Price]:
        return iter(self.prices)

    def of(self, service: Service) -> tuple[Price, ...]:
        return tuple(price for price in self.prices if price.service == service)

    def find(self, service: Service, model: str, unit: Unit) -> Price | None:
        for price in self.prices:
            if (price.service, price.model, price.unit) == (service, model, unit):
                return price
        return None

    def models(self, service: Service) -> tuple[str, ...]:
        """The models a service may be billed on, the preferred one first."""
        return tuple(dict.fromkeys(price.model for price in self.of(service)))

    def line(self, name: str) -> Price:
        """The price of a line; `KeyError` when the call did not pin it."""
        for price in self.prices:
            if price.line == name:
                return price
        raise KeyError(name)
