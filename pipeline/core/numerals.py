"""Numbers as English words (American): cardinals, ordinals, years, strings of digits.

What a figure in a text stands for is decided in `figures.py`.
"""

from __future__ import annotations


def listed(names: str) -> tuple[str, ...]:
    return tuple(names.split())


ONES = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = listed("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
SCALES = ("trillion", 10**12), ("billion", 10**9), ("million", 10**6), ("thousand", 10**3), ("hundred", 100)
IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LONGEST_DIGITS = 15
"""More digits than trillions need are read one by one."""


def cardinal(n: int) -> str:
    """42 -> forty-two. For 0 <= n < 10**15."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    name, size = next(scale for scale in SCALES if n >= scale[1])
    return f"{cardinal(n // size)} {name}" + (f" {cardinal(n % size)}" if n % size else "")


def ordinal(n: int) -> str:
    """42 -> forty-second."""
    said = cardinal(n)
    last = said.replace("-", " ").split(" ")[-1]
    end = IRREGULAR.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return said.removesuffix(last) + end


def year(n: int) -> str:
    """1999 -> nineteen ninety-nine. For 1000 <= n < 10000."""
    century, rest = divmod(n, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(n)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {minutes(rest)}"


def minutes(n: int) -> str:
    """5 -> oh five, as after an hour."""
    return cardinal(n) if n > 9 else f"oh {ONES[n]}"


def digits(figures: str) -> str:
    """911 -> nine one one. Ten of them are grouped as a telephone number is."""
    if len(figures) == 10:
        return ", ".join(map(digits, (figures[:3], figures[3:6], figures[6:])))
    return " ".join(ONES[int(figure)] for figure in figures)


def number(token: str) -> str:
    """1,234.5 -> one thousand two hundred thirty-four point five. Long bare strings come digit by digit."""
    whole, point, decimals = token.partition(".")
    said = _whole(whole) if whole else ""
    return f"{said} point {' '.join(ONES[int(figure)] for figure in decimals)}".strip() if point else said


def _whole(token: str) -> str:
    plain = token.replace(",", "")
    looks_dialled = "," not in token and len(plain) >= 7 and not plain.endswith("000")
    if len(plain) > LONGEST_DIGITS or (len(plain) > 1 and plain[0] == "0") or looks_dialled:
        return digits(plain)
    return cardinal(int(plain))
