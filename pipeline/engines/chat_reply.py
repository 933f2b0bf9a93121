"""One reply of a hosted chat model: the chunks of its stream in, pieces of text and the count of tokens out.

Decides what of a chunk is said, what counts as a whole reply and what it is estimated to cost while the
vendor has not told. Must not know connections or time. Reasoning, `<think>` blocks and the JSON of a tool
never come out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Literal

from pipeline.core.errors import EngineError
from pipeline.core.thoughts import Silencer
from pipeline.engines.base import CutShort, EndCall, Piece, Tokens
from pipeline.engines.counting import BYTES_A_TOKEN

TOOL = "end_call"
UNFINISHED = ("", "null")
"""Why a reply stopped, as some servers spell it in every chunk while it goes on."""
MOST_BYTES_A_TOKEN = 16
"""No text has as many on average, in any language: one that comes to more is over its ceiling of tokens."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


# -- what it costs ---------------------------------------------------------------------


class Request(Enum):
    ASKED = auto()
    SENT = auto()
    """All of it is on the wire: the server may be at work, and may bill."""
    ACCEPTED = auto()
    REFUSED = auto()
    """Or it never got there."""


@dataclass(slots=True)
class Bill:
    """The vendor's count, or until there is one an estimate that can only grow; of the output never over the ceiling.

    What a vendor counts beyond the ceiling it was given is the operator's: no more was set aside for the reply.
    """

    prompt: int
    max_tokens: int
    request: Request = Request.ASKED
    told: Tokens | None = None
    written: int = 0
    """Bytes of all that was written: text, reasoning and the tool's call."""

    @property
    def tokens(self) -> Tokens:
        if self.told is not None:
            return replace(self.told, out=min(self.told.out, self.max_tokens))
        if self.request is Request.REFUSED:
            return Tokens(0, 0, 0)
        out = min(-(-self.written // BYTES_A_TOKEN), self.max_tokens)
        return Tokens(self.prompt, 0, out, estimated=True)

    @property
    def runs_over(self) -> bool:
        """Whether more is written than the ceiling allows, whatever a token is there."""
        return self.written > self.max_tokens * MOST_BYTES_A_TOKEN

    @property
    def ceiling_ignored(self) -> bool:
        return self.runs_over or (self.told is not None and self.told.out > self.max_tokens)

    def sent(self) -> None:
        if self.request is Request.ASKED:
            self.request = Request.SENT

    def refused(self) -> None:
        """The request came to nothing; one that was accepted stays so."""
        if self.request is not Request.ACCEPTED:
            self.request = Request.REFUSED

    def over(self) -> None:
        """Nothing is sent any more."""
        if self.request is Request.ASKED:
            self.request = Request.REFUSED

    def wrote(self, text: str) -> None:
        self.written += len(text.encode())


def counted(usage: object) -> Tokens | None:
    """A vendor's usage, if it is one. Reasoning is part of the completion's tokens."""
    match usage:
        case {"prompt_tokens": int(prompt), "completion_tokens": int(out)} if prompt >= 0 and out >= 0:
            match usage:
                case {"prompt_tokens_details": {"cached_tokens": int(cached)}}:
                    cached = min(max(cached, 0), prompt)
                case _:
                    cached = 0
            return Tokens(prompt - cached, cached, out)
        case _:
            return None


# -- what is said ----------------------------------------------------------------------


class Aloud:
    """Streamed content without blocks of thoughts, such as `<think>`, and without white space before its first word.

    `thinking`: the prompt has opened a block already, so that all before the first `</think>` is reasoning.
    """

    def __init__(self, *, thinking: bool = False) -> None:
        self._silencer = Silencer(thinking=thinking)
        self.begun = False

    @property
    def thinking(self) -> bool:
        return self._silencer.thinking

    @property
    def stray_end(self) -> bool:
        """Whether a block was closed that nobody opened: what was said before it is reasoning."""
        return self._silencer.stray_end

    def feed(self, text: str) -> str:
        return self._from_first_word(self._silencer.feed(text))

    def end(self) -> str:
        """What was held back and turned out to be no tag."""
        return self._from_first_word(self._silencer.end())

    def _from_first_word(self, text: str) -> str:
        if not self.begun:
            text = text.lstrip()
            self.begun = bool(text)
        return text


class ChatReply:
    """One reply: chunks in as they arrive, pieces out as they are asked for."""

    def __init__(self, model: str, bill: Bill, *, thinking: bool = False) -> None:
        self.model = model
        self.bill = bill
        self.finish: str | None = None
        """Why the model stopped, once it has: `stop`, `length`, `tool_calls` …"""
        self._aloud = Aloud(thinking=thinking)
        self._tool = ""
        self._ready: list[Piece] = []
        self._news = asyncio.Event()
        self._outcome: EngineError | Literal["going on", "complete"] = "going on"

    @property
    def tokens(self) -> Tokens:
        return self.bill.tokens

    @property
    def reasoned_aloud(self) -> bool:
        """Whether it closed a block of reasoning that its prompt must have opened."""
        return self._aloud.stray_end

    @property
    def begun(self) -> bool:
        """Whether it says or does anything yet."""
        return self._aloud.begun or self._tool == TOOL

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        while True:
            ready, self._ready = self._ready, []
            for piece in ready:
                yield piece
            if ready or self._ready:
                continue
            if isinstance(self._outcome, EngineError):
                raise self._outcome
            if self._outcome == "complete":
                return
            self._news.clear()
            await self._news.wait()

    def take(self, chunk: object) -> None:
        """One event of the stream; fields that are missing, null or unknown are nothing."""
        match chunk:
            case {"usage": dict(usage)} | {"x_groq": {"usage": dict(usage)}}:
                self.bill.told = counted(usage) or self.bill.told
        match chunk:
            case {"choices": [dict(choice), *_]}:
                if isinstance(delta := choice.get("delta"), dict):
                    self._take_delta(delta)
                finish = choice.get("finish_reason")
                if isinstance(finish, str) and finish not in UNFINISHED:
                    self.finish = finish

    def _take_delta(self, delta: Mapping[str, object]) -> None:
        # One thing under two names; some servers send both.
        if isinstance(text := delta.get("reasoning") or delta.get("reasoning_content"), str):
            self.bill.wrote(whole(text))
        if isinstance(text := delta.get("content"), str):
            text = whole(text)
            self.bill.wrote(text)
            self._say(self._aloud.feed(text))
        if isinstance(calls := delta.get("tool_calls"), list):
            for call in calls:
                self._take_call(call)

    def _take_call(self, call: object) -> None:
        if not isinstance(call, dict) or not isinstance(function := call.get("function"), dict):
            return
        if isinstance(arguments := function.get("arguments"), str):
            self.bill.wrote(whole(arguments))
        if isinstance(name := function.get("name"), str):
            self.bill.wrote(whole(name))
            if self._tool == TOOL:
                return
            # A call's first fragment has an id; a name may be cut in two all the same.
            self._tool = name if call.get("id") else self._tool + name
            if self._tool == TOOL:
                self._hand_on(EndCall())

    def _say(self, text: str) -> None:
        if not text:
            return
        if self._ready and isinstance(last := self._ready[-1], str):
            self._ready[-1] = last + text
        else:
            self._hand_on(text)

    def _hand_on(self, piece: Piece) -> None:
        self._ready.append(piece)
        self._news.set()

    def break_off(self) -> None:
        """It has run over its ceiling of tokens: what there is of it is all."""
        self.finish = "length"

    def end(self, failure: EngineError | None) -> None:
        """The stream is over. A failure after the model had finished is none."""
        if self.finish is not None:
            self._say(self._aloud.end())
            failure = None
            if not self.begun:
                # Also where reasoning used up the ceiling: what it thought about was one call's, and others go on.
                what = "wrote no </think>" if self._aloud.thinking else "wrote nothing"
                failure = EngineError(f"{self.model} {what}", retryable=True)
            elif self.finish == "length":
                self._hand_on(CutShort())
        elif failure is None:
            failure = EngineError(f"{self.model}: the reply was cut off", retryable=True)
        self._outcome = failure or "complete"
        self._news.set()


def whole(text: str) -> str:
    """Without halves of characters, which JSON can carry and nothing after it can."""
    return text if text.isascii() else _SURROGATE.sub("", text)
