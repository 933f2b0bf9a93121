"""Reads the figures of a text: amounts, times, dates, units, telephone numbers. American English.

What a figure means is decided from its form and the words beside it, never from anything outside
the text. Marks that do not belong to a figure are left to `spoken.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pipeline.core.numerals import cardinal, digits, listed, minutes, number, ordinal, year

MONTHS = listed("January February March April May June July August September October November December")

# -- what surrounds a figure -----------------------------------------------------------

N = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
FULL_MONTH = "|".join(MONTHS)
MONTH = rf"(?:{FULL_MONTH}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b)"  # "June" before "Jun"
DAY_NAME = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
PER = {
    "mo": "month",
    "hr": "hour",
    "yr": "year",
    "wk": "week",
    "min": "minute",
    "sec": "second",
    "s": "second",
}
PER |= {"lb": "pound", "kg": "kilogram", "h": "hour", "sq ft": "square foot"}
PER |= {word: word for word in listed("month hour year week minute second day night person mile gallon")}
_PER = rf"(?:\s?/\s?(?P<per>{'|'.join(sorted(PER, key=len, reverse=True))})\b)?"
_BEGINS = r"(?<![\w.,:])"  # not inside of a word or a longer figure
_STARTS_SENTENCE = re.compile(rf"\s+[\"“'(]*(?!{DAY_NAME}|{MONTH})(?:I\b|[A-Z][a-z'])")


def closes(match: re.Match[str]) -> bool:
    """Whether the full stop of an abbreviation, the match's last character, also ends the sentence."""
    tail = match.string[match.end() :]
    return match[0].endswith(".") and (not tail.strip() or _STARTS_SENTENCE.match(tail) is not None)


def month_named(name: str) -> str:
    return next(month for month in MONTHS if month.startswith(name[:3]))


# -- telephone numbers and codes -------------------------------------------------------


def _groups(match: re.Match[str]) -> str:
    named = {"800": "eight hundred", "900": "nine hundred"}
    return ", ".join(named.get(group) or digits(group) for group in re.findall("[0-9]+", match[0]))


def _with_letters(match: re.Match[str]) -> str:
    return f"one, {number(match[1]) if match[1].endswith('00') else digits(match[1])}, {match[2]}"


def _code(match: re.Match[str]) -> str:
    return match[1] + digits(match[2])


# -- dates -----------------------------------------------------------------------------


