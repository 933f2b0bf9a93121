"""The `local` language model: a conversation partner made of rules.

It recognises what a turn is about, answers in the persona's manner and asks something
back, reusing the caller's own words. It is deterministic, answers in well under a
millisecond, never says the same sentence twice in a call, and says what it is when asked.
It knows nothing about the world and is no substitute for a real model; it exists so that
the whole product works with no account anywhere.
"""

from __future__ import annotations

import asyncio
import string
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

from pipeline.core.effects import Message
from pipeline.engines.base import Tokens
from pipeline.engines.counting import prompt_tokens, text_tokens
from pipeline.engines.local.companion_asks import ALONE, ASKS, CLOSERS, OPENERS, SCENARIO_ASKS
from pipeline.engines.local.companion_lines import SAYS
from pipeline.engines.local.companion_moods import MOODS
from pipeline.engines.local.companion_notes import is_order, notes_on
from pipeline.engines.local.companion_patterns import WEIGHTY
from pipeline.engines.local.companion_reading import (
    Self,
    Words,
    read_name,
    read_noun,
    read_self,
    read_words,
    said_sentences,
    wants,
)
from pipeline.engines.local.companion_recall import best_for
from pipeline.engines.scripted import words as split_words

LONGEST_CHARS = 180

# The order decides between intents found together: what is urgent or asked for first, mere politeness last.
_FIRST = (
    "crisis",
    "emergency",
    "bye",
    "repeat",
    "unclear",
    "honest",
    "myname",
    "remember",
    "weakness",
    "strength",
)
_ASKED = ("joke", "story", "time", "mayask", "hobbies", "body", "who", "advice", "insult", "howareyou")
_POLITE = ("thanks", "praise", "sorry", "smalltalk", "maybe")
_SHORT = ("yes", "no", "ack")
_SHORT_WORDS = 4
_LOOK_BACK = 4
"""Turns after which a topic is over."""
_EARLY = 3
"""Turns within which earlier calls are come back to."""
_MILD = ("nervous", "happy", "proud")

_STATEMENTS = {**SAYS, **MOODS}


def answer(messages: Sequence[Message]) -> str:
    """The reply to a conversation: one or two sentences, at most 180 characters; notes where those are asked for."""
    if is_order(messages):
        return notes_on(messages)
    me = read_self("\n".join(message.content for message in messages if message.role == "system"))
    said = [message.content for message in messages if message.role == "assistant"]
    turns = [message.content for message in messages if message.role == "user"]
    return _Answer(me, said, turns).text()


