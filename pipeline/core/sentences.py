"""Cuts a reply into speakable pieces while it is still being written.

The first piece may end at a comma, so that speech starts early; later ones end with a
sentence. Anything that is not meant to be spoken (markup, emoji, line breaks) goes here.
"""

from __future__ import annotations

import re
import unicodedata

_END = re.compile(r"[.!?…]+[\"')\]]*(?=\s)")
_CLAUSE = re.compile(r"[,;:—-](?=\s)")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|vs|e\.g|i\.e|a\.m|p\.m)|\b[A-Z])\.$")
_MARKUP = re.compile(r"[*_`#~\ufe00-\ufe0f\u20e3]+")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
# Bounded, so that a bracket nobody closes does not hold speech back for long.
_BEGUN_LINK = re.compile(r"!?\[([^\[\]]{0,80})(?:\](?:\([^()]{0,500})?)?$")

FIRST_CLAUSE_CHARS = 24
LONGEST_CHARS = 200


def speakable(text: str) -> str:
    """The text without markup, emoji and control characters, on one line. Of a link its words are left."""
    plain = _MARKUP.sub("", _LINK.sub(r"\1", text))
    kept = "".join(
        " " if ch.isspace() else ch
        for ch in plain
        if unicodedata.category(ch) not in _UNSPOKEN or ch.isspace()
    )
    return " ".join(kept.split())


_UNSPOKEN = frozenset({"So", "Sk", "Cc", "Cf", "Cs", "Co", "Cn"})


class SentenceCutter:
    """Feed it the model's pieces; it gives back what can be spoken already."""

    def __init__(self) -> None:
        self._rest = ""
        self._first = True

    def add(self, piece: str) -> list[str]:
        self._rest = _LINK.sub(r"\1", self._rest + piece)
        ready: list[str] = []
        while (end := self._cut()) is not None:
            ready += self._emit(self._rest[:end])
            self._rest = self._rest[end:]
        return ready

    def finish(self) -> list[str]:
        """The last piece, whatever it ends with."""
        rest, self._rest = self._rest, ""
        return self._emit(_BEGUN_LINK.sub(r"\1", rest))

    def _emit(self, raw: str) -> list[str]:
        text = speakable(raw)
        if not any(ch.isalnum() for ch in text):
            return []
        self._first = False
        return [text]

    def _cut(self) -> int | None:
        begun = _BEGUN_LINK.search(self._rest)
        whole = self._rest if begun is None else self._rest[: begun.start()]
        head = whole[: LONGEST_CHARS + 1]
        for match in _END.finditer(head):
            if not _ABBREVIATION.search(head[: match.end()]):
                return match.end()
        if self._first:
            for match in _CLAUSE.finditer(head):
                if match.start() >= FIRST_CLAUSE_CHARS:
                    return match.end()
        if len(whole) > LONGEST_CHARS:
            return whole.rfind(" ", 0, LONGEST_CHARS) + 1 or LONGEST_CHARS
        return None