def _date(month: int, day: int, of: str) -> str:
    """The empty text when there is no such day."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return ""
    full = int(of) + (0 if len(of) == 4 else 2000 if int(of) < 70 else 1900) if of else 0
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(full)}" if full >= 1000 else "")


def _iso_date(match: re.Match[str]) -> str:
    said = _date(int(match[2]), int(match[3]), match[1])
    return (said + (" at " if match[4] else "")) if said else match[0]


def _slashed_date(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[2])
    return _date(first, second, match[3]) or _date(second, first, match[3]) or match[0]


def _month_day(match: re.Match[str]) -> str:
    said = _date(1 + MONTHS.index(month_named(match["month"])), int(match["day"]), "")
    if not said:
        return match[0]
    until = f" to {ordinal(int(match['until']))}" if match["until"] else ""
    to = " to " if match["to"] else ""
    return said + until + (f", {year(int(match['year']))}" if match["year"] else to)


# -- times -----------------------------------------------------------------------------


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match["hour"]), int(match["minute"])
    half = f" {match['half'].upper()}M" if match["half"] else ""
    if minute:
        said = f"{cardinal(hour)} {minutes(minute)}{half}"
    elif half or hour > 24:
        said = cardinal(hour) + half
    elif hour in {0, 24}:
        said = "midnight"
    else:
        said = f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"
    seconds = f" and {cardinal(int(match['second']))} seconds" if match["second"] else ""
    return said + seconds + ("." if half and closes(match) else "")


def _hour(match: re.Match[str]) -> str:
    return f"{cardinal(int(match[1]))} {match[2].upper()}M" + ("." if closes(match) else "")


# -- money -----------------------------------------------------------------------------

CURRENCIES: Mapping[str, tuple[str, str, str, str]] = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "¢": ("cent", "cents", "", ""),
    "USD": ("US dollar", "US dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("British pound", "British pounds", "penny", "pence"),
}
_SUM = rf"(?:{N}|\.[0-9]+)"
_MULTIPLES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion", "t": "trillion"}
_MULTIPLE = r"(?:\s?(?P<multiple>thousand|million|billion|trillion|(?<=[0-9])(?:bn|[kKmMbBtT]))\b)?"


def _amount(token: str, currency: str, *, adjective: bool = False) -> str:
    one, many, cent, cents = CURRENCIES[currency]
    whole, _, decimals = token.partition(".")
    if not cent or len(decimals) > 2:
        return f"{number(token)} {one if token == '1' or adjective else many}"
    units = f"{number(whole or '0')} {one if whole == '1' or adjective else many}"
    small = int(decimals.ljust(2, "0")) if decimals else 0
    if not small:
        return units
    parts = f"{cardinal(small)} {cent if small == 1 or adjective else cents}"
    return parts if not whole.strip("0") else f"{units} and {parts}"


def _money(match: re.Match[str]) -> str:
    currency, low, high, adjective = match["sign"], match["low"], match["high"], match["article"] is not None
    one, many, _, _ = CURRENCIES[currency]
    if match["multiple"]:
        multiple = _MULTIPLES.get(match["multiple"].lower(), match["multiple"])
        ends = " to ".join(number(end) for end in (low, high) if end)
        said = f"{ends} {multiple} {one if adjective else many}"
    elif high and "." not in low + high:
        said = f"{number(low)} to {_amount(high, currency, adjective=adjective)}"
    else:
        said = " to ".join(_amount(end, currency, adjective=adjective) for end in (low, high) if end)
    return _apart(match, (match["article"] or "") + said + _per(match))


def _money_after(match: re.Match[str]) -> str:
    return _amount(match["low"], match["sign"]) + _per(match)


def _per(match: re.Match[str]) -> str:
    return f" per {PER[match['per']]}" if match["per"] else ""


# -- units, fractions, years, the rest --------------------------------------------------

_UNIT_NAMES = """
km:kilometer m:meter cm:centimeter mm:millimeter mi:mile yd:yard ft:foot in:inch kg:kilogram g:gram
mg:milligram lb:pound lbs:pound oz:ounce l:liter L:liter ml:milliliter mL:milliliter gal:gallon
h:hour hr:hour hrs:hour min:minute mins:minute sec:second secs:second s:second ms:millisecond
KB:kilobyte kB:kilobyte MB:megabyte GB:gigabyte TB:terabyte Mbps:megabit_per_second Gbps:gigabit_per_second
Hz:hertz kHz:kilohertz MHz:megahertz GHz:gigahertz W:watt kW:kilowatt kWh:kilowatt_hour V:volt
cal:calorie kcal:kilocalorie mph:mile_per_hour kph:kilometer_per_hour fps:frame_per_second
rpm:revolution_per_minute bpm:beat_per_minute px:pixel
"""
UNITS = {short: name.replace("_", " ") for short, name in (pair.split(":") for pair in _UNIT_NAMES.split())}
UNITS |= {"km/h": "kilometer per hour", "sq ft": "square foot", "sq. ft.": "square foot"}
UNITS |= {
    "°F": "degree Fahrenheit",
    "°C": "degree Celsius",
    "° F": "degree Fahrenheit",
    "° C": "degree Celsius",
}
UNITS |= {"°": "degree"}
_WITH_STOP = {"ft", "in", "lb", "lbs", "oz", "gal", "hr", "hrs", "min", "mins", "sec", "secs", "mi", "yd"}
# "5 in the box" has no inches, "a 5 s" no seconds: such short ones stand at the figure or have a full stop.
_SHORT = r"(?:(?<=[0-9])in|(?<=[0-9])s|in(?=\.\s+[a-z]))"
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True) if unit not in {"in", "s"})


def _plural(name: str) -> str:
    first, *rest = name.split(" ", 1)
    if first in {"square", "cubic"}:
        return f"{first} {_plural(rest[0])}"
    if first == "kilowatt" and rest:
        return "kilowatt hours"
    many = {"foot": "feet", "inch": "inches", "hertz": "hertz"}.get(first) or (
        first if first.endswith("hertz") else f"{first}s"
    )
    return " ".join([many, *rest])


def _measure(match: re.Match[str]) -> str:
    unit, stop = match["unit"], match["stop"] or ""
    name = {"2": "square ", "3": "cubic "}.get(match["power"] or "", "") + UNITS[unit]
    if match["article"] or match["mark"] == "-":
        said = f"{number(match['n'])}{match['mark'] or ' '}{name}"
    else:
        said = f"{number(match['n'])} {name if match['n'] == '1' else _plural(name)}{_per(match)}"
    return (match["article"] or "") + said + ("" if unit in _WITH_STOP else stop)


def _thousands(match: re.Match[str]) -> str:
    if match[2] == "K" and match[1] in {"4", "8"}:
        return match[0]  # of a screen
    return f"{number(match[1])} {'million' if match[2] == 'M' else 'thousand'}"


FIXED = {"24/7": "twenty-four seven", "9/11": "nine eleven", "50/50": "fifty-fifty"}


def _fraction(match: re.Match[str]) -> str:
    whole, above, below = match["whole"], int(match["above"][:6]), int(match["below"][:6])
    if match["on"] and not whole and (day := _date(above, below, "")):
        return match["on"] + day
    if not whole and (fixed := FIXED.get(f"{above}/{below}")):
        said = fixed
    elif above >= below or below > 20 or (below == 10 and above > 1):
        said = f"{number(match['above'])} {'out of' if below in {5, 10, 100} else 'over'} {number(match['below'])}"
    else:
        part = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
        parts = {2: "halves"}.get(below, f"{part}s")
        said = f"{cardinal(above)} {part if above == 1 else parts}"
        if whole and above == 1:
            said = f"a {part}" if below in {2, 4} else said
    return (match["on"] or "") + (f"{number(whole)} and " if whole else "") + said


def _decade(match: re.Match[str]) -> str:
    figures = match[1]
    said = year(int(figures)) if len(figures) == 4 else cardinal(int(figures))
    return f"{said[:-1]}ies" if said.endswith("y") else f"{said}s"


def _feet(match: re.Match[str]) -> str:
    return f"{number(match[1])} foot {number(match[2])}"


def _apart(match: re.Match[str], said: str) -> str:
    """Set apart from letters that touch the figure, as in MP3."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return " " * before.isalnum() + said + " " * after.isalnum()


