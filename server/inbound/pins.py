"""The PIN by which a user proves on the telephone who they are. It is kept hashed, and in no journal, log or address.

A number can be forged and a PIN can be guessed, so guesses are few: some a call, some a day for a number and for the
account it belongs to. They are counted before they are compared.
"""

from __future__ import annotations

import re
from datetime import timedelta

from pipeline.clock import Clock
from server.inbound.keyed import Keyed
from server.passwords import Passwords
from server.settings import Settings
from storage import inbound, users
from storage.db import Database
from storage.records import User

GUESSES = 3
"""In one call."""
DAY = timedelta(days=1)
LENGTH = re.compile(r"[0-9]{6,10}")
_UP, _DOWN = "01234567890123456789", "98765432109876543210"


def check_pin(pin: str) -> str:
    """The PIN itself; `ValueError` when it has not 6 to 10 digits or is one that is tried first."""
    if not LENGTH.fullmatch(pin):
        raise ValueError("a PIN has 6 to 10 digits")
    if len(set(pin)) == 1 or pin in _UP or pin in _DOWN:
        raise ValueError("this PIN is too easy to guess")
    return pin


class Pins:
    def __init__(self, settings: Settings, database: Database, clock: Clock, passwords: Passwords) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._passwords = passwords

    async def owner(self, sid: str, e164: str | None, keyed: Keyed) -> User | None:
        """Whose PIN it is; None for a wrong one, one too many, and where there is none.

        The work is the same whichever it is, so that its time does not tell. Raises `Refused` when too many wait.
        """
        async with self._database.write() as tx:
            user = None if e164 is None else await users.by_number(tx, e164)
            counted = await inbound.guess(tx, sid, GUESSES)
            made = await inbound.guesses(tx, e164, None if user is None else user.id, self._clock.utc() - DAY)
        allowed = counted and made <= self._settings.inbound_pin_guesses
        stored = user.inbound_pin_hash if user is not None and allowed else None
        if not await self._passwords.matches(keyed.pin, stored) or stored is None:
            return None
        async with self._database.write() as tx:
            await inbound.guessed_right(tx, sid)
        return user

    async def again(self, sid: str) -> bool:
        """Whether this caller may try once more."""
        async with self._database.read() as tx:
            ring = await inbound.find(tx, sid)
        return ring is not None and ring.stage == "menu" and ring.guesses < GUESSES
