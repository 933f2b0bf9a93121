"""What a call has used so far, as running totals, and the tiles in which it is charged.

A tile is a half-open interval of one price line; tiles of a line follow each other
without gap or overlap, so the tiles are the proof of the total.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import PriceBook, cost


class Meter:
    """Totals of one call on its pinned prices."""

    def __init__(self, book: PriceBook) -> None:
        self._prices = {price.line: price for price in book}
        self._totals = dict.fromkeys(self._prices, 0)
        self._seq = 0
        self._nano = 0

    def resume(self, seq: int, bought: Mapping[str, int]) -> None:
        """Go on behind what another process charged; it is not charged again."""
        self._seq = seq
        self._totals |= bought
        self._nano = sum(cost(self._prices[line], total) for line, total in bought.items())

    @property
    def nano(self) -> Nanos:
        """Everything charged so far."""
        return Nanos(self._nano)

    def total(self, line: str) -> int:
        return self._totals[line]

    def price_of(self, line: str, more: int) -> Nanos:
        """What `more` units would add to the bill now."""
        price, total = self._prices[line], self._totals[line]
        return Nanos(cost(price, total + more) - cost(price, total))

    def raise_to(self, line: str, total: int, second: int) -> list[Charge]:
        """Charge up to a running total; nothing when it is already reached."""
        return self._move(line, total, second) if total > self._totals[line] else []

    def add(self, line: str, more: int, second: int) -> list[Charge]:
        return self.raise_to(line, self._totals[line] + more, second)

    def correct_to(self, line: str, total: int, second: int) -> list[Charge]:
        """Charge or refund to the vendor's own final count."""
        return self._move(line, total, second) if total != self._totals[line] else []

    def _move(self, line: str, total: int, second: int) -> list[Charge]:
        price, before = self._prices[line], self._totals[line]
        nano = cost(price, total) - cost(price, before)
        self._totals[line] = total
        self._nano += nano
        self._seq += 1
        return [Charge(self._seq, line, before, total, Nanos(nano), second)]
