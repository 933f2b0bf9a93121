"""Several language models as one: the next is asked while nothing of a reply can have been spoken.

A reply is handed out from its first clause on, which speech waits for anyway. Then it is that
model's, and so are its errors: another model would write another reply. What a vendor counts for
a reply it did not deliver is never the user's; it is told to the operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.core.errors import AllDown, EngineError
from pipeline.core.sentences import SentenceCutter
from pipeline.engines.base import Piece, Reply, Thinker, Tokens
from pipeline.engines.breaker import Attempt, Breaker

OnLost = Callable[[str, Tokens], None]
"""Told the model and what its vendor counts for an attempt that was given up on."""


class FailoverThinker:
    """Asks the first engine whose breaker lets it, and the next when it fails before its first clause is whole.

    `patience_s` is for the first piece, and again for each until then. Raises `AllDown` when there is none left.
    """

    def __init__(
        self,
        engines: Sequence[tuple[Thinker, Breaker]],
        patience_s: float,
        on_lost: OnLost = lambda model, tokens: None,
    ) -> None:
        self._engines = tuple(engines)
        self._patience_s = patience_s
        self._on_lost = on_lost

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model for engine, _ in self._engines for model in engine.models))

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[FailoverReply]:
        def tries() -> Iterator[_Try]:
            for engine, breaker in self._engines:
                if (verdict := breaker.admit()) is not None:
                    asked = engine.reply(messages, max_tokens=max_tokens, temperature=temperature)
                    yield _Try(asked, verdict)

        reply = FailoverReply(tries(), self.models[0], self._patience_s, self._on_lost)
        try:
            await reply.begin()
            yield reply
        finally:
            await reply.leave()


@dataclass(frozen=True, slots=True)
class _Try:
    """An engine's reply that is not asked for yet, and where to say what became of it."""

    asked: AbstractAsyncContextManager[Reply]
    verdict: Attempt


@dataclass(frozen=True, slots=True)
class _Writing:
    """An engine's reply that is being written, or was; `context` is left when it is given up."""

    reply: Reply
    verdict: Attempt
    context: AsyncExitStack
    patience_s: float
    """What is left of it for the first piece."""


class FailoverReply:
    """A `Reply`. Each attempt's context is left before the next one's is entered, by whoever uses this one."""

    def __init__(self, tries: Iterator[_Try], model: str, patience_s: float, lost: OnLost) -> None:
        self._tries = tries
        self._model = model
        self._patience_s = patience_s
        self._lost = lost
        self._clock = Clock()
        self._writing: _Writing | None = None

    @property
    def model(self) -> str:
        return self._writing.reply.model if self._writing is not None else self._model

    @property
    def tokens(self) -> Tokens:
        return self._writing.reply.tokens if self._writing is not None else Tokens(0, 0, 0)

    async def begin(self, last: EngineError | None = None) -> None:
        """Ask the next engine, or the first one after it that can be asked."""
        for each in self._tries:
            began = self._clock.seconds()
            async with AsyncExitStack() as context:
                context.enter_context(each.verdict)
                try:
                    async with asyncio.timeout(self._patience_s):
                        reply = await context.enter_async_context(each.asked)
                except (EngineError, TimeoutError) as error:
                    last = _told(error)
                    each.verdict.failed(last)
                    continue
                left = max(0.0, began + self._patience_s - self._clock.seconds())
                self._writing = _Writing(reply, each.verdict, context.pop_all(), left)
                return
        raise AllDown(last) from last

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        while (writing := self._writing) is not None:
            async with aclosing(writing.reply.pieces()) as pieces:
                first = await self._next(pieces, writing.patience_s)
                if isinstance(first, str):
                    yield ""  # the model has begun; its words are kept until it could be spoken
                begun = await self._begun(writing, pieces, first)
                if not isinstance(begun, EngineError):
                    for piece in begun:
                        yield piece
                    try:
                        async for piece in pieces:
                            yield piece
                    except EngineError as error:
                        writing.verdict.failed(error)
                        raise
                    return
            await self._give_up()
            await self.begin(begun)

    async def _begun(
        self, writing: _Writing, pieces: AsyncGenerator[Piece, None], first: Piece | EngineError | None
    ) -> list[Piece] | EngineError:
        """The pieces until something can be spoken, all of a shorter reply, or why there is nothing to speak."""
        begun: list[Piece] = []
        cutter, coming = SentenceCutter(), first
        while coming is not None and not isinstance(coming, EngineError):
            begun.append(coming)
            if not isinstance(coming, str) or cutter.add(coming):
                break
            coming = await self._next(pieces, self._patience_s)
        if isinstance(coming, EngineError):
            writing.verdict.failed(coming)
            return coming
        writing.verdict.succeeded()
        return begun

    async def _next(
        self, pieces: AsyncGenerator[Piece, None], patience_s: float
    ) -> Piece | EngineError | None:
        """The next piece, None at the end, or why there is none."""
        try:
            async with asyncio.timeout(patience_s):
                return await anext(pieces)
        except StopAsyncIteration:
            return None
        except (EngineError, TimeoutError) as error:
            return _told(error)

    async def _give_up(self) -> None:
        """Leave an attempt that gave nothing; only then is it counted to the end."""
        if (writing := self._writing) is None:
            return
        self._writing = None
        try:
            with suppress(EngineError):  # which it failed with before, and more there is not to know
                await writing.context.aclose()
        finally:  # also when the call ends meanwhile
            self._lost(writing.reply.model, writing.reply.tokens)

    async def leave(self) -> None:
        if self._writing is not None:
            await self._writing.context.aclose()


def _told(error: EngineError | TimeoutError) -> EngineError:
    return error if isinstance(error, EngineError) else EngineError("nothing written in time", retryable=True)
