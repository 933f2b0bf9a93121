"""Turns written text into what a voice should read. American English, the same for the same text.

Web addresses, abbreviations, signs and figures become words; words of plain prose stay as they are,
capitals and acronyms included. What is not spoken at all is decided in `markup.py`, what a figure means
in `figures.py`, where a text is cut in `sentences.py`.
"""

from __future__ import annotations

import re
import unicodedata

from pipeline.core.directions import without_directions
from pipeline.core.figures import closes, in_words
from pipeline.core.markup import LINK, TAG, one_line, printable, speakable
from pipeline.core.numerals import listed
from pipeline.core.thoughts import without_thoughts

# -- web addresses ---------------------------------------------------------------------

_MAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>()\[\]\"'`*]+", re.IGNORECASE)
_DOMAIN = re.compile(
    r"(?<![\w@.-])(?:[a-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|io|co|ai|app|dev|info|tv|uk|ca|de|fr|eu"
    r"|txt|pdf|py|js|json|jpg|png|docx?|csv|zip|html|mp[34]|exe)\b(?!\.\w)(?:/[^\s<>()\[\]\"'`*]*)?",
    re.IGNORECASE,
)
_IN_ADDRESS = {".": "dot", "/": "slash", "-": "dash", "_": "underscore", "+": "plus", ":": "port", "@": "at"}
LONGEST_PATH = 40
"""Longer ways on a host are nothing to listen to."""


def _address(match: re.Match[str]) -> str:
    whole = match[0].rstrip(".,;:!?")
    bare = re.sub(
        r"^(?:https?://)?(?:www\.)?|[?#].*|/$", "", re.sub(r"/(?=[?#])", "", whole), flags=re.IGNORECASE
    )
    host, _, path = bare.partition("/")
    return _spell(host if len(path) > LONGEST_PATH else bare) + match[0][len(whole) :]


def _spell(address: str) -> str:
    return " ".join(_IN_ADDRESS.get(part, part) for part in re.findall(r"[^\W_]+|[./_+:@-]", address))


# -- abbreviations ---------------------------------------------------------------------

SENTENCE_OPENERS = frozenset(
    listed(
        "i i'm i'll i've i'd he she it we they you the this that these those there then but and so if when what "
        "where why how who do did is are was were can could will would should please let let's my your his her our "
        "their it's that's he's she's we're they're you're there's now well yes no okay oh not maybe also thanks"
    )
)
"""With a capital, they begin a sentence after an abbreviation that may end one."""

_ALWAYS = {
    "e.g": "for example", "i.e": "that is", "a.k.a": "also known as", "etc": "et cetera", "vs": "versus",
    "approx": "approximately", "mr": "Mister", "mrs": "Missus", "ms": "Ms", "w/o": "without", "w/": "with",
}  # fmt: skip
_WITH_STOP = {
    "prof": "Professor", "gen": "General", "sen": "Senator", "gov": "Governor", "capt": "Captain",
    "lt": "Lieutenant", "sgt": "Sergeant", "rev": "Reverend", "jr": "Junior", "sr": "Senior", "ave": "Avenue",
    "blvd": "Boulevard", "rd": "Road", "hwy": "Highway", "apt": "Apartment", "inc": "Incorporated",
    "ltd": "Limited", "corp": "Corporation", "co": "Company", "mt": "Mount", "dept": "department", "ext": "extension",
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday",
    "thur": "Thursday", "thurs": "Thursday", "fri": "Friday",
}  # fmt: skip
_CAPITAL_ONLY = frozenset(_WITH_STOP) - {"dept", "ext", "apt", "ave", "blvd"}
_SHORT = re.compile(
    r"\b(?:(e\.g|i\.e|a\.k\.a|etc|vs|approx|mr|mrs|ms)\b\.?|(w/o\b|w/(?=\s))"
    rf"|({'|'.join(sorted(_WITH_STOP, key=len, reverse=True))})\.)",
    re.IGNORECASE,
)
_HALF_DAY = re.compile(r"\b([ap])\.\s?m\.", re.IGNORECASE)
_STREET_OR_SAINT = re.compile(r"\b(St|Dr)\b(\.?)(?=(\s+([A-Z][\w']*))?)")
_NUMBER = re.compile(r"\b[Nn]o(s?)\.\s?(?=[0-9])|[#№]\s?(?=[0-9])")


def _in_full(match: re.Match[str]) -> str:
    short = match[0].rstrip(".").lower()
    if short in _CAPITAL_ONLY and not match[0][0].isupper():
        return match[0]
    full = _ALWAYS.get(short) or _WITH_STOP[short]
    if match[0][0].isupper() and not full[0].isupper():
        full = full[0].upper() + full[1:]
    # A title, or "e.g.", never ends a sentence; "et cetera", a street, a company may.
    return full + ("." if closes(match) and (match[3] or short == "etc") and not _title(full) else "")


def _title(full: str) -> bool:
    return full in {
        "Professor",
        "General",
        "Senator",
        "Governor",
        "Captain",
        "Lieutenant",
        "Sergeant",
        "Mount",
    }


