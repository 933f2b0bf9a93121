"""What a person types into a search, as terms; and the part of a line that shows why it was found.

No syntax is wrong: what is no word is passed over. `"in a row"` are words that follow each other, `inter*` begins
a word, everything else has to be there in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storage.search import Term

MOST_WORDS = 20
AROUND = 80
"""Characters shown to each side of the first hit, about."""

_PIECE = re.compile(r'"(?P<phrase>[^"]*)"?|(?P<plain>[^\s"]+)')
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Snippet:
    """Part of a line; hits are half-open ranges of its characters, in order and apart from each other."""

    text: str
    hits: tuple[tuple[int, int], ...]


def terms(query: str) -> list[Term]:
    """At most `MOST_WORDS` words, what follows is passed over; [] where there is no word in it."""
    found: list[Term] = []
    room = MOST_WORDS
    for piece in _PIECE.finditer(query):
        inside = piece["phrase"] if piece["plain"] is None else piece["plain"]
        words = tuple(_WORD.findall(inside))[:room]
        room -= len(words)
        if words:
            found.append(Term(words, prefix=piece["plain"] is not None and inside.endswith("*")))
    return found


def snippet(text: str, wanted: Sequence[Term]) -> Snippet:
    """The line around its first hit, cut at words, an ellipsis where it was cut."""
    hits = _apart(sorted(hit for term in wanted for hit in _hits(text, term)))
    first = hits[0][0] if hits else 0
    begin, end = max(0, first - AROUND), min(len(text), first + 2 * AROUND)
    if begin > 0:
        begin = next((word.start() for word in _WORD.finditer(text, begin + 1)), begin)
        begin = min(begin, first)
    if end < len(text):
        end = max((word.end() for word in _WORD.finditer(text) if word.end() <= end), default=end)
        end = max(end, hits[0][1] if hits else 0)
    before, after = "…" if begin > 0 else "", "…" if end < len(text) else ""
    shift = len(before) - begin
    shown = tuple((start + shift, stop + shift) for start, stop in hits if begin <= start and stop <= end)
    return Snippet(before + text[begin:end] + after, shown)


def _hits(text: str, term: Term) -> Iterator[tuple[int, int]]:
    there = list(_WORD.finditer(text))
    wanted = [word.casefold() for word in term.words]
    for first in range(len(there) - len(wanted) + 1):
        row = there[first : first + len(wanted)]
        heard = [word[0].casefold() for word in row]
        last = heard[-1].startswith(wanted[-1]) if term.prefix else heard[-1] == wanted[-1]
        if last and heard[:-1] == wanted[:-1]:
            yield row[0].start(), row[-1].end()


def _apart(hits: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that touch or overlap become one."""
    joined: list[tuple[int, int]] = []
    for start, stop in hits:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined
