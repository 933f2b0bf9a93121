"""What a model writes between tags of its own and nobody is to hear: its thoughts, and stage directions.

Other tags are markup: `markup.py` takes them away and leaves the words between them.
"""

from __future__ import annotations

import re

THOUGHTS = (
    "think", "thinking", "thought", "thoughts", "reasoning", "reflection", "analysis", "scratchpad",
    "inner_monologue", "internal_monologue",
)  # fmt: skip
STAGED = ("action", "actions", "emotion", "expression", "gesture", "tone", "stage_direction", "aside")
_OPENS = re.compile(rf"<({'|'.join((*THOUGHTS, *STAGED))})>", re.IGNORECASE)
_BEGUN = re.compile(r"<[a-z_]{0,20}\Z", re.IGNORECASE)


def without_thoughts(text: str) -> str:
    """The text without what stands between such tags."""
    silencer = Silencer()
    return silencer.feed(text) + silencer.end()


class Silencer:
    """Feed it the text in any pieces; it gives back what is between no such tags, as soon as that is known.

    Thoughts that are never closed go to the end. A stage direction that is never closed was none.
    """

    def __init__(self) -> None:
        self._held = ""
        self._inside = ""

    def feed(self, text: str) -> str:
        self._held += text
        said = ""
        while True:
            tag = self._closes() if self._inside else _OPENS.search(self._held)
            if tag is None:
                break
            said += "" if self._inside else self._held[: tag.start()]
            self._inside = "" if self._inside else tag[1].lower()
            self._held = self._held[tag.end() :]
        if not self._inside:
            begun = _BEGUN.search(self._held)
            known = len(self._held) if begun is None else begun.start()
            said, self._held = said + self._held[:known], self._held[known:]
        return said

    def end(self) -> str:
        """What was held back and turned out to be to be said."""
        return "" if self._inside in THOUGHTS else self._held

    def _closes(self) -> re.Match[str] | None:
        return re.search(rf"</{self._inside}>", self._held, re.IGNORECASE)
