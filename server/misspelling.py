"""Which names in an environment are probably misspelt settings. Guesses only: nobody is refused for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

CLOSE = 0.87
"""How alike two names must be, from 0 to 1: a letter or two, or a word of three left out."""
SEPARATOR = "_"
"""A name of one word, such as PORT, is too short to tell a misspelling of it from another program's name."""


def likely_meant(names: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """For each name that is not known and looks like one that is: that one."""
    candidates = [name for name in known if SEPARATOR in name]
    found = {}
    for name in sorted(set(names) - set(known)):
        close = get_close_matches(name.upper(), candidates, n=1, cutoff=CLOSE)
        if close and SEPARATOR in name:
            found[name] = close[0]
    return found
