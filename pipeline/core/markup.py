"""Takes out what is written but not meant to be spoken: markup, emoji, line breaks.

The words are left exactly as they are; how they are read is decided in `spoken.py`, which of them are stage
directions in `directions.py`. The patterns of what
must stay in one piece are here too, for `sentences.py` to cut around them.
"""

from __future__ import annotations

import re
import unicodedata

# -- what is not meant to be spoken ----------------------------------------------------

LABEL, ADDRESS = r"[^\[\]]{0,80}", r"[^()]{0,500}"  # bounded, for what nobody closes must not be waited for
LINK = re.compile(rf"!?\[({LABEL})\]\({ADDRESS}\)")
TAG = re.compile(r"</?[A-Za-z](?:(?!://|@)[^<>]){0,80}>|<[|｜][^\s<>|｜]{1,40}[|｜]>")
"""Of the second kind are a model's own marks, as `<|im_end|>`, which some servers leave in the text."""
_MARKUP = re.compile(r"[*_`#~^]+")
_UNSPOKEN = frozenset({"So", "Sk", "Cc", "Cf", "Cs", "Co", "Cn"})


def speakable(text: str) -> str:
    """The text without markup, emoji and control characters, on one line. Of a link its words are left."""
    return " ".join(_MARKUP.sub("", LINK.sub(r"\1", printable(text))).split())


def printable(text: str) -> str:
    """Without emoji and control characters; a degree sign counts as writing, variants of emoji do not."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        ch
        for ch in text
        if ch.isspace()
        or ch == "°"
        or " " < ch <= "~"
        or not (unicodedata.category(ch) in _UNSPOKEN or "\ufe00" <= ch <= "\ufe0f" or ch == "\u20e3")
    )


# -- lines -----------------------------------------------------------------------------

_RULE = re.compile(r"[\s|:]*(?:[-*_=|:]\s*){3,}|\s*```.*")
_QUOTE_OR_HEADING = re.compile(r"\s*(?:>\s?|(#{1,6})\s+)+")
_BULLET = re.compile(r"\s*(?:[-*+•‣◦–]\s+)+(?:\[[ xX]\]\s+)?")
_NUMBERED = re.compile(r"\A\s*([0-9]{1,2})[.)]\s")
_CELLS = re.compile(r"\s*\|[\s|]*")
_PAUSES = (".", "!", "?", "…", ":", ";", ",")


def one_line(text: str) -> str:
    """The lines in one, without marks at their beginnings. Where a line was a pause, a mark says so."""
    joined, was_item, apart = "", False, False
    for line in text.split("\n"):
        if not line.strip() or _RULE.fullmatch(line):
            apart = True
            continue
        opened = _QUOTE_OR_HEADING.match(line)
        said = line[opened.end() :] if opened else line
        bullet = _BULLET.match(said)
        said = said[bullet.end() :] if bullet else said
        item = bullet is not None or _NUMBERED.match(said) is not None
        said = _NUMBERED.sub(r"\1. ", said, count=1)
        said = (_CELLS.sub(", ", said.strip().strip("|")) if "|" in said else said).strip()
        heading = opened is not None and opened[1] is not None
        if joined and not joined.endswith(_PAUSES):
            joined += "," if item or was_item else "." if apart or heading else ""
        joined = f"{joined} {said}" if joined else said
        was_item, apart = item, heading
    return joined
