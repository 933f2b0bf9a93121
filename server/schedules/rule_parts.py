"""What a rule may say: the parts of an RFC 5545 rule (3.3.10), their ranges, and which goes with which FREQ. Pure.

The library that expands a rule takes more than that and makes of it what nobody meant, often a call every day; so all
that is checked here, in words for whoever wrote the rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST_RULE = 400
MOST_RUNS = 10_000
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY")
UNTIL = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?")

_PART = re.compile(r"([A-Z]+)=([A-Z0-9,+:-]+)")
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}")
_DAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_FROM_0 = {"BYHOUR": 23, "BYMINUTE": 59}
"""From 0 to that."""
_FROM_1 = {"BYMONTH": 12}
_EITHER_END = {"BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}
"""From 1 to that, or from -1 to minus that, which counts from the end."""
_BY = (*_FROM_0, *_FROM_1, *_EITHER_END, "BYDAY")
_KEYS = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", *_BY})
_NOT_WITH = {
    "BYWEEKNO": {"MONTHLY", "WEEKLY", "DAILY", "HOURLY"},
    "BYYEARDAY": {"MONTHLY", "WEEKLY", "DAILY"},
    "BYMONTHDAY": {"WEEKLY"},
}
"""Frequencies with which a part has no meaning."""
_INSTEAD = {
    "BYWEEKNO": "use FREQ=YEARLY, or FREQ=WEEKLY with INTERVAL",
    "BYYEARDAY": "use FREQ=YEARLY, or BYMONTH and BYMONTHDAY",
    "BYMONTHDAY": "use FREQ=MONTHLY, or FREQ=DAILY with BYDAY and BYMONTHDAY",
}


class BadRule(ValueError):
    """The rule will not do; the text says why, for the person who wrote it."""


def parts(rule: str) -> dict[str, str]:
    """The parts of a rule by name, in its order. Raises `BadRule` for what is none, or not supported."""
    text = rule.strip().upper().removeprefix("RRULE:")
    if len(text) > LONGEST_RULE:
        raise BadRule(f"is longer than {LONGEST_RULE} characters")
    if "DTSTART" in text or "\n" in text:
        raise BadRule(
            "is the rule alone, such as FREQ=DAILY;BYHOUR=7;BYMINUTE=0; its beginning goes into `at`"
        )
    found: dict[str, str] = {}
    for part in text.rstrip(";").split(";"):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadRule("is no RFC 5545 rule, such as FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=7;BYMINUTE=30")
        name, value = match.groups()
        if name in found:
            raise BadRule(f"has {name} twice")
        if name == "BYSECOND":
            raise BadRule("has BYSECOND; runs are as exact as the minute")
        if name not in _KEYS:
            raise BadRule(f"has {name}, which is not part of a rule here")
        found[name] = value
    _check_how_often(found)
    for name in _BY:
        if name in found:
            _check_range(name, found[name])
    _check_together(found)
    return found


def _check_how_often(found: Mapping[str, str]) -> None:
    if found.get("FREQ") not in FREQUENCIES:
        raise BadRule(f"needs FREQ, one of {', '.join(FREQUENCIES)}; minutes are given by BYMINUTE")
    for name, most in (("INTERVAL", 1_000), ("COUNT", MOST_RUNS)):
        if name in found and not (found[name].isdigit() and 1 <= int(found[name]) <= most):
            raise BadRule(f"has {name} that is no number from 1 to {most}")
    if "COUNT" in found and "UNTIL" in found:
        raise BadRule("ends by COUNT or by UNTIL, not by both")
    if "UNTIL" in found and UNTIL.fullmatch(found["UNTIL"]) is None:
        raise BadRule("has UNTIL that is no date, such as UNTIL=20271231 or UNTIL=20271231T170000Z")
    if found.get("WKST", "MO") not in DAYS:
        raise BadRule(f"has WKST that is no day of the week: one of {', '.join(DAYS)}")


def _check_range(name: str, values: str) -> None:
    for value in values.split(","):
        if name == "BYDAY":
            if _DAY.fullmatch(value) is None:
                raise BadRule(
                    f"has BYDAY that is no day of the week: {', '.join(DAYS)}, or 1MO, -1FR of a month"
                )
        elif name in _EITHER_END:
            most = _EITHER_END[name]
            if _NUMBER.fullmatch(value) is None or not 1 <= abs(int(value)) <= most:
                raise BadRule(f"has {name} out of its range: 1 to {most}, or -1 to -{most} from the end")
        else:
            least, most = (0, _FROM_0[name]) if name in _FROM_0 else (1, _FROM_1[name])
            if not value.isdigit() or not least <= int(value) <= most:
                raise BadRule(f"has {name} out of its range: {least} to {most}")


def _check_together(found: Mapping[str, str]) -> None:
    frequency = found["FREQ"]
    for name, without in _NOT_WITH.items():
        if name in found and frequency in without:
            raise BadRule(f"has {name}, which means nothing with FREQ={frequency}: {_INSTEAD[name]}")
    if "BYSETPOS" in found and not any(name in found for name in _BY if name != "BYSETPOS"):
        raise BadRule("has BYSETPOS but nothing to choose from: add BYDAY or another part")
    numbers = [int(match[1]) for day in found.get("BYDAY", "").split(",")
               if (match := _DAY.fullmatch(day)) is not None and match[1]]  # fmt: skip
    if not numbers:
        return
    if frequency not in {"MONTHLY", "YEARLY"}:
        raise BadRule(
            f"has BYDAY with a number, which means nothing with FREQ={frequency}: use FREQ=MONTHLY, or leave out "
            "the number"
        )
    if "BYWEEKNO" in found:
        raise BadRule(
            "has BYDAY with a number beside BYWEEKNO: leave out the number, a week has each day once"
        )
    most = 5 if frequency == "MONTHLY" or "BYMONTH" in found else 53
    if any(not 1 <= abs(number) <= most for number in numbers):
        where = "month" if most == 5 else "year"  # a month has each day at most five times
        raise BadRule(
            f"has BYDAY with a number out of its range: 1 to {most}, or -1 to -{most}, of a {where}"
        )
