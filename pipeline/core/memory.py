"""What a persona keeps of a person: facts, how the last call went, and what is left open; and how new joins old.

A newer fact about the same subject takes the place of the older one, equal ones are kept once, and what was
deleted never comes back: a deleted memory leaves marks, and whatever bears one of them is dropped. How memories
are asked for is in `memory_order.py`, how they are shown to the model in `memory_prompt.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from pipeline.core.gist import gist, says
from pipeline.core.said_dates import meant

Kind = Literal["fact", "summary", "thread"]

Mark = Callable[[str, str], str]
"""Makes one mark of what it marks ("text", "subject", "word", "gist") and of folded words: without a space, the same
for the same, and for each pair of person and persona another. It tells nobody the words.
"""

LONGEST = 200
"""Characters of one memory."""
LONGEST_SUBJECT = 40
MOST_FACTS = 50
MOST_THREADS = 10
MOST_SUMMARIES = 3
MOST: dict[Kind, int] = {"fact": MOST_FACTS, "thread": MOST_THREADS, "summary": MOST_SUMMARIES}
"""Kept of each kind for one person and persona; the least important go first, of those the oldest."""
LEAST, USUAL, GREATEST = 1, 3, 5
"""How important a memory is."""
SUBJECT_WORDS = 4
"""The longest subject, in words, that is looked for inside other memories."""

_UNEQUAL = re.compile(r"[^\w]+")


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory as it is kept. `said_on` is the person's own day, None where it is not known; `call_id`
    None where they wrote it themselves.

    `subject` is what a fact is about, so narrow that one fact of it can be true ("sister's name"); "" is none.
    """

    id: str
    kind: Kind
    text: str
    subject: str
    importance: int
    said_on: date | None
    call_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """What a call taught. A `done` thread is one that is not open any more."""

    kind: Kind
    text: str
    subject: str = ""
    importance: int = USUAL
    done: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """What becomes of the memories: `changed` keep their id, `added` get one, `dropped` are ids."""

    changed: tuple[Memory, ...] = ()
    added: tuple[Finding, ...] = ()
    dropped: tuple[str, ...] = ()


def cleaned(text: str, longest: int = LONGEST) -> str:
    """On one line, without control and other invisible characters and double quotes, cut at a word."""
    visible = "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    line = " ".join(re.sub('["“”„«»]', "'", visible).split())
    if len(line) <= longest:
        return line
    cut = line[: longest + 1]
    return (cut.rpartition(" ")[0] or cut)[:longest].rstrip()


def folded(text: str) -> str:
    """The words alone, in the one form in which they compare."""
    return " ".join(_UNEQUAL.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())


# -- marks of what was deleted ---------------------------------------------------------


def marks(mark: Mark, memory: Memory) -> frozenset[str]:
    """What a deleted memory leaves: its words and its subject, unreadable, and of a fact each word that carries it."""
    left = {mark("text", folded(memory.text)), *_gist_marks(mark, memory)}
    if subject := folded(memory.subject):
        left.add(mark("subject", subject))
    return frozenset(left)


def marks_of_correction(mark: Mark, memory: Memory, text: str) -> frozenset[str]:
    """What a corrected memory leaves: the old words, for the subject goes on; their gist where `text` has another."""
    left = _gist_marks(mark, memory)
    return frozenset({mark("text", folded(memory.text)), *(() if _told(mark, text, left) else left)})


def marks_lifted(mark: Mark, text: str, forgotten: frozenset[str]) -> frozenset[str]:
    """Of the marks those of these words: their owner says them again."""
    return frozenset({mark("text", folded(text)), *_told(mark, text, forgotten)})


def _gist_marks(mark: Mark, memory: Memory) -> frozenset[str]:
    """One for each word that carries a fact, all of the fact under one name."""
    carrying = gist(folded(memory.text).split()) if memory.kind == "fact" else frozenset[str]()
    name = mark("gist", " ".join(sorted(carrying)))
    return frozenset(f"{name} {mark('word', word)}" for word in carrying)


def _told(mark: Mark, text: str, forgotten: frozenset[str]) -> frozenset[str]:
    """The marks of those deleted facts that this text tells in other words."""
    facts: dict[str, dict[str, str]] = {}
    for each in forgotten:
        name, _, word = each.partition(" ")
        if word:
            facts.setdefault(name, {})[word] = each
    if not facts:
        return frozenset()
    words = {mark("word", word) for word in folded(text).split()}
    return frozenset(each for fact in facts.values() if says(fact, words) for each in fact.values())


