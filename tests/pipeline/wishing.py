"""A language model that gives the pieces it is made with, the wish to end the call among them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.core.effects import Message
from pipeline.engines.base import Piece, Tokens


@dataclass
class WishingReply:
    given: Sequence[Piece]
    model: str = "mind"
    tokens: Tokens = field(default_factory=lambda: Tokens(10, 0, 5))

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        for piece in self.given:
            yield piece


@dataclass
class WishingThinker:
    given: Sequence[Piece]
    models: tuple[str, ...] = ("mind",)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[WishingReply]:
        yield WishingReply(self.given)
