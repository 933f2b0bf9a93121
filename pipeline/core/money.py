"""Units of money and time. Integers only: a float never holds money here.

One nano is 1e-9 US dollar, so an int64 holds 9.2e9 dollars and the cheapest
token on the price list is still a whole number of nanos.
"""

from __future__ import annotations

import re
from typing import NewType

Nanos = NewType("Nanos", int)
"""US dollars times 1e9."""

Millis = NewType("Millis", int)
"""Milliseconds; of a call, since its first event."""

ZERO = Nanos(0)
START = Millis(0)
"""The instant of a call's first event."""

NANOS_PER_USD = 1_000_000_000

_USD = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?")


def usd(amount: int) -> str:
    """A decimal string of dollars, exact: at least two places, at most nine."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), NANOS_PER_USD)
    places = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{places}"


def parse_usd(text: str) -> Nanos:
    """Nanos of a plain decimal string such as "12.5"; `ValueError` for anything else."""
    match = _USD.fullmatch(text) if text.isascii() else None
    if match is None:
        raise ValueError("an amount is dollars with at most nine decimal places, such as 12.50")
    whole, places = match.group(1), match.group(2) or ""
    return Nanos(int(whole) * NANOS_PER_USD + int(places.ljust(9, "0")))
