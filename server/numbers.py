"""What a telephone number is, by the numbering plans of the phonenumbers library, and whether it may be rung.

Decides by region and kind of number, never by prefix: +1 876 is Jamaica and +1 900 is
premium rate. It knows neither users nor calls; who verified a number is the database's
business and when it may ring is `server/desk.py`'s.

+1 NXX 555 01xx numbers are set aside for fiction and belong to nobody. The simulated
carrier and an emulator, which ring no real phone, treat them as any other number; the real carrier rings none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import phonenumbers
from phonenumbers import PhoneNumberType

from pipeline.core.errors import Refused

Kind = Literal[
    "fixed",
    "mobile",
    "fixed_or_mobile",
    "toll_free",
    "premium",
    "shared_cost",
    "voip",
    "personal",
    "pager",
    "company",
    "voicemail",
    "unknown",
]

RINGABLE: frozenset[Kind] = frozenset({"fixed", "mobile", "fixed_or_mobile"})
LONGEST_INPUT = 32

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


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """`region` is a two-letter country code, empty for numbers of no country. `valid`: the plan has such numbers."""

    e164: str
    region: str
    kind: Kind
    valid: bool
    fictional: bool

    @property
    def last2(self) -> str:
        return self.e164[-2:]


def facts(text: str) -> NumberFacts:
    """The facts of a number in international form; `ValueError` for what cannot be one.

    Spaces, dots, dashes and brackets are allowed, an extension is not: it could not be dialled.
    """
    if len(text) > LONGEST_INPUT or not text.isascii() or not text.strip().startswith("+"):
        raise ValueError("a telephone number begins with + and its country code, such as +1 202 555 0100")
    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise ValueError("this is not a telephone number") from None
    if parsed.extension or not phonenumbers.is_possible_number(parsed):
        raise ValueError("this is not a telephone number")
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


def check_allowed(number: NumberFacts, regions: tuple[str, ...], *, simulated: bool) -> None:
    """Raise `Refused(not_allowed_number, 403)` unless a number of this place and kind may be rung or texted."""
    if number.fictional and not simulated:
        raise _refused("This number belongs to nobody.")
    if not number.valid:
        raise _refused("There is no such number.")
    if number.region not in regions:
        raise _refused("Numbers of this country are not rung.")
    if number.kind not in RINGABLE:
        raise _refused("Numbers of this kind are not rung.")


def _refused(detail: str) -> Refused:
    return Refused("not_allowed_number", detail, status=403)
