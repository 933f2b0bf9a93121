"""What one live call tells the rest of the server, and the leg by which the carrier ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from pipeline.carriers.base import NO_SUCH_CALL, OVER, Leg
from pipeline.clock import Clock
from pipeline.core.call import UNSAID
from pipeline.core.effects import (
    Charge,
    EagerSettled,
    Effect,
    Ended,
    HangUp,
    Learned,
    OptedOut,
    RenewHold,
    TurnTaken,
    TurnTimed,
    Unlearned,
    Warned,
)
from pipeline.core.errors import CarrierError
from pipeline.core.events import Answered, CallResumed, CarrierDone, Event, StreamStarted
from pipeline.core.money import Nanos, usd
from pipeline.core.terms import EndReason
from server.calls.speaking import Speaking
from server.calls.unheard import CutOff
from server.calls.words import Words
from server.metrics import EAGER_REPLIES, TURN_SECONDS
from server.money.flush import Account, Flush
from server.news import News
from server.nodes.health import SPEEDS
from storage.notes import Unheard

log = structlog.get_logger()

HANG_UP_PATIENCE_S = 15.0
"""Longest wait for a dial under way, before there is a leg that could be ended."""
ASK_AGAIN_S = 3.0
"""Between two tries to end a call of which the carrier does not say that it is over."""
SILENCE_S = 5.0
"""How often the call is told that the carrier has not said so yet: below its patience (`Limits.carrier_ms`)."""
LAST_WORD_S = 3.0
"""How long the carrier's final callback is waited for after a hang-up, before the carrier is asked."""


class Exchange(Protocol):
    """Who carries the call: a carrier, or the browsers of this process. Both raise `CarrierError`."""

    async def hang_up(self, sid: str) -> None: ...

    async def fetch(self, sid: str) -> Leg: ...


