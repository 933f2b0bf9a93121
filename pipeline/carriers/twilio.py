"""Twilio's REST interface behind the `Carrier` seam, by its official SDK.

Decides how often a request is tried and what its failure means; must not decide whether a
number may be rung. A dial is one request: an answer that got lost is told as `unsure`, and a
refusal the carrier promises not to have acted on (429) is told too, for only who asks knows
whether the number may still be rung.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import structlog
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from pipeline.carriers.base import OVER, RATE_PAUSES_S, TOO_MANY, DialOrder, Leg
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Permit
from pipeline.core.money import NANOS_PER_USD

REQUEST_S = 5.0
"""The longest wait for one answer."""
SECOND_TRY_S = 0.3
LISTED = 20
"""Calls looked through by `find`, newest first."""

COUNTRIES = 250
"""Listed in one answer: all there are."""

CLOCK_SLACK = timedelta(seconds=5)
"""How far the carrier's clock may lie behind ours."""

_PUBLIC_API = "https://api.twilio.com"
_ALREADY_OVER = frozenset({21220, 20404})
_VERIFYS_OWN = range(60_200, 60_300)
"""Limits of one code, such as five guesses: no waiting helps."""
_EVENTS = ["initiated", "ringing", "answered", "completed"]

# The SDK's own log lines hold phone numbers and message texts.
_mute = logging.getLogger("callmeback.twilio_sdk")
_mute.disabled = True

log = structlog.get_logger(__name__)

T = TypeVar("T")


