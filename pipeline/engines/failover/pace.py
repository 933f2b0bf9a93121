"""How fast a voice speaks, and so where in a text its sound broke off.

Learned from the utterances it has said whole. A word may be said twice rather than none: what the person is
told to have heard they have heard.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.playout import MS_PER_CHAR

SLOW_MS_PER_CHAR = 90
"""As slow as a voice is on the telephone, for one that nothing is known of."""
LIKELY_MS_PER_CHAR = MS_PER_CHAR * 11 // 10
"""As slow as most are."""
SPREAD_PERCENT = 115
"""Of its own pace a voice takes so much for some utterances: names, figures, a pause for each comma."""


@dataclass(slots=True)
class Pace:
    """Of one voice: all the sound of its whole utterances, and all their characters."""

    ms: int = 0
    characters: int = 0

    def spoke(self, text: str, ms: int) -> None:
        """It has said all of a text, in so much sound."""
        if ms:
            self.ms += ms
            self.characters += len(text)

    def unspoken(self, text: str, ms: int) -> str:
        """All that may be left to say of `text` after so much of its sound, from the beginning of a word on."""
        if self.characters:
            return _after(text, ms * self.characters * 100 // (self.ms * SPREAD_PERCENT))
        return _after(text, ms // SLOW_MS_PER_CHAR)

    def likely_unspoken(self, text: str, ms: int) -> str:
        """What most likely is left of it, from the beginning of a word on."""
        if self.characters:
            return _after(text, ms * self.characters // self.ms)
        return _after(text, ms // LIKELY_MS_PER_CHAR)


def _after(text: str, reach: int) -> str:
    """What follows so many characters; the word they end in is said again."""
    if reach >= len(text):
        return ""
    while reach > 0 and not text[reach - 1].isspace():
        reach -= 1
    return text[reach:]
