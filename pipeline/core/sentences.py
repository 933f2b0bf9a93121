"""Cuts a reply into speakable pieces while it is still being written.

The first piece may end at a clause, so that speech starts early; later ones end with a sentence. Cutting
happens on the text as written; how a piece is read is decided in `spoken.py`.

Whether and where to cut is a function of the text alone, never of how it arrived: a place that cannot be
judged yet waits for more text, and how much it may wait for is bounded.
"""

from __future__ import annotations

import re

from pipeline.core.directions import STARRED, without_begun_direction, without_directions
from pipeline.core.figures import DAY_NAME, MONTH
from pipeline.core.markup import ADDRESS, LABEL, LINK, TAG, speakable
from pipeline.core.spoken import SENTENCE_OPENERS, spoken
from pipeline.core.thoughts import Silencer

__all__ = ["FIRST_CLAUSE_CHARS", "LONGEST_CHARS", "SentenceCutter", "speakable"]

FIRST_CLAUSE_CHARS = 24
LONGEST_CHARS = 200
FORESIGHT = 8
"""A piece that is too long is cut when this much more has come, so that marks at its end are seen whole."""

_POINT = re.compile(
    r"(?P<opening>!?\[|[(<]|(?<!\w)[*_]{1,3}(?=[A-Za-z]))"
    r"|(?P<end>[.!?…]+)(?P<closed>[\"”’')\]*_]*)(?=\s)"
    r"|(?P<clause>[,;:—–-])(?=\s)"
    r"|(?P<paragraph>\n)(?=[^\S\n]{0,4}\n)"
)
# What begins with a mark and stays in one piece; the second of each pair is its beginning, at the end of a text.
_STARRED_BEGUN = re.compile(r"([*_]{1,3})[^*_\n]{0,80}[*_]{0,2}\Z")
_SPANS = {
    "[": (
        re.compile(rf"!?\[{LABEL}\](?:\({ADDRESS}\))?"),
        re.compile(rf"!?\[{LABEL}(?:\](?:\({ADDRESS})?)?\Z"),
    ),
    "(": (re.compile(r"\([^()]{0,80}\)"), re.compile(r"\([^()]{0,80}\Z")),
    "<": (TAG, re.compile(r"<(?:/?(?:[A-Za-z][^<>]{0,80})?|[|｜][^\s<>|｜]{0,40}[|｜]?)?\Z")),
    "*": (STARRED, _STARRED_BEGUN),
    "_": (STARRED, _STARRED_BEGUN),
}

# Before these a full stop does not end a sentence: never; when a figure follows; when no word follows that
# may begin one; when no word with a capital does.
_NEVER = re.compile(
    r"\b(?:Mr|Mrs|Ms|Prof|Gen|Sen|Gov|Capt|Lt|Sgt|Rev|Mt|Mon|Tues?|Wed|Thu(?:rs?)?|Fri|(?i:e\.g|i\.e|vs|approx))$"
)
_BEFORE_FIGURE = re.compile(r"\b(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|[Nn]os?)$")
_INITIAL = re.compile(
    r"(?:\b[A-HJ-Z]|\b(?:[A-Z]\.)+[A-Z]|\b(?:St|Dr|Jr|Sr|Ave|Blvd|Rd|Apt|Inc|Ltd|Corp|Co|Dept|Ext))$"
)
_MAY_END = re.compile(
    r"(?:\b[ap]\.\s?m|\betc|[0-9]\s?(?:[ap]\.\s?m|ft|in|lbs?|oz|min|hrs?|sec|mi))$", re.IGNORECASE
)
_ABBREVIATED = (_NEVER, _BEFORE_FIGURE, _INITIAL, _MAY_END)
_NUMBERED = re.compile(r"(?:\A|\n)\s*[0-9]{1,2}$")
_WORD = re.compile(r"[\"“'(*_]*([A-Za-z']{1,20})(?=([^A-Za-z'])?)")
_GOES_ON = re.compile(rf"(?:{DAY_NAME}|{MONTH}|[A-Z]{{2,4}}\b)")
_ENDED = re.compile(r"[.!?…][\"”’')\]*_\s]*\Z")
_CLAUSE_END = re.compile(r"[,;:—–]$")
_FIGURE = re.compile(r"[0-9$€£%#&@+=]")


