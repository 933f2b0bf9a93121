"""What a sentence says, whatever its wording: the words that carry it, and whether another sentence says it too.

"My sister is called Ann" and "Ann is the name of my sister" have the same gist. Words are compared as they are written:
no meanings, no endings, and the words that carry nothing are known in English only. In other languages less is found
alike, never more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

T = TypeVar("T")

LEAST_WORDS = 2
"""One word alone says too little: trains are in many a sentence."""
EMPTY = frozenset(
    {
        "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been",
        "before", "being", "but", "by", "called", "can", "could", "did", "do", "does", "don", "for", "from", "get",
        "got", "had", "has", "have", "he", "her", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it",
        "its", "just", "ll", "me", "mine", "my", "name", "named", "names", "no", "not", "of", "off", "on", "or",
        "our", "ours", "out", "over", "own", "re", "really", "said", "says", "she", "should", "so", "some", "than",
        "that", "the", "their", "theirs", "them", "then", "there", "these", "they", "this", "those", "to", "too",
        "told", "up", "us", "ve", "very", "was", "we", "were", "what", "when", "where", "which", "who", "whom",
        "whose", "why", "will", "with", "would", "you", "your", "yours", "caller", "person", "user",
    }
)  # fmt: skip
"""English words that do not tell one fact from another, and words by which a person is spoken of. "Not" is one of them:
the opposite of a fact is about the same thing.
"""


def gist(words: Iterable[str]) -> frozenset[str]:
    """Of folded words those that carry what is said; none where they are too few to say anything."""
    carrying = frozenset(
        word for word in words if word not in EMPTY and not (len(word) == 1 and word.isalpha())
    )
    return carrying if len(carrying) >= LEAST_WORDS else frozenset()


def says(gist: Collection[T], words: Collection[T]) -> bool:
    """Whether these words say it too: all that carry it are among them, of five or more four fifths."""
    return bool(gist) and sum(word in words for word in gist) * 5 >= len(gist) * 4
