"""What one live call tells the rest of the server, and the leg by which the carrier ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipeline.carriers.base import Carrier
from pipeline.core.effects import Charge, Effect, Ended, TurnTaken, Warned
from pipeline.core.errors import CarrierError
from pipeline.core.events import EndReason, Event
from pipeline.core.money import Nanos, usd
from server.flush import Account, Flush
from server.news import News

HANG_UP_PATIENCE_S = 15.0
"""Longest wait for a dial under way, before there is a leg that could be ended."""


class Outside:
    """The `Surroundings` of one call."""

    def __init__(self, account: Account, flush: Flush, news: News, carrier: Carrier) -> None:
        self._account = account
        self._flush = flush
        self._news = news
        self._carrier = carrier
        self._dialled = asyncio.Event()
        self.sid: str | None = None
        self.ended: Ended | None = None

    def leg(self, sid: str) -> None:
        """The carrier has a leg for this call; the first one told is the one."""
        if self.sid is None:
            self.sid = sid
        self._dialled.set()

    def no_leg(self) -> None:
        self._dialled.set()

    def owns(self, sid: str) -> bool:
        """Whether this can be the call's leg: an answer may overtake the dial's own reply."""
        return self.sid is None or self.sid == sid

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Charge():
                    self._flush.charge(self._account, effect)
                case TurnTaken():
                    self._account.turns.append(effect)
                    self._tell_turn(effect)
                case Warned():
                    news = {
                        "rest_usd": usd(effect.rest),
                        "seconds_left": max(0, effect.cutoff - event.at) // 1000,
                    }
                    self._news.publish(self._account.call_id, "warning", news)
                case Ended():
                    self.ended = effect
                case _:
                    pass

    def broken(self, total: Nanos) -> None:
        """The call's machine failed: what it charged is what it costs."""
        if self.ended is None:
            self.ended = Ended(EndReason.ENGINE_FAILURE, "completed", 0, total)

    async def hang_up(self) -> None:
        """Raises `CarrierError`; the socket's end and the carrier's time limit then end the call."""
        try:
            async with asyncio.timeout(HANG_UP_PATIENCE_S):
                await self._dialled.wait()
        except TimeoutError:
            raise CarrierError("the dial got no answer", retryable=True) from None
        if self.sid is not None:
            await self._carrier.hang_up(self.sid)

    def _tell_turn(self, turn: TurnTaken) -> None:
        self._news.publish(
            self._account.call_id,
            "turn",
            {
                "index": turn.index,
                "role": turn.role,
                "text": turn.text,
                "started_ms": turn.started,
                "ended_ms": turn.ended,
                "interrupted": turn.interrupted,
            },
        )