class SentenceCutter:
    """Feed it the model's pieces; it gives back what can be spoken already, as it is to be spoken."""

    def __init__(self) -> None:
        self._silencer = Silencer()
        self._rest = ""
        self._first = True
        self._started = False
        self._ready: list[str] = []
        self._whole: int | None = None
        """So many of the ready pieces end with a whole sentence; None before there was any."""

    def add(self, piece: str) -> list[str]:
        self._rest += self._silencer.feed(piece)
        self._cut(last=False)
        return self._take()

    def finish(self, *, cut_short: bool = False) -> list[str]:
        """The last pieces, whatever they end with.

        Of a text that was `cut_short` a last sentence that breaks off is left out, if there was a whole one before.
        """
        self._rest += self._silencer.end()
        self._cut(last=True)
        rest, self._rest = self._rest, ""
        self._emit(without_begun_direction(_BEGUN_LINK.sub(r"\1", rest)))
        if cut_short and self._whole is not None:
            del self._ready[self._whole :]
        return self._take()

    def _take(self) -> list[str]:
        ready, self._ready = self._ready, []
        self._whole = None if self._whole is None else 0
        return ready

    def _cut(self, *, last: bool) -> None:
        while (
            end := _Cut(self._rest, last=last, first=self._first, started=self._started).place()
        ) is not None:
            self._emit(self._rest[:end])
            self._rest = self._rest[end:]
            self._started = True

    def _emit(self, raw: str) -> None:
        text = spoken(raw)
        if not any(ch.isalnum() for ch in text):
            return
        self._first = False
        self._ready += short_pieces(text)
        if _ends_sentence(raw):
            self._whole = len(self._ready)


def _ends_sentence(raw: str) -> bool:
    ended = _ENDED.search(raw)
    if ended is None:
        return False
    before = raw[: ended.start()]
    return not (_NEVER.search(before) or _INITIAL.search(before) or _NUMBERED.search(before))


_BEGUN_LINK = re.compile(rf"!?\[({LABEL})\]\({ADDRESS}$")


def short_pieces(text: str) -> list[str]:
    """The text in pieces of at most `LONGEST_CHARS`, for figures grow when they are read out."""
    pieces = []
    while len(text) > LONGEST_CHARS:
        end = _best_space(text, LONGEST_CHARS + 1, ()) or LONGEST_CHARS
        pieces.append(text[:end].strip())
        text = text[end:].strip()
    return [*pieces, text]


def _best_space(text: str, limit: int, spans: tuple[tuple[int, int], ...]) -> int:
    """Behind which space before the limit to cut: after a clause at best, not beside a figure; 0 for none."""
    best = (-1, 0)
    for at in range(1, min(limit, len(text))):
        if not text[at].isspace() or any(start < at < end for start, end in spans):
            continue
        figure = _FIGURE.search(text[at - 1 : at + 2])
        rank = 0 if figure or at < limit // 2 else 2 if _CLAUSE_END.search(text[at - 1 : at]) else 1
        best = max(best, (rank, at + 1))
    return best[1]


