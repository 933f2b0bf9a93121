"""How many codes are texted: to a number, for a person, from a network, to neighbouring numbers, to a country.

Texts cost money, and whoever gains from them asks for as many as they get, for numbers nobody answers. Deleting the
account that asked sets none of these counts back. Figures and reasons: docs/who-may-be-rung.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.core.errors import Refused
from pipeline.core.guard import NumberFacts
from server.limits import too_often
from server.settings import Settings
from storage import verification
from storage.db import Tx

TEN_MINUTES, HOUR, DAY = timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)
MONTH = timedelta(days=30)
WATCHED = 50
"""The share of codes typed in is looked at over so many, and not before there were as many."""


async def check(
    tx: Tx, settings: Settings, user_id: str, number: NumberFacts, network: str, now: datetime
) -> None:
    """Raises `Refused` unless a code may go to this number now."""
    e164 = number.e164
    windows = (
        (TEN_MINUTES, settings.codes_per_number, {"e164": e164}),
        (DAY, settings.codes_per_number_daily, {"e164": e164}),
        (HOUR, settings.codes_per_user, {"user_id": user_id}),
        (DAY, settings.figure("codes_per_network"), {"network": network}),
        (HOUR, settings.figure("codes_per_prefix"), {"near": e164}),
    )
    full = [
        window
        for window, limit, which in windows
        if await verification.sends_since(tx, since=now - window, **which) >= limit
    ]
    if full:
        raise too_often(int(max(full).total_seconds()))
    known = await verification.numbers_of(tx, user_id, now - MONTH)
    if e164 not in known and len(known) >= settings.figure("numbers_per_user"):
        raise Refused(
            "rate_limited", "You verified as many different numbers lately as one person may.", status=429,
            retry_after=int(DAY.total_seconds()), members={"reason": "numbers_per_user"},
        )  # fmt: skip
    confirmed, total = await verification.confirmed_of(tx, number.region, now - DAY, now, WATCHED)
    if total >= WATCHED and confirmed * 100 < settings.codes_confirmed_percent * total:
        raise Refused(
            "not_allowed_number", "Codes to this country are not typed in; none is sent there for a while.",
            status=403, members={"reason": "codes_unconfirmed"},
        )  # fmt: skip
