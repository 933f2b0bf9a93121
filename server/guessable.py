"""New passwords that are guessed first: short, common, of a few characters, or made of what is known of the account.

The list of common passwords is the one that zxcvbn carries: 30,000, of which 11,611 are long enough to be chosen here.
Nothing but the list is used of it, and it is read when the server starts, never while somebody talks.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from zxcvbn.frequency_lists import FREQUENCY_LISTS

PRODUCT = "Call Me Back"
SHORTEST = 8
"""In characters; what a password may have in bytes is `passwords.py`'s to say."""
FEWEST_CHARACTERS = 3
"""A password of fewer different ones is a pattern."""


@lru_cache(maxsize=1)
def common() -> frozenset[str]:
    """In lower case."""
    return frozenset(FREQUENCY_LISTS["passwords"])


def check_new(password: str, *, email: str, name: str) -> str:
    """The password itself; `ValueError` when it is among the first that anybody would try for this account."""
    if len(password) < SHORTEST:
        raise ValueError(f"needs at least {SHORTEST} characters")
    plain = password.casefold()
    if plain in common():
        raise ValueError("is one of the most common passwords; choose another")
    if len(set(plain)) < FEWEST_CHARACTERS or _is_run(plain):
        raise ValueError("is a pattern that is easily guessed; choose another")
    if _core(plain) in _known(email.casefold(), name.casefold()):
        raise ValueError("is made of your name, your address or this service's name; choose another")
    return password


def _is_run(text: str) -> bool:
    """Such as `abcdefgh` or `98765432`."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return steps in ({1}, {-1})


def _core(text: str) -> str:
    """Its letters, and the digits between them: what people put around a word is guessed as easily as the word."""
    return "".join(each for each in text if each.isalnum()).strip("0123456789")


def _known(email: str, name: str) -> set[str]:
    words = (email, email.partition("@")[0], name, *name.split(), PRODUCT.casefold())
    return {_core(word) for word in words} - {""}
