"""One reply of the hosted chat model, asked of its emulator: what was said, what it cost, how it failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from pipeline.clock import Clock, run_virtual
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import EndCall, Piece, Tokens
from pipeline.engines.counting import prompt_tokens
from pipeline.engines.openai_chat import END_CALL_BYTES, ChatServer, OpenAIThinker
from tests.emulators.chat import KEY, MODEL, ChatEmulator, Plan, Served

MESSAGES = (
    Message("system", "You are Sarah, a warm listener."),
    Message("user", "I have a job interview on Tuesday, and the word is kumquat."),
)
TEXT = "That sounds like a big day for you."
NOTHING = Tokens(0, 0, 0)
ESTIMATED_PROMPT = prompt_tokens(MESSAGES) + -(-END_CALL_BYTES // 4)


def virtual(main: Coroutine[object, object, None]) -> None:
    run_virtual(main, grace=0.001)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reply."""

    pieces: tuple[Piece, ...]
    failure: EngineError | None
    tokens: Tokens
    seconds: float

    @property
    def text(self) -> str:
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    @property
    def ends_call(self) -> int:
        return self.pieces.count(EndCall())


@asynccontextmanager
async def thinking(server: ChatEmulator, **settings: object) -> AsyncIterator[OpenAIThinker]:
    chosen = replace(ChatServer(MODEL, server.url, KEY), **settings)  # type: ignore[arg-type]
    async with aclosing(OpenAIThinker(chosen)) as thinker:
        yield thinker


async def ask(
    thinker: OpenAIThinker,
    messages: Sequence[Message] = MESSAGES,
    *,
    max_tokens: int = 60,
    leave_after: int | None = None,
) -> Outcome:
    clock = Clock()
    began = clock.seconds()
    pieces: list[Piece] = []
    failure = None
    async with thinker.reply(messages, max_tokens=max_tokens, temperature=0.7) as reply:
        try:
            async with aclosing(reply.pieces()) as stream:
                async for piece in stream:
                    pieces.append(piece)
                    if len(pieces) == leave_after:
                        break
        except EngineError as error:
            failure = error
    return Outcome(tuple(pieces), failure, reply.tokens, clock.seconds() - began)


async def asked(plan: Plan, **settings: object) -> tuple[Outcome, Served | None]:
    """One reply of a server with this plan, and what the server knows of it."""
    async with ChatEmulator((TEXT,), plan=plan) as server, thinking(server, **settings) as thinker:
        outcome = await ask(thinker)
    return outcome, server.served[-1] if server.served else None


async def until_left(served: Served) -> float:
    """When the server noticed that the client was gone; at once, or it never will."""
    for _ in range(100):
        if served.left_at is not None:
            return served.left_at
        await asyncio.sleep(0.001)
    raise AssertionError("the client never disconnected")
