"""A measured number, the bar it is held to, and whether it is met. The bars are those of the design."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result. `bar` None means that the number is for information; NaN was not measured."""

    group: str
    name: str
    value: float
    unit: str
    bar: float | None = None
    sense: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None without a bar, or where nothing was measured."""
        if self.bar is None or math.isnan(self.value):
            return None
        return self.value <= self.bar if self.sense == "at most" else self.value >= self.bar

    @property
    def missed_by(self) -> float:
        """How far off the bar, as a share of it; 0 when it is met."""
        if self.met is not False or not self.bar:
            return 0.0
        return abs(self.value - self.bar) / self.bar

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {
            "group": self.group,
            "name": self.name,
            "value": None if math.isnan(self.value) else round(self.value, 4),
            "unit": self.unit,
            "bar": self.bar,
            "sense": self.sense,
            "met": self.met,
            "note": self.note,
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(percent / 100 * len(ordered)) - 1))]
