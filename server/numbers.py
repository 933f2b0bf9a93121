"""What a telephone number is, by the numbering plans of the phonenumbers library: region, kind, time zones.

Tells by region and kind of number, never by prefix: +1 876 is Jamaica and +1 900 is premium
rate. Whether it may be rung is `pipeline/core/guard.py`'s to say.

+1 NXX 555 01xx numbers are set aside for fiction and belong to nobody. The simulated
carrier and an emulator, which ring no real phone, treat them as any other number; the real carrier rings none.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import PhoneNumberType
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

from pipeline.core.guard import Kind, NumberFacts

LONGEST_INPUT = 32
EVERYWHERE = tuple(range(-12 * 60, 14 * 60 + 1, 60))

_KINDS: dict[int, Kind] = {
    PhoneNumberType.FIXED_LINE: "fixed",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "company",
    PhoneNumberType.VOICEMAIL: "voicemail",
}
_FICTIONAL = re.compile(r"\+1[2-9]\d{2}55501\d{2}")


def facts(text: str) -> NumberFacts:
    """The facts of a number in international form; `ValueError` for what cannot be one.

    Spaces, dots, dashes and brackets are allowed, an extension is not: it could not be dialled.
    """
    if len(text) > LONGEST_INPUT or not text.isascii() or not text.strip().startswith("+"):
        raise ValueError("a telephone number begins with + and its country code, such as +1 202 555 0100")
    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise ValueError("is no telephone number: look for a missing or mistyped digit") from None
    if parsed.extension or not phonenumbers.is_possible_number(parsed):
        raise ValueError("is no telephone number: look for a missing or mistyped digit")
    e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    fictional = _FICTIONAL.fullmatch(e164) is not None
    return NumberFacts(
        e164=e164,
        region=phonenumbers.region_code_for_number(parsed) or "",
        kind=_KINDS.get(phonenumbers.number_type(parsed), "unknown"),
        valid=phonenumbers.is_valid_number(parsed),
        fictional=fictional,
    )


def normalise(text: str) -> str:
    """E.164 of a number in international form; `ValueError` for what cannot be one."""
    return facts(text).e164


def region(e164: str) -> str:
    """The country of a number, two letters; empty for numbers of none."""
    return facts(e164).region


def offsets(e164: str, now: datetime) -> tuple[int, ...]:
    """Minutes east of UTC, now, in every zone a number in E.164 may be in; sorted.

    A number of one town has one, one that may be carried anywhere all of its country's; of a number whose zone
    nobody knows any hour of the day may be night.
    """
    zones = [
        zone for zone in time_zones_for_number(phonenumbers.parse(e164, None)) if zone != UNKNOWN_TIMEZONE
    ]
    if not zones:
        return EVERYWHERE
    return tuple(sorted({offset(zone, now) for zone in zones}))


def offset(zone: str, now: datetime) -> int:
    """Minutes east of UTC in a named zone at a moment."""
    shift = now.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    return int(shift.total_seconds()) // 60
