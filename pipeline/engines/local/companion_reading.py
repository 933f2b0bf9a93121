"""What the rule-based companion understands: who it is, and what the caller's words are about.

Pure text in, facts out; what is said in answer is in `companion.py`. It reads English,
recognises intents by word patterns and never guesses beyond the caller's own words.

The system prompt may hold these lines, each on a line of its own; everything else in it is
searched for the manner, the scenario and names only:

    Name: Sarah              Person: Jordan             (whom it talks to)
    Manner: warm             (warm, upbeat or dry)
    Likes: baking, long walks
    Catchphrase: One step at a time.
    Remember: your sister is getting married in June    (any number)

and the block of memories of earlier calls (`companion_recall.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.engines.local.companion_patterns import FEELINGS, INTENTS, NOUNS, TOPICS, WEIGHTY
from pipeline.engines.local.companion_recall import come_back, recalled

Manner = Literal["warm", "upbeat", "dry"]

_FACT = re.compile(r"^\s*[-*•]?\s*([A-Za-z]+):\s*(\S.*?)\s*$", re.MULTILINE)
_YOU_ARE = re.compile(r"\b[Yy]ou(?: are|'re) ([A-Z][a-z]+)\b")
_TALKS_TO = re.compile(
    r"\b(?:[Tt]alk(?:ing)?|[Ss]peak(?:ing)?|call(?:ing)?) (?:to |with )?(?:your friend )?([A-Z][a-z]+)\b"
)
_MANNERS: tuple[tuple[Manner, re.Pattern[str]], ...] = (
    ("dry", re.compile(r"\b(dry|witty|sarcastic|deadpan|ironic|tech)\b", re.IGNORECASE)),
    ("upbeat", re.compile(r"\b(upbeat|coach|energetic|motivat\w+|cheerful|enthusias\w+)\b", re.IGNORECASE)),
    ("warm", re.compile(r"\b(warm|kind|gentle|caring|listener|curious)\b", re.IGNORECASE)),
)
_WISHED = re.compile(r'How they would like you to speak: "([^"]*)"')
_BY_NAME: dict[str, Manner] = {"brad": "upbeat", "alex": "dry", "sarah": "warm"}


@dataclass(frozen=True, slots=True)
class Self:
    """Who the companion is in this call."""

    name: str = ""
    manner: Manner = "warm"
    likes: tuple[str, ...] = ()
    catchphrase: str = ""
    person: str = ""
    memories: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    """Questions that take up what earlier calls left open."""
    scenario: str = ""


_SCENARIOS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("interviewer", re.compile(r"\binterviewer\b|\binterview practice\b", re.IGNORECASE)),
    ("rescue", re.compile(r"\b(awkward date|small emergency|leave (a|an|the) \w* ?date)\b", re.IGNORECASE)),
    ("checkin", re.compile(r"\b(accountab\w+|check-?in)\b|meant to get done", re.IGNORECASE)),
    ("wakeup", re.compile(r"\bwake-?up\b|out of bed", re.IGNORECASE)),
)


def read_self(system: str) -> Self:
    """What the system prompt says of the persona, the person and the task."""
    facts: dict[str, list[str]] = {}
    for key, value in _FACT.findall(system):
        facts.setdefault(key.casefold(), []).append(value)

    def first(key: str) -> str:
        return facts.get(key, [""])[0]

    named = _YOU_ARE.search(system)
    name = first("name") or (named.group(1) if named else "")
    person = first("person")
    if not person and (talks := _TALKS_TO.search(system)):
        person = talks.group(1)
    known = recalled(system)
    wished = _WISHED.search(system)
    return Self(
        name=name,
        manner=_manner(wished.group(1) if wished else first("manner"), name, system),
        likes=_listed(first("likes")),
        catchphrase=first("catchphrase"),
        person=person,
        memories=(
            *(memory.rstrip(".") for memory in facts.get("remember", [])),
            *(_other_side(each.text) for each in known if each.kind == "fact"),
        ),
        threads=tuple(question for each in known if (question := come_back(each))),
        scenario=next((kind for kind, pattern in _SCENARIOS if pattern.search(system)), ""),
    )


def _other_side(text: str) -> str:
    """A memory in the caller's words, as it is told them."""
    told = swapped(text.rstrip("."))
    return told[:1].lower() + told[1:]