class _Cut:
    """One look at the text that is not spoken yet."""

    def __init__(self, rest: str, *, last: bool, first: bool, started: bool) -> None:
        self._rest = rest
        self._last = last
        self._first = first
        self._started = started
        self._spans: list[tuple[int, int]] = []
        self._unspoken = 0  # characters so far that are not spoken, as the address of a link

    def place(self) -> int | None:
        """The first place to cut at; None when there is none yet."""
        position, known = 0, len(self._rest)
        while (point := _POINT.search(self._rest, position)) is not None:
            if point.start() >= LONGEST_CHARS + self._unspoken:
                break
            if point["opening"]:
                end = self._span(point)
                if end is None:
                    known = point.start()
                    break
                position = end
                if self._over(end):
                    return end
                continue
            position = point.end()
            if position >= LONGEST_CHARS + self._unspoken + FORESIGHT:
                break
            verdict = self._judge(point)
            if verdict is None:
                known = point.start()
                break
            if verdict:
                return position
        limit = LONGEST_CHARS + self._unspoken
        return self._forced(limit) if known > limit + (0 if self._last else FORESIGHT) else None

    def _forced(self, limit: int) -> int:
        if end := _best_space(self._rest, limit, tuple(self._spans)):
            return end
        return next((start for start, end in self._spans if start < limit < end), limit)

    def _span(self, point: re.Match[str]) -> int | None:
        """Where what begins here ends; right behind its mark when it is nothing, None while that is open."""
        start = point.start()
        whole, begun = _SPANS[self._rest[point.end() - 1]]
        if not self._last and begun.match(self._rest, start):
            return None
        found = whole.match(self._rest, start)
        if found is None:
            return point.end()
        self._spans.append((start, found.end()))
        said = LINK.sub(r"\1", TAG.sub("", without_directions(found[0])))
        self._unspoken += len(found[0]) - len(said.strip() and said)
        return found.end()

    def _over(self, end: int) -> bool:
        """Whether a sentence ends with what is between stars and ends here."""
        closing = self._rest[:end].rstrip("*_")
        return (
            len(closing) < end
            and closing.endswith((".", "!", "?", "…"))
            and self._rest[end : end + 1].isspace()
        )

    def _judge(self, point: re.Match[str]) -> bool | None:
        """Whether to cut behind this mark; None while the text does not tell."""
        if point["paragraph"]:
            return True
        following = self._rest[point.end() :].lstrip()
        if point["clause"]:
            return self._clause(point, following)
        if "!" in point["end"] or "?" in point["end"] or point["closed"]:
            return True
        before = self._rest[: point.start()]
        dots = len(point["end"]) > 1 or point["end"] == "…"
        if not following:
            # Most full stops end a sentence whatever follows; of the others the text must tell more.
            return None if not self._last and (dots or self._abbreviated(before)) else True
        if dots:
            return not following[0].islower() or self._clause(point, following)
        return self._full_stop(before, following) if self._abbreviated(before) else True

    def _clause(self, point: re.Match[str], following: str) -> bool | None:
        """The first piece may end here, but not inside of a date or a sum."""
        if not self._first or point.start() - self._unspoken < FIRST_CLAUSE_CHARS:
            return False
        if not self._rest[: point.start()].rstrip()[-1:].isdigit():
            return True
        if not following:
            return True if self._last else None
        return not following[0].isdigit()

    def _abbreviated(self, before: str) -> bool:
        return self._numbered(before) or any(kind.search(before[-16:]) for kind in _ABBREVIATED)

    def _numbered(self, before: str) -> bool:
        """Whether this is the number of an item of a list."""
        return _NUMBERED.search(before) is not None and ("\n" in before or not self._started)

    def _full_stop(self, before: str, following: str) -> bool | None:
        """Whether the full stop of an abbreviation ends a sentence too."""
        near = before[-16:]
        if _NEVER.search(near) or self._numbered(before):
            return False
        if _BEFORE_FIGURE.search(near):
            return not following[0].isdigit()
        word = _WORD.match(following)
        if word is None or (word[2] is None and len(word[1]) < 20):
            if not self._last and (word is not None or following.strip("\"“'(*_") == ""):
                return None
            if word is None:
                return _MAY_END.search(near) is not None
        if not word[1][0].isupper():
            return False
        return word[1].lower() in SENTENCE_OPENERS if _INITIAL.search(near) else not _GOES_ON.match(word[1])
