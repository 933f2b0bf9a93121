"""What a caller keyed in: a PIN, and behind it a star where they would rather be rung back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LONGEST = 32
_KEYS = re.compile(r"([0-9]*)(\*?)#?")


@dataclass(frozen=True, slots=True)
class Keyed:
    pin: str = field(repr=False)
    call_back: bool


def read(digits: str) -> Keyed | None:
    """None for nothing at all. What is no PIN counts as a wrong one."""
    keys = digits.strip()[:LONGEST]
    if not keys:
        return None
    found = _KEYS.fullmatch(keys)
    return Keyed(keys, call_back=False) if found is None else Keyed(found[1], bool(found[2]))