def _version(match: re.Match[str]) -> str:
    return _apart(match, " point ".join(map(number, match[0].split("."))))


Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _rule(pattern: str, said: str | Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    return re.compile(pattern, flags), said


_HALF = r"(?P<half>[ap])(?:\.\s?m\b\.?|m\b)"
_BEFORE_YEAR = (
    "in|since|by|from|until|till|to|of|year|before|after|around|circa|during|early|late|mid|spring|summer|fall|"
    rf"autumn|winter|{FULL_MONTH}"
)
_CODES = (
    "code|pin|zip|passcode|password|extension|account|confirmation|ending in|"
    "(?:call|dial|text)(?= (?:[2-9]11|988)(?![0-9]))"
)

RULES: tuple[Rule, ...] = (
    _rule(
        r"(?<![\w-])([0-9]{4})-([0-9]{2})-([0-9]{2})(?:(T)(?=[0-9])|(?![\w-]))",
        _iso_date,
    ),
    _rule(r"(?<![\w/])([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})(?![\w/])", _slashed_date),
    _rule(r"(?<![\w-])\+?1-(8[0-9]{2})-([A-Z]{4,})\b", _with_letters),
    _rule(
        r"(?<![\w.-])(?:\+?1[-. ]?)?(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}(?![\w-])"
        r"|(?<![\w-])[0-9]{3}-[0-9]{4}(?![\w-])|(?<![\w-])[0-9]{5}-[0-9]{4}(?![\w-])"
        r"|\+[0-9]{1,3}(?:[ -]?[0-9]{2,}){2,}|(?<![\w-])[0-9]+(?:-[0-9]+){2,}(?![\w-])"
        r"|(?<!\w)[0-9]{4}(?: [0-9]{4}){2,}(?!\w)",
        _groups,
    ),
    _rule(
        rf"\b((?:{_CODES})\b\.?(?:\s+(?:number|no\.|code|is|was|of|the))*[\s:]+)([0-9]{{3,10}})(?![\w,-]|\.[0-9])",
        _code,
        re.IGNORECASE,
    ),
    _rule(r"(?<![\w.,$€£-])(911)(?![\w%-]|[.,][0-9])", lambda match: digits(match[1])),
    _rule(
        rf"\b(?P<month>{MONTH})\.?\s+(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?"
        r"(?![0-9:%$/°]|[.,][0-9]|\s?[ap]\.?m\b)(?:\s?[-–]\s?(?P<until>[12]?[0-9]|3[01])(?:st|nd|rd|th)?(?![0-9]))?"
        rf"(?:(?P<to>\s?[-–]\s?)(?={MONTH}))?(?:,?\s+(?P<year>(?:1[1-9]|20)[0-9]{{2}})(?![\w]|,[0-9]))?",
        _month_day,
    ),
    _rule(
        rf"{_BEGINS}(?P<until>)(?P<to>)(?P<day>[0-9]{{1,2}}) (?P<month>{FULL_MONTH})\b"
        r"(?:,?\s+(?P<year>(?:1[1-9]|20)[0-9]{2})(?![\w]|,[0-9]))?",
        _month_day,
    ),
    _rule(r"(?<![\w.)–-])[-−](?=[$€£]?\.?[0-9])", "minus "),
    _rule(
        rf"(?P<article>\b[Aa]n?\s+)?(?P<sign>[$€£¥₹])\s?(?P<low>{_SUM})(?:\s?[-–]\s?[$€£¥₹]?(?P<high>{_SUM}))?"
        rf"{_MULTIPLE}{_PER}",
        _money,
    ),
    _rule(
        rf"(?<![0-9.,])(?P<low>{_SUM})\s?(?P<sign>[€£¥₹¢]|\$(?![0-9])|USD\b|EUR\b|GBP\b){_PER}", _money_after
    ),
    _rule(r"(?<=[0-9])((?:\s?[ap]\.?m\b\.?|%|°[FC]?|[kK])?)(?:[-–]| – )(?=\.?[0-9])", r"\1 to "),
    _rule(
        rf"{_BEGINS}(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?(?![0-9:])(?:\s?{_HALF})?",
        _time,
        re.IGNORECASE,
    ),
    _rule(rf"{_BEGINS}([0-9]{{1,2}})\s?{_HALF}", _hour, re.IGNORECASE),
    _rule(r"(?<![\w:.])([0-9]+):([0-9]+)(?![\w:])", r"\1 to \2"),
    _rule(r"(?<!\w)['’]?((?:1[0-9]|20)?[0-9]0)['’]?s\b", _decade),
    _rule(
        r"(?<![\w.])([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,15})(?:st|nd|rd|th)\b",
        lambda match: ordinal(int(match[1].replace(",", ""))),
        re.IGNORECASE,
    ),
    _rule(
        r"(?P<on>\bon\s+)?(?<![\w./])(?:(?P<whole>[0-9]+)[ -])?"
        r"(?P<above>[0-9]{1,6})/(?P<below>[0-9]{1,6})(?![\w/]|\.[0-9])",
        _fraction,
    ),
    _rule(r"(?<!\w)([0-9])['′’]\s?([0-9]{1,2})(?:[\"″”]|(?!\w))", _feet),
    _rule(
        rf"(?P<article>\b[Aa]n?\s+)?(?<![\w.])(?P<n>{N}|\.[0-9]+)(?P<mark>[ -]?)"
        rf"(?P<unit>{_SHORT}|{_UNIT})(?:\^?(?P<power>[23]))?(?![\w°])"
        rf"(?P<stop>\.(?=\s+[a-z]))?{_PER}",
        _measure,
    ),
    _rule(r"\^2(?![0-9])", " squared"),
    _rule(r"\^3(?![0-9])", " cubed"),
    _rule(rf"(?<![\w.])({N})([kKM])\b", _thousands),
    _rule(
        rf"\b((?:{_BEFORE_YEAR})\s+)((?:1[0-9]|20)[0-9]{{2}})(?![\w%]|[,.][0-9])",
        lambda match: match[1] + year(int(match[2])),
        re.IGNORECASE,
    ),
    _rule(
        r"(?<![\w.,])((?:19|20)[0-9]{2})(?![\w%]|[,.][0-9]|\s+(?!(?:was|is|has|does|as|vs|versus)\b)[a-z]+s\b)",
        lambda match: year(int(match[1])),
    ),
    _rule(r"(?<=[0-9])[x×](?=[0-9])", " by "),
    _rule(r"(?<=[0-9])\s?[x×*]\s?(?=[0-9])", " times "),
    _rule(r"(?<=[0-9])\s?[-−]\s?(?=[0-9])", " minus "),
    _rule(r"(?<=[0-9])\s?÷\s?(?=[0-9])", " divided by "),
    _rule(r"(?<=[A-Za-z])-(?=[0-9])", " "),
    _rule(r"(?<![0-9])[0-9]+(?:\.[0-9]+){2,}", _version),
    # A list of figures is no longer number.
    _rule(
        r"(?<![0-9])[0-9]+(?:,[0-9]+)+",
        lambda match: match[0] if re.fullmatch(N, match[0]) else match[0].replace(",", ", "),
    ),
    _rule(rf"{N}|(?<!\w)\.[0-9]+", lambda match: _apart(match, number(match[0]))),
)
_FIGURE = re.compile("[0-9]")


def in_words(text: str) -> str:
    """The text with every figure in it read out."""
    for pattern, said in RULES:
        if not _FIGURE.search(text):
            break
        text = pattern.sub(said, text)
    return text
