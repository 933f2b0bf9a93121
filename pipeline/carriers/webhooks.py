"""The requests a simulated carrier makes of the server: signed forms over real HTTP.

Signs with the vendor's own SDK, so that the server's verification is checked against code it
does not share.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import aiohttp
from twilio.request_validator import RequestValidator
from yarl import URL

_FORM = "application/x-www-form-urlencoded; charset=UTF-8"
_LIMITS = aiohttp.ClientTimeout(total=15, connect=5)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; status 0 when it could not be reached, with the reason as text."""

    status: int
    kind: str
    text: str


def signed_url(url: str) -> str:
    """The URL as a carrier signs it: never with user or password, over TLS without the port."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme == "https" and parts.port is not None:
        host = host.removesuffix(f":{parts.port}")
    return parts._replace(netloc=host).geturl()


class Webhooks:
    """Posts forms as the carrier does: one more try when the connection fails, no redirects."""

    def __init__(self, auth_token: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._session = aiohttp.ClientSession(timeout=_LIMITS)

    def sign(self, url: str, fields: Mapping[str, str]) -> str:
        return str(self._validator.compute_signature(url, fields))

    async def post(self, url: str, fields: Mapping[str, str], token: str = "") -> Answer:
        """One delivery; `token` is the idempotency token, the same when a delivery is repeated."""
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "Content-Type": _FORM,
            "Accept": "*/*",
            "X-Twilio-Signature": self.sign(signed_url(url), fields),
            "I-Twilio-Idempotency-Token": token or secrets.token_hex(16),
        }
        answer = await self._once(url, fields, headers)
        return answer if answer.status else await self._once(url, fields, headers)

    async def _once(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        try:
            async with self._session.post(
                URL(url, encoded=True), data=urlencode(fields), headers=headers, allow_redirects=False
            ) as response:
                return Answer(response.status, response.content_type, await response.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(0, "", type(error).__name__)

    async def aclose(self) -> None:
        await self._session.close()
