"""When is what due: how long each phase waits for what it waits for, and when the money asks for a goodbye.

A view, in call time, of what others know: it moves nothing. What is done once something is due is decided
in `call.py`; when money ends a call, in `budget.py`; when the caller's turn is over, in `turns.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.hearing import Hearing
from pipeline.core.money import Millis
from pipeline.core.notice import Notice
from pipeline.core.phases import Phase
from pipeline.core.playout import Playout
from pipeline.core.spending import Spending
from pipeline.core.terms import Limits
from pipeline.core.transcript import Transcript

LATE_MARK_MS = 1_000
"""The mark of the last words may come back so much after they were to be heard."""
LONGEST_VOICE_MS = 60_000
"""Nobody speaks for so long without a breath of 200 ms, or a word that is understood: the sound has stopped coming,
or it is a noise."""


@dataclass(frozen=True, slots=True)
class Dues:
    """`since` is when the present phase began, or the caller's turn in it; None is "not as things stand"."""

    limits: Limits
    spending: Spending
    notice: Notice
    hearing: Hearing
    playout: Playout
    transcript: Transcript

    def next(self, phase: Phase, since: Millis, *, parting: bool = False) -> Millis | None:
        """The first of all that is due in this phase; behind the last word no warning is."""
        due = [at for at in self._all(phase, since, parting=parting) if at is not None]
        return min(due) if due else None

    def _all(self, phase: Phase, since: Millis, *, parting: bool) -> list[Millis | None]:
        match phase:
            case Phase.ENDED:
                return []
            case Phase.RINGING | Phase.HUNG_UP:
                return [self.patience(phase, since)]
            case Phase.CONNECTING | Phase.BROKEN:
                return [
                    self.patience(phase, since), self.spending.next_second, self.spending.renewal,
                    self.spending.cutoff,
                ]  # fmt: skip
            case Phase.CLOSING:
                return [self.closed_by(since), self.spending.next_second]
            case Phase.MACHINE:
                return [
                    self.message(since), self.spending.next_second, self.spending.renewal, self.goodbye,
                ]  # fmt: skip
            case _:
                floor = self._floor(phase, since)
                notice = None if parting else self.notice.deadline(greeted=self.greeted)
                return [
                    floor, self.endless, self.spending.next_second, self.spending.renewal, self.goodbye, notice,
                ]  # fmt: skip

    def _floor(self, phase: Phase, since: Millis) -> Millis | None:
        """When whoever has the floor loses it."""
        match phase:
            case Phase.LISTENING:
                return self.turn or self.idle(since)
            case Phase.INTERRUPTED:
                return self.noise(since)
            case Phase.THINKING:
                return self.patience(phase, since)
            case _:
                return self.marks_lost

    def patience(self, phase: Phase, since: Millis) -> Millis:
        """When the carrier, or the model, has been waited for long enough."""
        match phase:
            case Phase.RINGING:
                return Millis(since + self.limits.ring_ms)
            case Phase.CONNECTING:
                return Millis(since + self.limits.connect_ms)
            case Phase.BROKEN:
                return Millis(since + self.limits.rejoin_ms)
            case Phase.HUNG_UP:
                return Millis(since + self.limits.carrier_ms)
            case _:
                return Millis(since + self.limits.thinking_ms)

    # -- the floor -------------------------------------------------------------------------

    @property
    def turn(self) -> Millis | None:
        """When the caller's turn is over."""
        # Words from a transcriber that ends no turns may be left where another has taken over.
        turn = self.hearing.turn
        return None if self.hearing.ends_turns and not turn.texts else turn.due

    @property
    def endless(self) -> Millis | None:
        """When a voice that does not end is one no longer."""
        voiced_since = self.hearing.turn.voiced_since
        if voiced_since is None:
            return None
        return Millis(max(voiced_since, self.hearing.understood) + LONGEST_VOICE_MS)

    def noise(self, since: Millis) -> Millis | None:
        """When a voice that stopped the agent counts as a noise, if no words come of it."""
        turn = self.hearing.turn
        if turn.voiced_since is not None:
            return None
        return self.turn or Millis(max(since, turn.stopped) + self.limits.end_of_turn_ms)

    def idle(self, since: Millis) -> Millis | None:
        """When the caller has been silent for so long that they are asked whether they are there."""
        turn, screened = self.hearing.turn, self.hearing.screened
        if turn.voiced_since is not None:
            return None
        idle = max(since, turn.stopped) + self.limits.idle_prompt_ms
        return Millis(max(idle, 0 if screened is None else screened + self.limits.screening_ms))

    @property
    def marks_lost(self) -> Millis:
        """When the carrier has lost the marks of what the agent says."""
        return Millis(self.playout.due + self.limits.lost_mark_ms)

    def message(self, since: Millis) -> Millis:
        """When the message is left on a machine without its beep."""
        latest = Millis(since + self.limits.beep_ms)
        turn = self.hearing.turn
        if turn.voiced_since is not None:
            return latest
        return Millis(min(latest, max(since, turn.stopped) + self.limits.machine_quiet_ms))

    # -- money -----------------------------------------------------------------------------

    @property
    def greeted(self) -> bool:
        """Whether the caller has heard anything yet."""
        return self.transcript.turns > 0

    @property
    def goodbye(self) -> Millis | None:
        """A call too poor to be greeted ends at its cutoff, without a goodbye ahead of it."""
        cutoff = self.spending.cutoff
        if cutoff is None or self.transcript.turns == 0:
            return cutoff
        return Millis(max(0, cutoff - self.limits.goodbye_ms))

    def closed_by(self, since: Millis) -> Millis:
        """When a goodbye is cut: not while sound of it plays, and well before the cutoff where there is time.

        A hang-up that is on its way is still billed.
        """
        cutoff = self.spending.cutoff or since
        spare = self.limits.goodbye_ms - self.limits.drain_ms
        heard = min(self.playout.due + LATE_MARK_MS, cutoff - spare)
        return Millis(min(max(since + self.limits.drain_ms, heard), max(cutoff, since)))
