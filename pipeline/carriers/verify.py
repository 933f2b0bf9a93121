"""Twilio Verify behind the `Codes` seam: Twilio makes the code, texts it and checks it; we never see it.

Whether a code may be sent, and how often one may guess, is decided before this is asked.
"""

from __future__ import annotations

from typing import Protocol

from twilio.rest import Client

from pipeline.carriers.twilio import TwilioHttp, tried
from pipeline.core.errors import CarrierError

NO_SUCH_CODE = 20404
"""Used up, too old, or never sent: Verify forgets its codes after ten minutes."""
TOO_MANY_GUESSES = 60202
TOO_MANY_SENDS = 60203
_OVER = frozenset({NO_SUCH_CODE, TOO_MANY_GUESSES})


class Codes(Protocol):
    """Raises `CarrierError`."""

    async def send(self, to: str) -> str:
        """Text a code to a number (E.164); what the code is called from now on."""

    async def check(self, sid: str, code: str) -> bool:
        """Whether that is the code. A code that is used up or too old is a wrong one."""

    async def aclose(self) -> None: ...


class TwilioVerify:
    """`Codes`. Make it inside the running loop; `aclose` ends its connections."""

    def __init__(self, *, account_sid: str, auth_token: str, service_sid: str, api_url: str) -> None:
        self._http = TwilioHttp(api_url)
        client = Client(account_sid, auth_token, http_client=self._http)
        self._service = client.verify.v2.services(service_sid)

    async def send(self, to: str) -> str:
        made = await tried(lambda: self._service.verifications.create_async(to=to, channel="sms"), once=True)
        if not made.sid:
            raise CarrierError("the carrier's answer names no code", unsure=True)
        return str(made.sid)

    async def check(self, sid: str, code: str) -> bool:
        try:
            checked = await tried(
                lambda: self._service.verification_checks.create_async(verification_sid=sid, code=code),
                once=True,
            )
        except CarrierError as error:
            if error.code in _OVER:
                return False
            raise
        return bool(checked.status == "approved")

    async def aclose(self) -> None:
        await self._http.close()  # type: ignore[no-untyped-call]
