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
STAGED_CHARS = 80
"""A stage direction is no longer than this. What is not closed by then was none, and the caller waits for it."""
CHANNEL = "channel"
"""Where a server hands on the format of gpt-oss as it is, all it writes is thought or a tool's, until its answer."""
_CHANNEL, _START = r"<\|channel\|>", r"<\|start\|>assistant"
_ANSWER = r"<\|channel\|>\s?final\s?(?:<\|constrain\|>\w{1,20})?<\|message\|>"
_ANSWER_CHARS = 64
_THOUGHT, _NAME = "|".join(THOUGHTS), "|".join((*THOUGHTS, *STAGED))
_TAG = re.compile(
    # A tag that is quoted is spoken of: `<analysis>`.
    rf"(?P<quoted>[`\"'“‘]<(?:{_NAME})>[`\"'”’])|<(?P<opens>{_NAME})>|</(?P<closes>{_THOUGHT})>"
    rf"|(?P<channel>{_CHANNEL})|{_START}",
    re.IGNORECASE,
)
_BEGUN = re.compile(
    r"(?:[`\"'“‘](?:<[a-z_]{0,20}>?)?|</?[a-z_]{0,20}|<\|[a-z]{0,7}\|?|<\|start\|>[a-z]{0,8})\Z",
    re.IGNORECASE,
)
_QUOTES = tuple("`\"'“‘")
_LONGEST = max(_ANSWER_CHARS, *(len(f"</{name}>") for name in THOUGHTS))


def without_thoughts(text: str) -> str:
    """The text without what stands between such tags."""
    silencer = Silencer()
    return silencer.feed(text) + silencer.end()


class Silencer:
    """Feed it the text in any pieces; it gives back what is between no such tags, as soon as that is known.

    Thoughts that are never closed go to the end. A stage direction that is not closed soon was none.
    `thinking`: a thought has begun before the text has, in a tag whose name is not known.
    """

    def __init__(self, *, thinking: bool = False) -> None:
        self._held = ""
        self._inside: str | None = _THOUGHT if thinking else None
        self.stray_end = False
        """Whether a thought was closed that nobody opened: what was said before it is one."""

    @property
    def thinking(self) -> bool:
        """Whether a thought is not closed yet."""
        return self._inside is not None and self._inside not in STAGED

    def feed(self, text: str) -> str:
        self._held += text
        return self._known(over=False)

    def end(self) -> str:
        """What was held back and turned out to be to be said."""
        return self._known(over=True)

    def _known(self, *, over: bool) -> str:
        said = ""
        while (
            passed := self._aloud(over=over) if self._inside is None else self._silent(over=over)
        ) is not None:
            said += passed
        if self._inside is None:
            begun = None if over else _BEGUN.search(self._held)
            known = len(self._held) if begun is None else begun.start()
            said, self._held = said + self._held[:known], self._held[known:]
        elif self.thinking:
            self._held = self._held[-_LONGEST:]  # the rest of it is of no use
        return said

    def _aloud(self, *, over: bool) -> str | None:
        """What stands before the next tag, which is passed; None where there is none yet."""
        tag = _TAG.search(self._held)
        if tag is None:
            return None
        before = self._held[: tag.start()]
        if tag["quoted"]:
            before += tag["quoted"]
        elif tag["opens"]:
            if not over and tag.end() == len(self._held) and before.endswith(_QUOTES):
                return None  # the next letter tells whether it is quoted
            self._inside = tag["opens"].lower()
        elif tag["channel"]:
            self._inside, self._held = CHANNEL, self._held[tag.start() :]  # it may be the answer's
            return before
        elif tag["closes"]:
            self.stray_end = True
        self._held = self._held[tag.end() :]
        return before

    def _silent(self, *, over: bool) -> str | None:
        """Pass the end of what is not said; None where it is to come."""
        staged = self._inside in STAGED
        ends = _ANSWER if self._inside == CHANNEL else rf"</(?:{self._inside})>"
        end = re.search(ends, self._held, re.IGNORECASE)
        if end is not None and (not staged or end.start() <= STAGED_CHARS):
            self._held = self._held[end.end() :]
        elif not staged or not (over or len(self._held) >= STAGED_CHARS + len(f"</{self._inside}>")):
            return None
        self._inside = None
        return ""