def is_forgotten(mark: Mark, finding: Finding, forgotten: frozenset[str]) -> bool:
    """Whether this was deleted. Summaries and threads have no subject of their own: none may name a deleted one."""
    if not forgotten:
        return False
    if mark("text", folded(finding.text)) in forgotten or _told(mark, finding.text, forgotten):
        return True
    if finding.kind == "fact":
        subject = folded(finding.subject)
        return bool(subject) and mark("subject", subject) in forgotten
    words = folded(finding.text).split()
    spans = (
        " ".join(words[at : at + length])
        for length in range(1, SUBJECT_WORDS + 1)
        for at in range(len(words) - length + 1)
    )
    return any(mark("subject", span) in forgotten for span in spans)


def telling(gone: Memory, memories: Iterable[Memory]) -> tuple[Memory, ...]:
    """Summaries and threads that name the subject of a fact, or tell it: they go with it when it is deleted."""
    if gone.kind != "fact":
        return ()
    named, carrying = f" {folded(gone.subject)} ", gist(folded(gone.text).split())
    return tuple(
        each
        for each in memories
        if each.kind != "fact"
        and (
            (named.strip() and named in f" {folded(each.text)} ") or says(carrying, folded(each.text).split())
        )
    )


# -- new joins old ---------------------------------------------------------------------


def merge(
    mark: Mark,
    known: Sequence[Memory],
    found: Sequence[Finding],
    *,
    said_on: date,
    call_id: str | None,
    now: datetime,
    forgotten: frozenset[str] = frozenset(),
) -> Merged:
    """What the memories become with what a call taught, in the order in which it was found. Changes nothing itself."""
    kept = {memory.id: memory for memory in known}
    added: list[Finding] = []
    for finding in _last_words(found):
        if is_forgotten(mark, finding, forgotten):
            continue
        words = folded(finding.text)
        same = next(
            (each for each in kept.values() if each.kind == finding.kind and folded(each.text) == words), None
        )
        about = next((each for each in kept.values() if _about(each, finding)), None)
        if finding.done:
            if same is not None:
                del kept[same.id]
        elif same is not None and meant(same.text, same.said_on) == meant(finding.text, said_on):
            if about is not None and about.id != same.id:
                del kept[about.id]
        elif (old := about or same) is not None:
            kept[old.id] = replace(
                old, text=finding.text, importance=finding.importance, said_on=said_on, call_id=call_id,
                updated_at=now,
            )  # fmt: skip
        else:
            added.append(finding)
    return _capped(known, kept, added)


def _about(memory: Memory, finding: Finding) -> bool:
    """Whether the finding is the newer word on the same subject."""
    subject = folded(finding.subject)
    return memory.kind == finding.kind == "fact" and bool(subject) and folded(memory.subject) == subject


def _last_words(found: Sequence[Finding]) -> list[Finding]:
    """Of what was said twice, or corrected in the same call, the last."""
    last: list[Finding] = []
    for finding in found:
        last = [each for each in last if not _alike(each, finding)]
        last.append(finding)
    return last


def _alike(one: Finding, other: Finding) -> bool:
    if one.kind != other.kind:
        return False
    subject = folded(other.subject) if one.kind == "fact" else ""
    return folded(one.text) == folded(other.text) or (bool(subject) and folded(one.subject) == subject)


def _capped(known: Sequence[Memory], kept: dict[str, Memory], added: list[Finding]) -> Merged:
    before = {memory.id: memory for memory in known}
    for kind, most in MOST.items():
        new = sorted((each for each in added if each.kind == kind), key=lambda each: -each.importance)
        old = [each for each in kept.values() if each.kind == kind]
        # Of equal importance what is new stays: it is in the order of the call, so the sort may not undo it.
        ranked: list[Memory | Finding] = sorted(
            [*new, *sorted(old, key=lambda each: (each.updated_at, each.id), reverse=True)],
            key=lambda each: 0 if kind == "summary" else -each.importance,
        )
        for spare in ranked[most:]:
            if isinstance(spare, Memory):
                del kept[spare.id]
            else:
                added.remove(spare)
    changed = tuple(each for each in kept.values() if each != before[each.id])
    return Merged(changed, tuple(added), tuple(ident for ident in before if ident not in kept))
