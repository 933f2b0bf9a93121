"""The carrier used when no account is configured: our own exchange behind the `Carrier` seam.

Everything between it and the server crosses real sockets; only the telephone network is
missing. Text messages end up in `sms` and, at once, with whoever listens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Self

from pipeline.carriers.base import OVER, DialOrder, Leg
from pipeline.carriers.callee import Script
from pipeline.carriers.exchange import Delivery, Exchange, prompt
from pipeline.carriers.phonecall import Alert, PhoneCall, Sms
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Permit

RINGS_S, LIMIT_S = 60, 4 * 3600
"""How long a call in rings, and lasts at the most, as at a real carrier."""


def patient_listener(_number: str) -> Script:
    """Somebody who picks up after two seconds, listens and says nothing."""
    return Script()


class SimulatedCarrier:
    """A `Carrier`. Use as a context on the loop that serves; leaving it drops live calls.

    `phones` says who is at a number; it is asked once a call. `auth_token` signs every
    request and must be the server's; make a new one at each start.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        account_sid: str,
        auth_token: str,
        sender: str = "+12025550100",
        phones: Callable[[str], Script] = patient_listener,
        on_sms: Callable[[Sms], None] | None = None,
        delivery: Delivery = prompt,
        keep_audio: bool = True,
    ) -> None:
        self.exchange = Exchange(
            clock=clock,
            account_sid=account_sid,
            auth_token=auth_token,
            phones=phones,
            delivery=delivery,
            keep_audio=keep_audio,
        )
        self._clock = clock
        self._phones = phones
        self._sender = sender
        self._on_sms = on_sms

    async def __aenter__(self) -> Self:
        await self.exchange.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.exchange.__aexit__(kind, error, trace)

    @property
    def calls(self) -> dict[str, PhoneCall]:
        """Live calls and the latest that are over, by SID, oldest first."""
        return self.exchange.calls

    @property
    def sms(self) -> list[Sms]:
        return self.exchange.sms

    @property
    def alerts(self) -> list[Alert]:
        """What a carrier's debugger would complain about; empty when the server behaves."""
        return self.exchange.alerts

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        permit.spend(order.to, self._clock.utc())
        return self.exchange.place(order).leg

    def ring_in(self, caller: str, answer_url: str, status_url: str, keys: tuple[str, ...] = ()) -> Leg:
        """Whoever is at this number rings the server's; `keys` are theirs at each menu, "" for nothing."""
        order = DialOrder(self._sender, caller, answer_url, status_url, "", RINGS_S, LIMIT_S)
        return self.exchange.ring_in(caller, order, replace(self._phones(caller), keys=keys)).leg

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        for call in reversed(self.exchange.calls.values()):
            if (call.order.to, call.order.sender) == (order.to, order.sender) and call.created >= since:
                return call.leg
        return None

    async def hang_up(self, sid: str) -> None:
        self.exchange.end(sid)

    async def fetch(self, sid: str) -> Leg:
        call = self.exchange.calls.get(sid)
        if call is None:
            raise CarrierError("no such call", code=20404)
        return call.leg

    async def send_sms(self, to: str, body: str) -> None:
        message = self.exchange.text(to, self._sender, body)
        if self._on_sms is not None:
            self._on_sms(message)

    async def aclose(self) -> None:
        """End what is still going on, as a person who pulls the plug of the exchange."""
        for call in self.exchange.calls.values():
            if call.status not in OVER:
                self.exchange.end(call.sid)
