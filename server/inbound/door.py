"""Whether a caller is answered at all. Who is not costs nothing: the carrier is told to reject the call.

A number proves nothing. It is counted, it can be blocked, and one that belongs to somebody with a PIN is asked for that
PIN even when there is no money left for strangers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.core.errors import Refused
from pipeline.core.money import parse_usd
from server.desk import Desk
from server.inbound.partners import stranger_order
from server.money.admission import Admissions
from server.parts import Rung
from server.settings import Settings
from storage import calls, inbound, strangers
from storage.db import Tx
from storage.records import User

DAY = timedelta(days=1)
MENU_LASTS = timedelta(minutes=3)
"""Longer than three wrong PINs take; who is still at the menu then has hung up."""
MENUS = 10
"""Callers at the menu at a time."""
RINGS = 20
"""How often one number is answered in a day, whatever comes of it."""

BUSY = "busy"
"""They hear the tone that says that it is worth trying again; of every other reason they hear nothing."""
FULL = "full"
"""They are answered and told so: whoever has a PIN can be rung back."""


@dataclass(frozen=True, slots=True)
class Door:
    settings: Settings
    admissions: Admissions
    desk: Desk

    async def closed(self, tx: Tx, e164: str | None, user: User | None, now: datetime) -> str | None:
        """Why this caller is not put through, `FULL` for one who is answered; None to ask them for their PIN.

        `user` is whose number it claims to be.
        """
        if self.settings.inbound_calls == "off":
            return "off"
        if await inbound.is_blocked(tx, e164):
            return "blocked"
        if await inbound.answered(tx, now - MENU_LASTS, ["menu"]) >= MENUS:
            return BUSY
        if await inbound.rang(tx, e164, now - DAY) >= RINGS:
            return "too_often"
        if user is not None and user.inbound_pin_hash is not None:
            return self.full()
        why = await self.closed_to_strangers(tx, e164, now)
        # Nobody hears from the words whether the number is a user's, so strangers are answered too.
        return FULL if why == BUSY else why or self.full()

    def full(self) -> str | None:
        """`FULL` where this process takes no more calls just now."""
        try:
            self.desk.check_room()
        except Refused:
            return FULL
        return None

    async def closed_to_strangers(self, tx: Tx, e164: str | None, now: datetime, sid: str = "") -> str | None:
        """The same for whoever proves nothing; asked again, of the call `sid`, when they have not."""
        settings = self.settings
        if settings.inbound_calls != "everybody":
            return "users_only"
        if await inbound.rang(tx, e164, now - DAY, ["stranger"]) >= settings.inbound_trials_daily:
            return "too_often"
        order = await stranger_order(tx, settings, Rung("", "", now, e164))
        needed, minute = await self.admissions.least(tx, order)
        # Those who hung up at the menu cost a minute of the line, which no call pays.
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        menus = await inbound.answered(tx, day, ["menu", "left"], but=sid)
        left = await strangers.left_today(tx, parse_usd(settings.inbound_daily_usd), now)
        if left - menus * minute < needed:
            return "budget"
        # Last, since who is told so has been answered.
        return (
            BUSY if await calls.count_live(tx, strangers.ACCOUNT) >= settings.inbound_trials_at_once else None
        )
