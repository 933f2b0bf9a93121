"""Takes out what is written but not meant to be spoken: markup, emoji, stage directions, line breaks.

The words are left exactly as they are; how they are read is decided in `spoken.py`. The patterns of what
must stay in one piece are here too, for `sentences.py` to cut around them.
"""

from __future__ import annotations

import re
import unicodedata

# -- what is not meant to be spoken ----------------------------------------------------

LABEL, ADDRESS = r"[^\[\]]{0,80}", r"[^()]{0,500}"  # bounded, for what nobody closes must not be waited for
LINK = re.compile(rf"!?\[({LABEL})\]\({ADDRESS}\)")
TAG = re.compile(r"</?[A-Za-z](?:(?!://|@)[^<>]){0,80}>")
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


# -- stage directions ------------------------------------------------------------------

_DOES = (
    r"(?:laugh|chuckl|giggl|sigh|gasp|cough|sniffl?|sob|groan|moan|yawn|snort|gulp|humm?|whisper|smil|grinn?|smirk|"
    r"wink|nodd?|shrugg?|blush|paus|breath|exhal|inhal|scoff|mumbl|mutter|murmur|clapp?|hesitat|pout|frown|cackl|"
    r"snicker|wheez|think|cr)(?:e?s|ies|ing|ying)"
)
_SOUND = (
    r"(?:pause|beat|sigh|gasp|cough|laughter|laugh|chuckle|giggle|sniff|sniffle|wink|gulp|yawn|applause|silence|"
    r"smile|grin|breath|ahem)"
)
_MANNER = (
    r"(?:softly|quietly|gently|warmly|excitedly|playfully|cheerfully|thoughtfully|nervously|sarcastically|jokingly|"
    r"teasingly|sheepishly|brightly|deeply|heavily|lightly|happily|sadly|awkwardly|knowingly|dramatically|slowly)"
)
_KIND = r"(?:long|short|brief|deep|soft|light|small|slight|heavy|nervous|awkward|big|warm|happy|sad|little|dramatic)"
_ACT = (
    rf"(?:{_MANNER} )?{_DOES}(?: {_MANNER})?|(?:an? )?(?:{_KIND} )?{_SOUND}"
    r"|clear(?:s|ing) (?:my |his |her |their |its )?throat|tak(?:es|ing) an? (?:deep )?breath"
)
_PLAYED = re.compile(rf"(?:{_ACT}|{_MANNER})[.!,… ]*", re.IGNORECASE)
_PLAYED_SHORT = re.compile(rf"(?:{_ACT})[.!,… ]*", re.IGNORECASE)
# Between asterisks even more is played, and an adverb alone is but stressed.
_PLAYED_LONG = re.compile(
    rf"(?:(?:{_ACT})|(?:{_DOES}|(?:leans|looks|takes|tilts|raises|rolls|shakes|waves|glances|turns|rubs|stares) \S+)"
    r"(?:,? \S+){0,6})[.!,… ]*",
    re.IGNORECASE,
)
STARRED = re.compile(r"(?<!\w)([*_]{1,3})([^*_\n]{1,60})\1(?!\w)")
_BRACKETED = re.compile(r"\(([^()\[\]]{0,40})\)|\[([^()\[\]]{0,40})\]")
_BEGUN_STAR = re.compile(r"(?<!\w)[*_]{1,3}([^*_\n]{1,60})$")
_SENTENCE_OVER = re.compile(r"(?:^|[.!?…][\"”')]*)\s*$")


def _starred(match: re.Match[str]) -> str:
    said = match[2].strip()
    alone = _PLAYED.fullmatch(said) and _SENTENCE_OVER.search(match.string[: match.start()])
    long = _PLAYED_LONG if len(match[1]) == 1 else _PLAYED_SHORT
    return " " if alone or long.fullmatch(said) else match[0]


def _bracketed(match: re.Match[str]) -> str:
    said = (match[1] or match[2] or "").strip()
    return " " if not said or _PLAYED.fullmatch(said) else match[0]


def without_directions(text: str) -> str:
    """The text without `*laughs*`, `(sighs)`, `[pause]` and the like; other things in such marks stay."""
    if "*" in text or "_" in text:
        text = STARRED.sub(_starred, text)
    return _BRACKETED.sub(_bracketed, text) if "(" in text or "[" in text else text


def without_begun_direction(text: str) -> str:
    """The text without a direction at its end that breaks off."""
    begun = _BEGUN_STAR.search(text)
    return text[: begun.start()] if begun and _PLAYED_LONG.fullmatch(begun[1].strip()) else text


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
