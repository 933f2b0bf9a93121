"""The words of a turn, however they were transcribed, in the one form that phrases are looked for in."""

from __future__ import annotations

import re

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": "'"})
_BREAK = re.compile(r"\s*(?:[.,;:!…]|--?(?=\s|$)|[–—])+(?:\s*[.,;:!…–—])*\s*")
_UNHEARD = re.compile(r"[^\w\s'|?-]")


def clauses(text: str) -> str:
    """Lower case, words apart by one space, a `|` where punctuation was and a `?` where a question ends."""
    lowered = " ".join(text.translate(_APOSTROPHES).lower().split())
    marked = _BREAK.sub(" | ", re.sub(r"\?[?!.]*", " ? ", lowered))
    heard = " ".join(_UNHEARD.sub(" ", marked).split())
    return re.sub(r"(?:\| )*([?|])(?: \|)*", r"\1", heard).strip(" |")


def plain(text: str) -> str:
    """The words alone."""
    return " ".join(re.sub("[|?]", " ", clauses(text)).split())


def any_of(*phrases: str) -> str:
    """The pattern of one phrase out of these."""
    return f"(?:{'|'.join(phrases)})"
