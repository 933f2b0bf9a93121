"""What storage hands out of scheduled calls: frozen rows. Moments are aware UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.core.errors import CallMeBackError

ScheduleStatus = Literal["pending", "claimed", "dialed", "missed", "failed", "canceled", "paused"]
DialStatus = Literal["claimed", "dialed", "missed", "failed"]


class ClaimLost(CallMeBackError):
    """A scheduled call was claimed by somebody else meanwhile, given up or canceled: it must not be dialled."""

    def __init__(self, dial_id: str) -> None:
        super().__init__(f"the claim on {dial_id} is no longer ours")
        self.dial_id = dial_id


class ScheduleKeyTaken(CallMeBackError):
    """The user made a schedule under the same idempotency key before."""

    def __init__(self) -> None:
        super().__init__("idempotency key already used")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A call to be made once or by a rule. Seconds are whole; `skips` is comma-separated.

    Due is try `attempt` (0 is the first) of the run at `occurrence_at`, and missed after `late_at`; both are None
    while `due_at` is the run itself. `variables` is JSON: what fills in the scenario. `local_time` is empty where a
    moment was named rather than a local time.
    """

    id: str
    user_id: str
    persona_id: str
    scenario_id: str | None
    context: str
    variables: str
    max_minutes: int | None
    local_time: str
    timezone: str
    rrule: str | None
    skips: str
    tzdata: str
    due_at: datetime
    window_s: int
    retries: int
    retry_s: int
    attempt: int
    occurrence_at: datetime | None
    late_at: datetime | None
    status: ScheduleStatus
    claim_epoch: int
    dial_id: str | None
    created_at: datetime

    @property
    def run_at(self) -> datetime:
        """The run that is due, whichever try of it."""
        return self.occurrence_at or self.due_at

    reason: str = ""
    """Why it is paused: "opted_out", "number_lost"; "" where its owner paused it."""
    idem_hash: str | None = None
    """Of the request that made it, where that had a key."""


@dataclass(frozen=True, slots=True)
class ScheduledDial:
    """What came of one try of one run. `code` and `detail` say why it was not dialled or did not connect."""

    id: str
    schedule_id: str
    occurrence_at: datetime
    attempt: int
    status: DialStatus
    epoch: int
    code: str
    detail: str
    call_id: str | None
    claimed_at: datetime
    concluded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to dial one try of a scheduled call, until somebody has a higher epoch."""

    dial_id: str
    schedule_id: str
    epoch: int