class _Answer:
    def __init__(self, me: Self, said: Sequence[str], turns: Sequence[str]) -> None:
        self._me = me
        self._now = read_words(turns[-1] if turns else "")
        self._turns = turns
        self._said = said_sentences(said)
        self._slots = _slots(me, self._now, said, turns)

    def text(self) -> str:
        keys = list(self._subjects())
        if question := self._come_back(keys[0]):
            return question
        statement = self._find(_STATEMENTS, keys)
        if keys[0] in ALONE:
            return statement or "I'm here."
        question = self._scenario_ask() or self._ask(keys)
        if statement and len(statement) + 1 + len(question) <= LONGEST_CHARS:
            return f"{statement} {question}"
        return statement or question

    def _come_back(self, subject: str) -> str:
        """Early in a call, and where nothing else is wanted, what an earlier one left open."""
        wanted = subject in (*_FIRST, *_ASKED) and subject != "howareyou"
        if wanted or subject == "question" or self._me.scenario or len(self._turns) > _EARLY:
            return ""
        return next((each for each in self._me.threads if not said_sentences([each]) & self._said), "")

    def _subjects(self) -> Iterator[str]:
        """What to answer to, best first. Always yields something."""
        now, found = self._now, set(self._now.intents)
        for intent in (*_FIRST, *_ASKED):
            if intent in found:
                yield intent if intent != "remember" or self._slots["memory"] else "forgotten"
        if now.feeling:
            yield now.feeling
        yield from (intent for intent in _POLITE if intent in found)
        # Every other statement is given back in the caller's own words; weighty topics have better lines.
        if now.echo and len(self._turns) % 2 and now.topic not in WEIGHTY:
            yield "echo"
        if now.topic and not now.question:
            yield now.topic
        if now.words <= _SHORT_WORDS:
            yield from (intent for intent in (*_SHORT, "greeting") if intent in found)
        if now.question:
            yield "question"
        elif now.echo:
            yield "echo"
        if "greeting" in found:
            yield "greeting"
        yield "other"

    def _find(self, table: Mapping[str, Mapping[str, tuple[str, ...]]], keys: Iterable[str]) -> str:
        """The first line for any of the keys that fits and is new; "" when there is none."""
        for key in keys:
            lines = table.get(key, {})
            for template in (*lines.get(self._me.manner, ()), *lines.get("any", ())):
                line = self._fill(template)
                if line and (self._new(line) or key == "repeat"):
                    return line
        return ""

    def _fill(self, template: str) -> str:
        wanted = [name for _, name, _, _ in string.Formatter().parse(template) if name]
        if not all(self._slots.get(name) for name in wanted):
            return ""
        line = _capital(template.format_map(self._slots))
        return line if len(line) <= LONGEST_CHARS else ""

    def _new(self, line: str) -> bool:
        return not (said_sentences([line]) & self._said)

    def _ask(self, keys: Sequence[str]) -> str:
        now = self._now
        extra = [key for key, holds in (("plan", now.plan), ("past", now.past)) if holds]
        # A mild feeling is asked about through its cause, where that is known.
        if now.topic and (now.feeling in _MILD if now.feeling else keys[0] == "echo"):
            keys = [now.topic, *keys]
        asked = self._find(ASKS, [*keys, *extra, "other"])
        return asked or next(
            (line for line in _combined(self._me.manner) if self._new(line)),
            f"What else, after {len(self._turns)} turns?",
        )

    def _scenario_ask(self) -> str:
        if self._now.question:
            return ""
        return next((ask for ask in SCENARIO_ASKS.get(self._me.scenario, ()) if self._new(ask)), "")


def _slots(me: Self, now: Words, said: Sequence[str], turns: Sequence[str]) -> dict[str, str]:
    """What lines can be filled with; an unknown slot is ""."""
    # Likes and notes go by turns: another one each time they are asked about.
    likings = sum(wants("hobbies", turn) for turn in turns) if "hobbies" in now.intents else 1
    recalls = sum(wants("remember", turn) for turn in turns) if "remember" in now.intents else 0
    like = me.likes[(likings - 1) % len(me.likes)] if me.likes else ""
    return {
        "me": me.name or "your companion",
        "name": next((name for turn in reversed(turns) if (name := read_name(turn))), me.person),
        "noun": now.noun,
        "earlier": next((noun for turn in turns[: -_LOOK_BACK - 1 : -1] if (noun := read_noun(turn))), ""),
        "day": now.day,
        "echo": now.echo,
        "Echo": _capital(now.echo),
        "catch": me.catchphrase,
        "like": like,
        "Like": _capital(like),
        "memory": best_for(now.text, me.memories, recalls) if recalls else "",
        "last": said[-1][:140] if said else "",
    }


def _combined(manner: str) -> Iterator[str]:
    openers = OPENERS[manner]
    for index in range(len(openers) * len(CLOSERS)):
        # Both numbers of lines are coprime, so that every pair comes up once.
        yield f"{openers[index % len(openers)]}: {CLOSERS[index % len(CLOSERS)]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


MODEL = "companion"


class CompanionReply:
    def __init__(self, text: str, prompt: int, max_tokens: int, model: str = MODEL) -> None:
        self.model = model
        self._text = text
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._written = ""

    @property
    def tokens(self) -> Tokens:
        """By the simple rule of `counting.py`; nothing is ever cached."""
        return Tokens(self._prompt, 0, text_tokens(self._written))

    async def pieces(self) -> AsyncGenerator[str, None]:
        for piece in split_words(self._text):
            if text_tokens(self._written + piece) > self._max_tokens:
                return
            self._written += piece
            yield piece
            # Gives way, so that an interruption is heard between two words.
            await asyncio.sleep(0)


class Companion:
    """The rule-based model for every call of the process; it holds nothing between replies."""

    @property
    def models(self) -> tuple[str, ...]:
        return (MODEL,)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[CompanionReply]:
        yield CompanionReply(answer(messages), prompt_tokens(messages), max_tokens)
