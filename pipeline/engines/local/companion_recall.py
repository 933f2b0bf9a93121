"""What the rule-based companion finds of earlier calls in its prompt, and how it comes back to that.

Reads the block that `pipeline/core/memory_prompt.py` writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.said_dates import DAY_WORDS

_BLOCK = re.compile(r"^<memory>$(.*?)^</memory>$", re.MULTILINE | re.DOTALL)
_LINE = re.compile(
    r'^(?P<kind>last call|to come back to|fact)(?:, said on [\d-]+)?: "(?P<text>[^"]*)"'
    r"(?: \(that (?P<tense>was|is) (?P<day>[^,]+), (?P<distance>[^)]+)\))?$",
    re.MULTILINE,
)
_DAYS_OFF = re.compile(r"(?:in )?(\d+) days")
_SPEAKABLE = re.compile(r"^(?:the|my|your) ", re.IGNORECASE)
_SOON = 6
"""Days within which a weekday by itself is not taken for another week's."""
_TELLING = re.compile(r"[a-z]{4,}")


@dataclass(frozen=True, slots=True)
class Recalled:
    """One remembered thing. `day` and `distance` are "" where it names no day."""

    kind: str
    text: str
    past: bool = False
    day: str = ""
    distance: str = ""


def recalled(system: str) -> tuple[Recalled, ...]:
    found = _BLOCK.search(system)
    if found is None:
        return ()
    return tuple(
        Recalled(
            line["kind"], line["text"], line["tense"] == "was", line["day"] or "", line["distance"] or ""
        )
        for line in _LINE.finditer(found.group(1))
    )


def come_back(thread: Recalled) -> str:
    """The question with which an open thread is taken up; "" where the words do not lend themselves to one."""
    if thread.kind != "to come back to" or not _SPEAKABLE.match(thread.text) or not thread.distance:
        return ""
    what = "your " + _SPEAKABLE.sub("", DAY_WORDS.sub("", thread.text)).strip(" .")
    told = f"You told me about {what} {_when(thread)}."
    return f"{told} How did it go?" if thread.past else f"{told} How are you feeling about it?"


def _when(thread: Recalled) -> str:
    """The day as it is said today: "yesterday", "on Tuesday", "on Tuesday 1 December"."""
    off = _DAYS_OFF.match(thread.distance)
    if off is None:
        return thread.distance
    weekday, number, month = thread.day.split()[:3]
    return f"on {weekday}" if int(off[1]) <= _SOON else f"on {weekday} {number} {month}"


def best_for(turn: str, memories: Sequence[str], recall: int) -> str:
    """What is told when the caller asks what is remembered: what their words are about, or the next in turn."""
    words = set(_TELLING.findall(turn.casefold()))
    shared = [len(words & set(_TELLING.findall(memory.casefold()))) for memory in memories]
    if shared and max(shared) > 0:
        return memories[shared.index(max(shared))]
    return memories[recall - 1] if 0 < recall <= len(memories) else ""