class TwilioHttp(AsyncTwilioHttpClient):
    """Sends requests for any twilio.com host to the configured one, and gives up after `REQUEST_S`."""

    def __init__(self, api_url: str) -> None:
        super().__init__(logger=_mute)
        self._api_url = api_url

    async def request(  # type: ignore[override]  # the SDK's own subclass differs from its base as well
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        **named: Any,
    ) -> Response:
        sent = dict(headers or {})
        if auth is not None:  # aiohttp deprecates the parameter the SDK would use
            sent["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode("ascii")
        async with asyncio.timeout(REQUEST_S):
            return await super().request(method, pointed(self._api_url, url), headers=sent, **named)


def pointed(api_url: str, url: str) -> str:
    """The URL of any twilio.com host at `api_url` instead, unless that is the real one."""
    parts, api = urlsplit(url), urlsplit(api_url)
    host = parts.hostname or ""
    if api_url.rstrip("/") == _PUBLIC_API or not (host == "twilio.com" or host.endswith(".twilio.com")):
        return url
    return parts._replace(scheme=api.scheme, netloc=api.netloc).geturl()


class TwilioCarrier:
    """A `Carrier` and a `Reach`. Make it inside the running loop; `aclose` ends its connections."""

    def __init__(
        self, *, clock: Clock, account_sid: str, auth_token: str, sender: str, api_url: str = _PUBLIC_API
    ) -> None:
        self._clock = clock
        self._http = TwilioHttp(api_url)
        self._client = Client(account_sid, auth_token, http_client=self._http)
        self._sender = sender

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        permit.spend(order.to, self._clock.utc())
        detection: dict[str, object] = {}
        if order.detect_machine:
            detection = {
                "machine_detection": "DetectMessageEnd",
                "async_amd": "true",  # a string; a Python True would go out as "True"
                "async_amd_status_callback": order.amd_url,
            }
        call = await tried(
            lambda: self._client.calls.create_async(
                to=order.to,
                from_=order.sender,
                url=order.answer_url,
                status_callback=order.status_url,
                status_callback_event=_EVENTS,
                timeout=order.ring_s,
                time_limit=order.limit_s,
                **detection,
            ),
            once=True,
            pauses=(),
        )
        if not call.sid:
            raise CarrierError("the carrier's answer names no call", unsure=True)
        return _leg(call)

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        """Looks through the newest calls between the two numbers; dates there are whole seconds of another clock."""
        calls = await tried(
            lambda: self._client.calls.list_async(to=order.to, from_=order.sender, limit=LISTED)
        )
        least = since.replace(microsecond=0)
        recent = [
            (made, call)
            for call in calls
            if (made := call.date_created) is not None
            # The carrier's clock may be behind ours. A call it made "before" is this order's only while it
            # goes on: a person is on one call at a time.
            and (made >= least or (made >= least - CLOCK_SLACK and str(call.status) not in OVER))
        ]
        if not recent:
            return None
        return _leg(max(recent, key=lambda item: item[0])[1])

    async def hang_up(self, sid: str) -> None:
        try:
            await tried(lambda: self._client.calls(sid).update_async(status="completed"))
        except CarrierError as error:
            if error.code not in _ALREADY_OVER:
                raise

    async def fetch(self, sid: str) -> Leg:
        return _leg(await tried(lambda: self._client.calls(sid).fetch_async()))

    async def send_sms(self, to: str, body: str) -> None:
        await tried(
            lambda: self._client.messages.create_async(to=to, from_=self._sender, body=body), once=True
        )

    async def countries(self) -> frozenset[str]:
        """The voice geographic permissions (Voice API, `DialingPermissions/Countries`)."""
        permissions = self._client.voice.v1.dialing_permissions.countries
        allowed = await tried(
            lambda: permissions.list_async(low_risk_numbers_enabled=True, page_size=COUNTRIES)
        )
        return frozenset(country.iso_code for country in allowed if country.iso_code)

    async def aclose(self) -> None:
        await self._http.close()  # type: ignore[no-untyped-call]


async def tried(
    request: Callable[[], Awaitable[T]], *, once: bool = False, pauses: Sequence[float] = RATE_PAUSES_S
) -> T:
    """The answer. `once`: what may have been carried out is not repeated but raised as unsure.

    `pauses`: seconds before each further try of what was refused with 429.
    """
    waits = list(pauses)
    again = not once
    while True:
        try:
            return await request()
        except (TwilioRestException, TwilioServiceException) as error:
            failure = _refusal(error.status, error.code, once)
        except TwilioException as error:  # a list that failed: the SDK keeps neither status nor code
            failure = CarrierError(f"the carrier could not list: {type(error).__name__}", retryable=True)
        except aiohttp.ClientConnectorError as error:  # nothing was sent
            failure = CarrierError(f"the carrier cannot be reached: {type(error).__name__}", retryable=True)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError, TypeError) as error:
            # Lost on the way, or an answer the SDK could not make sense of.
            failure = CarrierError(
                f"the carrier's answer was lost: {type(error).__name__}", retryable=not once, unsure=once
            )
        if failure.code == TOO_MANY and waits:
            pause = waits.pop(0)
        elif again and failure.retryable and failure.code != TOO_MANY:
            again, pause = False, SECOND_TRY_S
        else:
            log.warning("carrier_failed", code=failure.code, unsure=failure.unsure)
            raise failure
        await asyncio.sleep(pause)


def _refusal(status: int, code: object, once: bool) -> CarrierError:
    """An HTTP error as ours. Texts stay behind: they repeat phone numbers."""
    number = code if isinstance(code, int) else status
    if status == TOO_MANY and number not in _VERIFYS_OWN:
        return CarrierError("the carrier is asked too often", retryable=True, code=TOO_MANY)
    if status >= 500:
        return CarrierError(f"the carrier failed with {status}", retryable=not once, unsure=once, code=number)
    if status == 404 and not isinstance(code, int):
        number = 20404
    return CarrierError(f"the carrier refused with {status}, code {number}", code=number)


def _leg(call: Any) -> Leg:
    """A call that was answered is `completed` before its duration is known; until then it has none."""
    status, duration = str(call.status or ""), str(call.duration or "")
    return Leg(
        str(call.sid),
        status,
        int(duration) if duration.isdigit() else None if status == "completed" else 0,
        str(call.answered_by or ""),
        _nano(call.price, call.price_unit),
    )


def _nano(price: object, unit: object) -> int | None:
    """A negative string of dollars there, "-0.01400"."""
    if not isinstance(price, str) or str(unit or "").upper() != "USD":
        return None
    try:
        return int(-Decimal(price) * NANOS_PER_USD)
    except (InvalidOperation, OverflowError, ValueError):
        return None