def _manner(stated: str, name: str, system: str) -> Manner:
    for manner, pattern in _MANNERS:
        if stated and pattern.search(stated):
            return manner
    if name.casefold() in _BY_NAME:
        return _BY_NAME[name.casefold()]
    return next((manner for manner, pattern in _MANNERS if pattern.search(system)), "warm")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip(" .") for part in re.split(r",|;| and ", text) if part.strip(" ."))


# -- the caller's words ----------------------------------------------------------------


def _compiled(patterns: Mapping[str, Sequence[str]]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile("|".join(parts), re.IGNORECASE) for name, parts in patterns.items()}


_INTENTS = _compiled(INTENTS)
_FEELINGS = _compiled(FEELINGS)
_TOPICS = _compiled(TOPICS)

_MONTH = "january|february|march|april|june|july|august|september|october|november|december"  # "may" is mostly a verb
_DAY = re.compile(
    r"\b(?:on )?((?:next |this )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)|tomorrow|tonight|today"
    rf"|next (?:week|month|year)|(?:in )?(?:{_MONTH}))\b",
    re.IGNORECASE,
)
_MONTHS = re.compile(f"^({_MONTH})", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:[Tt]his is|[Mm]y name(?:'s| is)|[Ii]t's|I am|I'm|[Cc]all me) ([A-Z][a-z]+)\b")
_NOT_NAMES = re.compile("(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Not|Just|Really|Sorry|Okay|Fine|So")
_POSSESSION = re.compile(
    r"\b(my|our) ((?:(?:best|little|older|younger|big|new|old) )?[a-z]+"
    # "my brother's cat" is one thing, "my brother's getting a cat" is not.
    r"(?:'s (?!\w+ing\b|(?:an?|the|not|very|so|really|been|in|at|on|all)\b)[a-z]+)?)\b",
    re.IGNORECASE,
)
_NO_NOUN = re.compile(
    "own|mind|way|days?|life|time|best|turn|god|name|weakness(es)?|favou?rite|self", re.IGNORECASE
)
_QUESTION = re.compile(
    "(what|how|why|when|where|who|which|can|could|do|does|did|is|are|will|would) ", re.IGNORECASE
)
_PLAN = re.compile(r"\b(going to|gonna|i will|i'll|i want to|i need to|planning)\b", re.IGNORECASE)
_PAST = re.compile(
    r"\b(i went|i did|i had|i was|i saw|i made|i got|yesterday|last (night|week|year))\b", re.IGNORECASE
)
_NEGATED = re.compile(r"\b(not|don't|isn't|aren't|never|no longer)( \w+)? $", re.IGNORECASE)
_PUNCTUATION = re.compile("[.!?,]+")
_SENTENCES = re.compile("[.!?]+")
_WORDS = re.compile(r"[a-z']+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Words:
    """What one turn of the caller holds."""

    text: str
    intents: tuple[str, ...] = ()
    feeling: str = ""
    topic: str = ""
    noun: str = ""
    """The topic in words that refer to the caller's own: "the interview", "your sister"."""
    day: str = ""
    name: str = ""
    echo: str = ""
    """A short statement of theirs, seen from the other side: "your sister is getting married"."""
    question: bool = False
    plan: bool = False
    past: bool = False
    words: int = field(default=0)


def read_words(text: str) -> Words:
    """Everything found in one turn."""
    plain = _plain(text)
    bare = _bare(plain)
    topic = _topic(bare)
    day = _DAY.search(bare)
    return Words(
        text=plain,
        intents=tuple(name for name in _INTENTS if wants(name, plain)),
        feeling=_feeling(bare),
        topic=topic,
        noun=_noun(bare, topic),
        day=_spoken_day(day.group(1)) if day else "",
        name=read_name(plain),
        echo=_echo(plain),
        question=plain.endswith("?") or _QUESTION.match(bare) is not None,
        plan=_PLAN.search(bare) is not None,
        past=_PAST.search(bare) is not None,
        words=len(_WORDS.findall(bare)),
    )


def wants(intent: str, text: str) -> bool:
    """Whether a turn, as a whole or in one of its sentences, holds this intent."""
    plain = _plain(text)
    pattern = _INTENTS[intent]
    return bool(pattern.search(_bare(plain))) or any(
        pattern.search(part.replace(",", "").strip()) for part in _SENTENCES.split(plain) if part
    )


def read_name(text: str) -> str:
    """The name the caller goes by in this turn, "" when none is said."""
    named = _NAMED.search(_plain(text))
    return named.group(1) if named and not _NOT_NAMES.fullmatch(named.group(1)) else ""


def read_noun(text: str) -> str:
    """What this turn is about in a few words, "" when that is not clear."""
    bare = _bare(_plain(text))
    return _noun(bare, _topic(bare))


def _plain(text: str) -> str:
    return " ".join(text.replace("’", "'").split())


def _bare(plain: str) -> str:
    return _PUNCTUATION.sub("", plain).strip()


def _noun(bare: str, topic: str) -> str:
    if topic not in {"interview", "exam", "bakery"}:
        for owned in _POSSESSION.finditer(bare):
            if not _NO_NOUN.fullmatch(owned.group(2)):
                return f"your {owned.group(2).casefold()}"
    return NOUNS.get(topic, "")


def _topic(bare: str) -> str:
    found = {name: match.start() for name, pattern in _TOPICS.items() if (match := pattern.search(bare))}
    return next((name for name in WEIGHTY if name in found), min(found, key=found.__getitem__, default=""))


def _feeling(bare: str) -> str:
    for name, pattern in _FEELINGS.items():
        found = pattern.search(bare)
        if found and not _NEGATED.search(bare[: found.start()]):
            return name
    return ""


def _spoken_day(day: str) -> str:
    """The day as it is said in a sentence: "on Tuesday", "in June", "next week", "tomorrow"."""
    words = [_proper(word) for word in day.casefold().split()]
    if words[0] in {"in", "next", "this"}:
        return " ".join(words)
    if _MONTHS.match(day):
        return f"in {words[0]}"
    return f"on {words[0]}" if words[0][0].isupper() else words[0]


def _proper(word: str) -> str:
    named = _MONTHS.match(word) or (word.endswith("day") and word != "today")
    return word.capitalize() if named else word


# -- turning words round ---------------------------------------------------------------

_SWAP = dict(
    pair.split(" = ")
    for pair in [
        "i am = you are",
        "i was = you were",
        "am i = are you",
        "i'm = you're",
        "i've = you've",
        "i'll = you'll",
        "i'd = you'd",
        "you are = I am",
        "you're = I'm",
        "you've = I've",
        "you'll = I'll",
        "myself = yourself",
        "mine = yours",
        "my = your",
        "our = your",
        "ours = yours",
        "me = you",
        "i = you",
        "we = you",
        "us = you",
        "we're = you're",
        "yourself = myself",
        "your = my",
        "you = me",
    ]
)
_SWAPPED = re.compile(
    r"\b(" + "|".join(sorted(_SWAP, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)
_FILLERS = re.compile(
    r"^((well|so|um+|uh+|oh|yeah|yes|no|and|but|actually|i mean|you know|like|okay|hi|hello|hey|i think|i guess"
    r"|this is \w+)\b[,.]?\s*)+",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"^(i|i'm|i've|i'll|we|we're|my|our|he|she|they|it|it's|the|there|there's|someone|everyone|people)\b",
    re.IGNORECASE,
)
ECHO_WORDS = 11


def swapped(text: str) -> str:
    """The text seen from the other side: "my sister called me" becomes "your sister called you"."""
    return _SWAPPED.sub(lambda found: _SWAP[found.group(1).casefold()], text)


def _echo(plain: str) -> str:
    for sentence in re.split(r"(?<=[.!?])\s+", plain):
        if sentence.endswith("?"):
            continue
        part = _FILLERS.sub("", sentence).rstrip(".! ")
        part = re.split(
            r",? (?:and|but|because|so) (?=i|i'm|my|it|we|he|she|they|that)", part, flags=re.IGNORECASE
        )[0]
        words = part.split()
        if (
            3 <= len(words) <= ECHO_WORDS
            and _STATEMENT.match(part)
            and not re.search(r"\byou|your\b", part, re.IGNORECASE)
        ):
            return swapped(part[0].lower() + part[1:] if not part.startswith(("I ", "I'")) else part)
    return ""


def said_sentences(lines: Sequence[str]) -> set[str]:
    """The sentences of lines spoken before, in a form that compares."""
    return {fold(sentence) for line in lines for sentence in re.split(r"(?<=[.!?…])\s+", line) if sentence}


def fold(sentence: str) -> str:
    return " ".join(_WORDS.findall(sentence.casefold()))
