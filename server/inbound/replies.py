"""What a caller is answered, and the words of the menu. Everybody hears the same, whoever they say they are.

Words that differed for known numbers would tell whoever forges one that it belongs to a user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from server.calls.casting import disclosure
from server.settings import Settings

WAIT_S = 5
"""Of silence after which a caller of the menu has nothing to key in, or nothing more."""

QUESTION = "If you have a PIN, key it in now, and then the pound key. Otherwise, please stay on the line."
WRONG = "That was not right. Please try again, or stay on the line."
FULL = (
    "I am sorry, all lines are busy just now. If you have a PIN, key it in now, then star, then the pound key, "
    "and I will call you back as soon as a line is free. Otherwise, please call again later."
)
NOT_NOW = "I am sorry, nobody can take your call just now. Please try again later. Goodbye."
NO_STRANGERS = "I am sorry, I can only talk to callers with a PIN. Goodbye."
NO_MONEY = "I am sorry, your credit or your budget does not pay for a call just now. Goodbye."
TOO_MANY = "I am sorry, you are on a call with me already. Goodbye."
RUNG_BACK = "All right, I will call you back in a moment. Goodbye."
LOST = "I am sorry, something has gone wrong. Please call again. Goodbye."


@dataclass(frozen=True, slots=True)
class Turned:
    """Not answered at all, which costs nothing. `busy`: they may try again."""

    busy: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Answered, and asked for a PIN."""

    words: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The call begins: the right to one media socket for it."""

    call_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Dismissed:
    """Told why there is no call, and hung up."""

    words: str


Reply = Turned | Asked | Connected | Dismissed


class Receiving(Protocol):
    """What the carrier's requests need of `reception.py`."""

    async def rung(self, sid: str, sender: str) -> Reply: ...

    async def keyed(self, sid: str, sender: str, digits: str) -> Reply: ...


def welcome(settings: Settings, *, full: bool = False) -> Asked:
    """The first words are the disclosure, as in every call."""
    return Asked(f"{disclosure(settings, rang_us=True)} {FULL if full else QUESTION}")