class Outside:
    """The `Surroundings` of one call.

    `report` is told the carrier's last word when it had to be asked for, `silent` that it did not say it yet.
    `longest_s`: after so long its leg is over whatever is heard of it.
    """

    def __init__(
        self,
        account: Account,
        flush: Flush,
        news: News,
        carrier: Exchange,
        report: Callable[[str, int], None],
        silent: Callable[[], None],
        longest_s: float,
        clock: Clock,
    ) -> None:
        self._account = account
        self._flush = flush
        self._news = news
        self._carrier = carrier
        self._report = report
        self._silent = silent
        self._longest_s = longest_s
        self._clock = clock
        self._dialled = asyncio.Event()
        self._done = asyncio.Event()
        self._answered = False
        self._fenced = False
        self._speaking = Speaking()
        self._words = Words()
        self._cut_off = CutOff()
        self.sid: str | None = None
        self.ended: Ended | None = None

    def leg(self, sid: str) -> None:
        """The carrier has a leg for this call; the first one told is the one."""
        if self.sid is None:
            self.sid = sid
        self._dialled.set()

    def fenced(self) -> None:
        """The call is another process's now. Its leg may go on there: once answered only the socket is ours."""
        self._fenced = True

    def no_leg(self) -> None:
        self._dialled.set()

    def owns(self, sid: str) -> bool:
        """Whether this can be the call's leg: an answer may overtake the dial's own reply."""
        return self.sid is None or self.sid == sid

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        self._answered = self._answered or isinstance(event, Answered | StreamStarted | CallResumed)
        if isinstance(event, CarrierDone):
            self._done.set()
        for role, speaks in self._speaking.changes(event, effects):
            self._news.publish(self._account.call_id, "turn", {"role": role, "speaking": speaks})
        for role, text in self._words.changes(event, effects):
            self._news.publish(self._account.call_id, "turn", {"role": role, "saying": text})
        for effect in effects:
            unheard = self._cut_off.after(effect)
            match effect:
                case Charge():
                    self._flush.charge(self._account, effect)
                case TurnTaken():
                    self._account.notes.append(effect)
                    if unheard:
                        self._account.notes.append(Unheard(effect.index, unheard))
                    self._tell_turn(effect, unheard)
                case TurnTimed():
                    self._account.notes.append(effect)
                    self._tell_speed(effect)
                case EagerSettled():
                    self._account.notes.append(effect)
                    EAGER_REPLIES.labels("used" if effect.committed else "dropped").inc()
                case RenewHold():
                    self._account.wanted = effect.wanted
                case OptedOut():
                    self._account.notes.append(effect)
                    self._flush.hurry()
                case Warned():
                    news = {
                        "rest_usd": usd(effect.rest),
                        "seconds_left": max(0, effect.cutoff - event.at) // 1000,
                        # For whoever reads it later, as after a reload.
                        "at": self._clock.utc().isoformat(),
                    }
                    self._news.publish(self._account.call_id, "warning", news)
                case HangUp():
                    self._account.given_up = True
                case Learned() | Unlearned():
                    self._account.taught = effect
                case Ended():
                    self.ended = effect
                case _:
                    pass

    def broken(self, total: Nanos) -> None:
        """The call's machine failed: what it charged is what it costs."""
        reason, status = (EndReason.ENGINE_FAILURE, "completed") if self._answered else (None, "failed")
        self.ended = Ended(reason, status, 0, total)

    async def hang_up(self) -> None:
        """Ask until the carrier says that the leg is over. Raises `CarrierError` when it never does."""
        if self._fenced and self._answered:
            self._report("completed", UNSAID)  # of this part: the call may be this process's again any moment
            return
        try:
            async with asyncio.timeout(HANG_UP_PATIENCE_S):
                await self._dialled.wait()
        except TimeoutError:
            raise CarrierError("the dial got no answer", retryable=True) from None
        if self.sid is None:
            return
        try:
            async with asyncio.timeout(self._longest_s), asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(self._tell_of_silence())
                while not await self._ended_at_carrier(self.sid):
                    if (
                        await self._over_within(ASK_AGAIN_S) or self._fenced
                    ):  # it is another process's to end now
                        break
                waiting.cancel()
        except TimeoutError:
            raise CarrierError("the carrier's own limit is past", retryable=False) from None

    async def _tell_of_silence(self) -> None:
        while True:
            await asyncio.sleep(SILENCE_S)
            self._silent()

    async def _ended_at_carrier(self, sid: str) -> bool:
        """One try; whether more cannot be known of the leg."""
        try:
            await self._carrier.hang_up(sid)
            return await self._said_the_last_word(sid)
        except CarrierError as error:
            log.warning("hang_up_not_confirmed", call=self._account.call_id, code=error.code)
            return error.code == NO_SUCH_CALL

    async def _said_the_last_word(self, sid: str) -> bool:
        """The carrier's own count decides what its minutes cost; a callback that got lost is fetched."""
        for last in (False, True):
            if await self._over_within(LAST_WORD_S):
                return True
            leg = await self._carrier.fetch(sid)
            if leg.complete or (last and leg.status in OVER):  # without its count ours stands
                self._report(leg.status, leg.counted)
                return True
        return False

    async def _over_within(self, seconds: float) -> bool:
        """Whether the carrier's last word comes in so short a time."""
        try:
            async with asyncio.timeout(seconds):
                await self._done.wait()
        except TimeoutError:
            return False
        return True

    def _tell_turn(self, turn: TurnTaken, unheard: str) -> None:
        told: dict[str, object] = {
            "index": turn.index,
            "role": turn.role,
            "text": turn.text,
            "started_ms": turn.started,
            "ended_ms": turn.ended,
            "interrupted": turn.interrupted,
        }
        if unheard:
            told["unheard"] = unheard
        self._news.publish(self._account.call_id, "turn", told)

    def _tell_speed(self, timed: TurnTimed) -> None:
        """Comes after the turn it belongs to: listeners know it by its index."""
        stages = latency(timed)
        for stage, ms in stages.items():
            TURN_SECONDS.labels(stage.removesuffix("_ms")).observe(ms / 1000)
        SPEEDS.note(timed)
        self._news.publish(self._account.call_id, "turn", {"index": timed.index, "latency": stages})


def latency(timed: TurnTimed) -> dict[str, int]:
    """The stages of one answer, in milliseconds after the caller's last audible sample."""
    return {
        "end_of_turn_ms": timed.end_of_turn_ms,
        "first_token_ms": timed.first_token_ms,
        "first_audio_ms": timed.first_audio_ms,
        "first_frame_ms": timed.first_frame_ms,
        "audible_ms": timed.audible_ms,
    }
