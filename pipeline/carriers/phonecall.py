"""What the simulated exchange keeps of a call, a text message, a complaint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.carriers.base import DialOrder, Leg
from pipeline.carriers.callee import Callee
from pipeline.carriers.stream import MediaSocket


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a call, `at_ms` after the order."""

    at_ms: int
    what: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What the carrier's debugger would show: its error code, the call and a sentence."""

    code: int
    sid: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sms:
    sid: str
    to: str
    sender: str
    body: str


@dataclass(slots=True)
class PhoneCall:
    """One call at the exchange, and all that became of it."""

    sid: str
    order: DialOrder
    events: tuple[str, ...]
    created: datetime
    ordered_s: float
    callee: Callee
    status: str = "queued"
    answered_by: str = ""
    seconds: int = 0
    answered_s: float | None = None
    moments: list[Moment] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """It has ended and the server was told so, as far as it will be."""
    deliveries: list[asyncio.Task[None]] = field(default_factory=list)
    callbacks: int = 0
    stream: MediaSocket | None = None
    cut: asyncio.Timeout | None = None
    """Ends the call's course from outside: a hang-up by REST or the time limit."""
    verdict_on_cut: str = "canceled"
    direction: str = "outbound-api"
    spoken: list[str] = field(default_factory=list)
    """What the carrier itself said, by `<Say>`."""
    menus: int = 0

    @property
    def leg(self) -> Leg:
        return Leg(self.sid, self.status, self.seconds, self.answered_by)

    def about(self, account_sid: str) -> dict[str, str]:
        """The fields that every request about this call has."""
        order = self.order
        return {
            "CallSid": self.sid, "AccountSid": account_sid, "From": order.sender, "To": order.to,
            "Caller": order.sender, "Called": order.to, "ApiVersion": "2010-04-01", "Direction": self.direction,
        }  # fmt: skip

    def when(self, what: str) -> int:
        """Milliseconds from the order to the first moment of this name; `KeyError` if there was none."""
        for moment in self.moments:
            if moment.what == what:
                return moment.at_ms
        raise KeyError(what)
