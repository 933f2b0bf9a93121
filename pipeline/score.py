"""The order of a recorded call, for its replay: an inbox that gives out the journal's events as they came.

What comes from outside is brought about when the journal says so, what the shell makes itself is
waited for and must be what was recorded. On a busy machine several events wait at once: what the
call does about the first of them comes after what led to the others. So each comes about in the
moment in which it was posted (`moments.py`), which may be long before its turn, and the same holds
for what the engines did. Of a tape that is older than this count each comes about in its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pipeline.clock import Clock
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.errors import CallMeBackError
from pipeline.core.events import Event
from pipeline.core.money import START
from pipeline.engines.replayed import by_the_clock
from pipeline.journal_file import Step
from pipeline.ports import Line
from pipeline.replay import Difference
from pipeline.runner import LiveCall
from pipeline.traffic import AnyFact, Posted, Timed

PATIENCE_S = 30.0
"""Virtual seconds in which the shell must have made what was recorded."""
QUIET_S = 1e-6
"""Virtual time stands still while there is work: after so little of it all that could be done is done."""

OUTSIDE = (
    ev.Answered,
    ev.StreamStarted,
    ev.MarkReached,
    ev.DigitPressed,
    ev.MachineDetected,
    ev.AllowanceChanged,
    ev.HangUpAsked,
    ev.LineDropped,
    ev.LineBroken,
    ev.CarrierDone,
    ev.CarrierSilent,
)


class Astray(CallMeBackError):
    """The replay does not go as the call went: at this line of the journal."""

    def __init__(self, line: int, recorded: Event, instead: Event | None) -> None:
        super().__init__(f"line {line}")
        self.difference = Difference(
            line, journal.event_line(recorded), None if instead is None else journal.event_line(instead)
        )


class Score(asyncio.Queue[Event]):
    """Make it as the call begins: events and facts count from then."""

    def __init__(self, recorded: Sequence[Step], facts: Sequence[AnyFact] = ()) -> None:
        super().__init__()
        self._recorded = recorded
        self._moments = [moment for fact in facts if isinstance(fact, Posted) for moment in fact.moments]
        self._facts = deque(fact for fact in facts if isinstance(fact, Timed) and fact.after is not None)
        self._passed = {id(fact): asyncio.Event() for fact in self._facts}
        self._by_the_clock = by_the_clock()
        self._given = self._come_about = 1  # the first is given to the call when it is made
        self._made: list[Event] = []
        self._news = asyncio.Event()
        self._clock = Clock()
        self._begun = self._clock.seconds()
        self._zero = self._begun - recorded[0].event.at / 1000
        self._permits = 0
        self._permitted = asyncio.Event()
        self.call: LiveCall | None = None
        self.phone: Line | None = None

    # -- as an inbox -----------------------------------------------------------------------

    def empty(self) -> bool:
        """Never: there is always a next event, and no timer is wanted."""
        return False

    def put_nowait(self, item: Event) -> None:
        self._made.append(item)
        self._news.set()

    async def get(self) -> Event:
        number = self._given
        if number >= len(self._recorded):
            await asyncio.Event().wait()
        now = 2 * number
        while self._posted_in(self._come_about) < now:  # within the step that was just done
            await self._comes_about(self._come_about)
        if self._posted_in(number) == now:
            # The call had nothing to do and waited; otherwise it went on at once, and nobody's turn came between.
            await self._live_through(now)
        self._given += 1
        return self._recorded[number].event

    async def _live_through(self, moment: int) -> None:
        while self._posted_in(self._come_about) <= moment:
            number = self._come_about
            at = self._zero + self._recorded[number].event.at / 1000
            await self._engines_did(number, moment, at)
            await self._until(at)
            await self._comes_about(number)
        await self._engines_did(len(self._recorded), moment, self._clock.seconds())

    def _posted_in(self, number: int) -> int:
        """In which moment the event of this number was posted; by default in the last possible one."""
        if 0 < number <= len(self._moments):
            return max(2, self._moments[number - 1])
        return 2 * number if number < len(self._recorded) else 2 * len(self._recorded) + 1

    async def _comes_about(self, number: int) -> None:
        step = self._recorded[number]
        if isinstance(step.event, OUTSIDE):
            self._bring_about(step.event)
        elif isinstance(step.event, ev.Audible | ev.AudioQueued):
            self._permit(step.event)
        if not isinstance(step.event, ev.Tick):
            await self._is_made(number)
        self._come_about += 1

    async def _is_made(self, number: int) -> None:
        step = self._recorded[number]
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    for made in self._made:
                        if _same(made, step.event):
                            self._made.remove(made)
                            return
                    self._news.clear()
                    await self._news.wait()
        raise Astray(step.line, step.event, self._instead_of(number))

    def _instead_of(self, number: int) -> Event | None:
        """The oldest event of the kind that was made and never recorded; others are only early."""
        for made in self._made:
            early = any(_same(made, later.event) for later in self._recorded[number + 1 :])
            if type(made) is type(self._recorded[number].event) and not early:
                return made
        return None

    async def _until(self, at: float) -> None:
        wait = at - self._clock.seconds()
        if wait > 0:
            await asyncio.sleep(wait)

    def _bring_about(self, event: Event) -> None:
        """What the world did to the call then."""
        call = self.call
        if call is None or self.phone is None:
            raise ValueError("the score has no call")
        match event:
            case ev.Answered():
                call.answered()
            case ev.StreamStarted():
                call.attach(self.phone)
            case ev.MarkReached():
                call.played(event.chunk)
            case ev.DigitPressed():
                call.pressed(event.digit)
            case ev.MachineDetected():
                call.machine(event.kind)
            case ev.HangUpAsked():
                call.ask_hang_up(event.reason, politely=event.politely)
            case ev.LineDropped():
                call.dropped(event.reason)
            case ev.LineBroken():
                call.broken()
            case ev.CarrierDone():
                call.carrier_done(event.status, event.seconds)
            case ev.CarrierSilent():
                call.carrier_silent()
            case _:
                self.put_nowait(event)

    # -- as the time of the engines ------------------------------------------------------------

    async def passed(self, fact: Timed) -> None:
        """Wait until the call is where it was when this took place."""
        happened = self._passed.get(id(fact))
        await (self._by_the_clock(fact) if happened is None else happened.wait())

    async def _engines_did(self, number: int, moment: int, at: float) -> None:
        """What took place before the event of this number was posted, in this moment at the latest."""
        while self._facts and (after := self._facts[0].after) is not None:
            if after[0] > number or after[1] > moment:
                return
            fact = self._facts.popleft()
            await self._until(min(self._begun + fact.at_ms / 1000, at))
            self._passed[id(fact)].set()
            await asyncio.sleep(QUIET_S)

    # -- as the measure of what is sent ------------------------------------------------------

    def _permit(self, event: Event) -> None:
        """The next chunk was sent now. One that is sent again after a pause needs no leave."""
        if not any(_same(made, event) for made in self._made):
            self._permits += 1
            self._permitted.set()

    async def room(self, seconds: float) -> None:
        while not self._permits:
            self._permitted.clear()
            await self._permitted.wait()
        self._permits -= 1

    def sent(self, seconds: float) -> float:
        return 0.0

    def cleared(self) -> None:
        self._permits = 0


MEASURED: dict[type[Event], tuple[str, ...]] = {
    ev.Audible: ("ahead_ms",),
    ev.SpeechStopped: ("quiet_ms",),
    ev.TurnEnded: ("quiet_ms",),
}
"""What an event says of how long things took, which is for the record to say."""


def _same(made: Event, recorded: Event) -> bool:
    """Whether the shell made what was recorded."""
    return type(made) is type(recorded) and _timeless(made) == _timeless(recorded)


def _timeless(event: Event) -> Event:
    if isinstance(event, ev.EngineFailed) and event.kind == "retryable":
        # Older tapes do not always tell the two apart, and no call ever does.
        event = replace(event, kind="failed")
    return replace(event, at=START, **dict.fromkeys(MEASURED.get(type(event), ()), 0))