def _street_or_saint(match: re.Match[str]) -> str:
    """Dr. and St. before a name are titles; after one, with no name following, they are streets."""
    title, street = ("Saint", "Street") if match[1] == "St" else ("Doctor", "Drive")
    before = match.string[: match.start()].split()
    named = bool(before) and (before[-1][0].isupper() or before[-1][0].isdigit())
    in_address = named and len(before) > 1 and before[-2][-1:] not in ".!?"
    opener = (match[4] or "").lower() in SENTENCE_OPENERS
    if match[4] and not opener and not (in_address and before[-2][0].islower()):
        return title
    if not named:
        return title if match[1] == "Dr" else match[0]
    ends = match[2] and (opener or not match.string[match.end() :].strip())
    return street + ("." if ends else "")


def _abbreviations(text: str) -> str:
    text = _SHORT.sub(_in_full, text)
    text = _STREET_OR_SAINT.sub(_street_or_saint, text)
    text = _HALF_DAY.sub(lambda m: f"{m[1].upper()}M" + ("." if closes(m) else ""), text)
    return _NUMBER.sub(lambda m: "numbers " if m[1] else "number ", text)


# -- signs -----------------------------------------------------------------------------

_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|#39);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " ", "#39": "'"}
_BEFORE_FIGURES = (
    (re.compile(r"(?<!\S)(?:[:;]-?[()DPp](?!\S)|<3(?!\S|\s[0-9a-z]))"), " "),
    (re.compile(r"\s?(?:[-=]>|[→⇒])\s?"), " to "),
    (re.compile(r"[~≈]\s?(?=[$€£]?\.?[0-9])"), " about "),
    (re.compile(r"[<≤]=?\s?(?=[$€£-]?\.?[0-9])"), " less than "),
    (re.compile(r"[>≥]=?\s?(?=[$€£-]?\.?[0-9])"), " more than "),
    (re.compile("±"), " plus or minus "),
)
_AFTER_FIGURES = (
    (re.compile(r"\b([CF])#"), r"\1 sharp"),
    (re.compile(r"\s?%"), " percent"),
    (re.compile(r"\s?°"), " degrees"),
    (re.compile("&+"), " and "),
    (re.compile(r"@(?=\s?\w)"), " at "),
    (re.compile(r"\+(?=\s?\w)|(?<=\w)\+|(?<=\w\+)\+"), " plus "),
    (re.compile(r"(?<=\w)\s?=+\s?(?=\w)"), " equals "),
    (re.compile(r"(?<=[a-z]{2})/(?!or\b)(?=[a-z]{2})(?<!and/)"), " or "),
    (re.compile(r"(?<=\w)_+(?=\w)"), " "),
    # Whatever is left of them has no words.
    (re.compile(r"[|<>{}\[\]\\^=+@$€£¥₹¢/]+"), " "),
)
_SIGN = re.compile(r"[^\w\s.,;:!?'\"()-]|_|[:;]-?[()DPp]")
_STRAY_SPACE = re.compile(r"\s+(?=[,.;:!?…])")
_TWICE = re.compile(r",(?:\s*[,;])+")


def _plain_figures(text: str) -> str:
    """Figures of other scripts, raised ones and fractions in one character as ASCII writes them."""
    if text.isascii():
        return text
    kept = []
    for ch in text.translate(_RAISED):
        if not ch.isascii() and ch.isdecimal():
            ch = str(unicodedata.decimal(ch))
        elif unicodedata.category(ch) == "No":
            ch = " " + unicodedata.normalize("NFKC", ch).replace("\u2044", "/")
        kept.append(ch)
    return "".join(kept)


_RAISED = {ord("²"): "^2", ord("³"): "^3", ord("\u00a0"): " ", ord("\u202f"): " "}


def _without_signs(text: str) -> str:
    """Signs as words; those of mathematics that have none here go."""
    for pattern, said in _AFTER_FIGURES:
        text = pattern.sub(said, text)
    if text.isascii():
        return text
    return "".join(" " if unicodedata.category(ch) in {"Sm", "Sc"} else ch for ch in text)


def spoken(text: str) -> str:
    """What a voice reads: one line, without markup, signs and figures. Reading it again changes nothing."""
    # Taking out one thing may lay bare another, as in `(*laughs*)`. It ends: after the first reading no sign and
    # no figure is left, and what is still read then only takes marks and abbreviations away.
    while (said := _read(text)) != text:
        text = said
    return text


def _read(text: str) -> str:
    text = _plain_figures(printable(without_thoughts(text) if "<" in text else text))
    text = _ENTITY.sub(lambda match: _ENTITIES[match[1]], text)
    text = one_line(LINK.sub(r"\1", TAG.sub(" ", text)))
    text = without_directions(text)
    if "." in text or "@" in text or "://" in text:
        text = _DOMAIN.sub(_address, _URL.sub(_address, _MAIL.sub(_address, text)))
    text = _abbreviations(text)
    if marked := _SIGN.search(text) is not None:
        for pattern, said in _BEFORE_FIGURES:
            text = pattern.sub(said, text)
    text = in_words(text)
    if marked:
        text = _without_signs(text)
    return _TWICE.sub(",", _STRAY_SPACE.sub("", speakable(text))).lstrip(" ,;:.…")
