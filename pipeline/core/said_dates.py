"""Which day is meant: "on Tuesday" is another day a week later, so words are read with the day they were said on.

English, and only what is certain: a weekday, today, tomorrow, yesterday, a number of days or weeks. Anything vaguer
("soon", "next month") names no day.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10}
_NUMBER = rf"(\d{{1,3}}|{'|'.join(_NUMBERS)})"

DAY_WORDS = re.compile(
    rf"\b(?:(?P<nearby>today|tonight|tomorrow|yesterday)"
    rf"|(?:on |(?P<which>next|last|this) )?(?P<weekday>{'|'.join(WEEKDAYS)})"
    rf"|in {_NUMBER} (?P<unit>day|week)s?"
    rf"|{_NUMBER} (?P<past_unit>day|week)s? ago)\b",
    re.IGNORECASE,
)
"""The words that name a day."""
_OVER = re.compile(
    r"\b(?:was|were|went|had|did|saw|met|got|came|left|took|told|gave|\w{2,}ed)\b", re.IGNORECASE
)
_NEARBY = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1}
WEEK = 7


def meant(text: str, said_on: date | None) -> date | None:
    """The first day the text names, as it was meant on the day it was said; None where it names none.

    A weekday is the next one, unless the words are about the past; "next Tuesday" is next week's.
    """
    found = DAY_WORDS.search(text)
    if found is None or said_on is None:
        return None
    if nearby := found["nearby"]:
        return _later(said_on, _NEARBY[nearby.lower()])
    if weekday := found["weekday"]:
        return _weekday(WEEKDAYS.index(weekday.lower()), found["which"] or "", text[: found.start()], said_on)
    number = next(group for group in (found[4], found[6]) if group is not None).lower()
    count = _NUMBERS[number] if number in _NUMBERS else int(number)
    days = count * (WEEK if (found["unit"] or found["past_unit"]).lower() == "week" else 1)
    return _later(said_on, days if found["unit"] else -days)


def _weekday(day: int, which: str, before: str, said_on: date) -> date | None:
    ahead = (day - said_on.weekday()) % WEEK or WEEK
    if which.lower() == "next":
        return _later(said_on, WEEK - said_on.weekday() + day)
    if which.lower() == "last" or _OVER.search(before):
        return _later(said_on, ahead - WEEK if ahead < WEEK else -WEEK)
    return _later(said_on, ahead)


def _later(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None


def in_words(day: date) -> str:
    """As it is said: "Tuesday 1 December 2026"."""
    return f"{WEEKDAYS[day.weekday()].capitalize()} {day.day} {_MONTHS[day.month - 1]} {day.year}"


def distance(day: date, today: date) -> str:
    """How far it is: "today", "in 5 days", "2 days ago"."""
    days = (day - today).days
    match days:
        case 0:
            return "today"
        case 1:
            return "tomorrow"
        case -1:
            return "yesterday"
        case _:
            return f"in {days} days" if days > 0 else f"{-days} days ago"
