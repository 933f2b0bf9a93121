"""The number a call says it is from. It proves nothing, and it may be withheld."""

from __future__ import annotations

from server import numbers

INSTEAD = frozenset({"+266696687", "+7378742833", "+2562533", "+8566696", "+86282452253"})
"""What the carrier says in the place of a number: ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE, by keys."""
WITHHELD = "withheld"
"""How an operator names those that say none."""


def caller(sender: str) -> str | None:
    """E.164, None where the number is withheld or is none."""
    if sender in INSTEAD:
        return None
    try:
        return numbers.normalise(sender)
    except ValueError:
        return None


def named(phone: str) -> str | None:
    """The number an operator means, None for `WITHHELD`; `ValueError` for what cannot be one."""
    return None if phone.strip() == WITHHELD else numbers.normalise(phone)
