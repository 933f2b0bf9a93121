"""What a telephone carrier must do. Nothing to inherit: match the shape.

`dial` is called from one place only, `server/desk.py`; a test checks that. It takes the guard's permit and spends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pipeline.core.call import UNSAID
from pipeline.core.guard import Permit

OVER = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
"""The statuses of a call that nothing follows."""
NO_SUCH_CALL = 20404
"""The code of the `CarrierError` about a call that the carrier does not know."""
TOO_MANY = 429
"""The code of the one about a request the carrier was asked for too soon after others, and did not act on."""
RATE_PAUSES_S = (1.0, 2.0)
"""Waits before such a request is repeated: a carrier's usual rate is one call a second."""


@dataclass(frozen=True, slots=True)
class DialOrder:
    """One outbound call. Numbers are E.164; URLs are absolute; times are whole seconds."""

    to: str
    sender: str
    answer_url: str
    status_url: str
    amd_url: str
    ring_s: int
    limit_s: int
    detect_machine: bool = True


@dataclass(frozen=True, slots=True)
class Leg:
    """What the carrier says of a call: status as in REST, seconds 0 until it is over.

    `seconds` None is no count: the call is over, and how long it took is not said yet.
    `price_nano` is what it asks for the connection, in nanodollars; None until it says so, which may take hours, and
    in another currency.
    """

    sid: str
    status: str
    seconds: int | None
    answered_by: str = ""
    price_nano: int | None = None

    @property
    def counted(self) -> int:
        """The seconds as a call's machine takes them."""
        return UNSAID if self.seconds is None else self.seconds

    @property
    def complete(self) -> bool:
        """The call is over, and how long it took is said."""
        return self.status in OVER and self.seconds is not None


class Reach(Protocol):
    """Where an account may ring, by the carrier's own settings."""

    async def countries(self) -> frozenset[str]:
        """ISO 3166-1 alpha-2, of those whose ordinary numbers may be rung. Raises `CarrierError`."""


class Carrier(Protocol):
    """Raises `CarrierError`; `unsure` is set when a dial may have gone through."""

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        """Ask for one call, in one request, whatever the answer. On doubt nobody asks again: see `find`.

        Raises `Spent`, and has asked for nothing, where the permit is not for this number, used or too old.
        """

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        """The newest call made by this order at or after `since` (UTC), for after an unsure dial.

        None says only that the carrier does not list one yet; it is no leave to dial again.
        """

    async def hang_up(self, sid: str) -> None:
        """End a call in any state. A call that is already over is no error."""

    async def fetch(self, sid: str) -> Leg: ...

    async def send_sms(self, to: str, body: str) -> None: ...

    async def aclose(self) -> None: ...
