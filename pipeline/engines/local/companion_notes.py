"""What the rule-based companion writes down after a call: the same lines that any model is asked for.

It keeps what people say of themselves in plain sentences: appointments and their days, names, where they live and
work, what they love, and corrections of these. Which sentences say so is in `NOTED`; whatever is not listed is not
kept. How such an order and its answer look is decided in `pipeline/core/memory_order.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.core.effects import Message
from pipeline.core.memory_order import ORDER
from pipeline.core.said_dates import DAY_WORDS
from pipeline.engines.local.companion_reading import read_noun

_SAID = re.compile(r'^(Caller|You): "(.*)"$', re.MULTILINE)
_KNOWN = re.compile(r'^(fact|thread) \| "(.*?)" \| "(.*)"$', re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_SECRET = re.compile(r"\b(?:password|passcode|pin|card number|code|account number)\b", re.IGNORECASE)

_EVENTS = (
    "interview|exam|appointment|meeting|date|test|presentation|flight|wedding|party|operation|surgery|race|marathon"
    "|concert|trip|match|audition|hearing|deadline|recital|funeral|check-?up"
)
_PEOPLE = (
    "sister|brother|mother|father|mom|mum|dad|son|daughter|wife|husband|girlfriend|boyfriend|partner|friend"
    "|best friend|boss|uncle|aunt|cousin|grandmother|grandfather|dog|cat|neighbou?r|roommate|baby"
)
_DAY = DAY_WORDS.pattern.replace("(?P<", "(?P<d_")
_NAME = r"(?P<name>[A-Z][\w'-]*(?: [A-Z][\w'-]*)?)"
_REST = r"(?P<rest>[\w' -]{2,60}?)(?=[.,;!?]|$| and i\b| but\b| because\b)"


def _rule(pattern: str) -> re.Pattern[str]:
    # Names are told by their capitals, so only the words around them are free in case.
    return re.compile(pattern.replace("(?i)", ""), re.IGNORECASE if "(?i)" in pattern else 0)


_EVENT = _rule(
    rf"(?i)\bi(?:'ve| have|'ve got| have got|'m having| am having) (?P<article>an?|my|the) "
    rf"(?P<noun>(?:[\w-]+ ){{0,2}}?(?P<event>{_EVENTS}))\b"
    rf"(?: (?P<with>(?:with|at|for) [\w' -]{{2,30}}?))?(?: (?P<day>{_DAY}))?"
    r"(?=[.,;!?]|$| and\b| but\b| so\b| (?:with|at|for)\b)"
)
_EVENT_IS = _rule(
    rf"(?i)\b(?:my|the) (?P<noun>(?:[\w-]+ ){{0,2}}?(?P<event>{_EVENTS})) "
    rf"(?:is|'s|was moved to|has been moved to|got moved to|moved to|is moved to|is now)(?: now)? (?P<day>{_DAY})"
)
_IT_IS = _rule(
    rf"(?i)\b(?:it is|it's|that's|it was moved to|it got moved to|it's been moved to|they moved it to|i mean|i meant)"
    rf"(?: now| actually)? (?P<day>{_DAY})"
)
_CALLED = _rule(
    rf"\b[Mm]y (?P<who>(?:little |older |younger |big )?(?:{_PEOPLE}))"
    rf"(?:'s name is|'s called| is called| is named) {_NAME}"
)
_RENAMED = _rule(rf"\b(?:[Hh]er|[Hh]is|[Tt]heir) name(?:'s| is)(?: actually)? {_NAME}")
_LIVES = _rule(
    rf"\bI (?P<verb>(?:just |recently )?moved to|live in|am moving to) (?P<place>(?:the )?{_NAME})"
)
_WORKS = _rule(rf"(?i)\bi (?P<verb>work|started|started working|started to work) (?:at|for|in|as) {_REST}")
_IS_A = _rule(
    r"(?i)\bi(?:'m| am) (?P<what>an? (?:[\w-]+ )?(?:\w+(?:er|or|ist|ian)|nurse|student|chef|cook))\b"
)
_ALLERGIC = _rule(rf"(?i)\bi(?:'m| am) allergic to {_REST}")
_LOVES = _rule(rf"(?i)\bi (?:really )?(?P<verb>love|hate|adore) {_REST}")
_HAS = _rule(
    r"(?i)\bi have (?P<what>(?:an?|two|three|four) (?:[\w-]+ )?(?P<who>dogs?|cats?|sons?|daughters?|kids?|children"
    r"|sisters?|brothers?|horse|rabbit))\b"
)
_MARRIES = _rule(
    rf"(?i)\bmy (?P<who>{_PEOPLE}) is (?P<what>getting married|having a baby|expecting a baby|moving out)"
    rf"(?: (?P<day>{_DAY}|in \w+|next \w+))?"
)
_NOBODY = re.compile(r"^(?:you|it|that|this|to|them|him|her|talking|when|how|what)\b", re.IGNORECASE)


@dataclass
class Notes:
    """What was found so far, by subject, so that a correction finds what it corrects."""

    known: dict[str, str] = field(default_factory=dict)
    facts: dict[str, tuple[int, str]] = field(default_factory=dict)
    open_threads: dict[str, str] = field(default_factory=dict)
    """Of earlier calls, by event."""
    threads: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    nouns: list[str] = field(default_factory=list)
    event: str = ""
    person: str = ""

    def keep(self, subject: str, text: str, importance: int = 3) -> None:
        self.facts.pop(subject, None)  # the last word is also the last line
        self.facts[subject] = (importance, _sentence(text))

    def lines(self) -> Iterator[str]:
        for subject, (importance, text) in self.facts.items():
            yield f"fact | {importance} | {subject} | {text}"
        for text in self.done:
            yield f"done | {text}"
        for text in self.threads.values():
            yield f"thread | {text}"
        if self.nouns:
            yield f"summary | We talked about {_listed(self.nouns[:3])}."


def is_order(messages: Sequence[Message]) -> bool:
    """Whether this asks for notes on a call and not for a reply in one."""
    return bool(messages) and messages[0].role == "system" and messages[0].content.startswith(ORDER)


def notes_on(messages: Sequence[Message]) -> str:
    """The answer to such an order."""
    system, said = messages[0].content, "\n".join(message.content for message in messages[1:])
    notes = Notes()
    for kind, subject, text in _KNOWN.findall(system):
        if kind == "fact":
            notes.known[subject] = text
        elif found := re.search(rf"\b({_EVENTS})\b", text, re.IGNORECASE):
            notes.open_threads[found[1].lower()] = text
    for who, turn in _SAID.findall(said):
        if who == "Caller":
            _read_turn(turn, notes)
    return "\n".join(notes.lines()) or "none"


def _read_turn(turn: str, notes: Notes) -> None:
    turn = " ".join(turn.replace("’", "'").split())
    if _SECRET.search(turn):
        return
    noun = re.sub(r"\byour\b", "my", read_noun(turn))
    if noun and noun not in notes.nouns:
        notes.nouns.append(noun)
    for sentence in _SENTENCE.split(turn):
        if sentence.endswith("?"):
            continue
        for pattern, write in NOTED:
            if found := pattern.search(sentence):
                write(found, notes)
    for event, text in list(notes.open_threads.items()):
        if re.search(rf"\b{event}\b", turn, re.IGNORECASE):
            notes.done.append(text)
            del notes.open_threads[event]


# -- what sentences say ----------------------------------------------------------------


def _note_event(found: re.Match[str], notes: Notes) -> None:
    event, noun, day = found["event"].lower(), found["noun"].lower(), found["day"]
    article = "an" if noun[0] in "aeiou" else "a"
    with_whom = f" {found['with']}" if found["with"] else ""
    _hold_event(notes, event, noun, f"I have {article} {noun}{with_whom}", day)


def _note_event_day(found: re.Match[str], notes: Notes) -> None:
    noun = found["noun"].lower()
    _hold_event(notes, found["event"].lower(), noun, f"My {noun} is", found["day"])


def _note_day(found: re.Match[str], notes: Notes) -> None:
    """ "It is on Wednesday": whatever was spoken of last, in this call or, where that is certain, the one before."""
    event = notes.event
    if not event and len(notes.open_threads) == 1:
        event = next(iter(notes.open_threads))
    text = notes.facts[event][1] if event in notes.facts else notes.known.get(event, "")
    if text:
        told = DAY_WORDS.sub("", text).rstrip(". ")
        _hold_event(notes, event, event, told, found["day"])


def _hold_event(notes: Notes, event: str, noun: str, told: str, day: str | None) -> None:
    when = f" {_day(day)}" if day else ""
    if (old := notes.open_threads.pop(event, None)) is not None:
        notes.done.append(old)
    notes.event = event
    notes.keep(event, told + when, 4)
    if day:
        notes.threads[event] = f"the {noun}{when}"


def _note_name(found: re.Match[str], notes: Notes) -> None:
    notes.person = found["who"].lower()
    notes.keep(f"{notes.person}'s name", f"My {notes.person} is called {found['name']}", 4)


def _note_other_name(found: re.Match[str], notes: Notes) -> None:
    if notes.person:
        notes.keep(f"{notes.person}'s name", f"My {notes.person} is called {found['name']}", 4)


def _note_home(found: re.Match[str], notes: Notes) -> None:
    verb = found["verb"].replace("just ", "").replace("recently ", "")
    notes.keep("where I live", f"I {verb} {found['place']}", 4)


def _note_work(found: re.Match[str], notes: Notes) -> None:
    preposition = found.group().split(found["verb"], 1)[1].split()[0]
    verb = "work" if found["verb"].lower() == "work" else "started working"
    notes.keep("work", f"I {verb} {preposition} {found['rest']}", 4)


def _note_profession(found: re.Match[str], notes: Notes) -> None:
    notes.keep("profession", f"I am {found['what'].lower()}", 3)


def _note_allergy(found: re.Match[str], notes: Notes) -> None:
    notes.keep(f"allergy to {found['rest']}", f"I am allergic to {found['rest']}", 5)


def _note_love(found: re.Match[str], notes: Notes) -> None:
    what = found["rest"]
    if not _NOBODY.match(what):
        notes.keep(f"liking {what.lower()}", f"I {found['verb'].lower()} {what}", 2)


def _note_family(found: re.Match[str], notes: Notes) -> None:
    notes.keep(f"having {found['who'].lower()}", f"I have {found['what'].lower()}", 3)


def _note_of_somebody(found: re.Match[str], notes: Notes) -> None:
    who = notes.person = found["who"].lower()
    day = f" {_day(found['day'])}" if found["day"] else ""
    notes.keep(f"{who} {found['what'].lower()}", f"My {who} is {found['what'].lower()}{day}", 4)


NOTED: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Notes], None]], ...] = (
    (_EVENT, _note_event),
    (_EVENT_IS, _note_event_day),
    (_IT_IS, _note_day),
    (_CALLED, _note_name),
    (_RENAMED, _note_other_name),
    (_LIVES, _note_home),
    (_WORKS, _note_work),
    (_IS_A, _note_profession),
    (_ALLERGIC, _note_allergy),
    (_LOVES, _note_love),
    (_HAS, _note_family),
    (_MARRIES, _note_of_somebody),
)
"""What is kept, in the order in which a sentence is searched for it."""


def _day(day: str) -> str:
    """Weekdays with "on", as people say them."""
    words = day.split()
    named = words[-1].capitalize() if words[-1].lower().endswith("day") and len(words[-1]) > 5 else words[-1]
    if len(words) == 1:
        return f"on {named}" if named[0].isupper() else named.lower()
    return " ".join([*(word.lower() for word in words[:-1]), named])


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", " ").strip(" .")


def _listed(nouns: Sequence[str]) -> str:
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} and {nouns[-1]}"
