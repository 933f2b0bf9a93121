"""Passes for the internal media socket: one call, one stream, one node, once, for half a minute.

Signed with a key derived from `JWT_SECRET`, which all nodes share and no user ever has a
signature of: a user's token opens nothing here, and a pass opens nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.core.errors import BadStream
from server.auth import derived_key

SCHEME = "Relay"
LIFE_S = 30.0
"""How old a pass may be, and how far the clocks of two machines may differ."""
LONGEST = 1024
_PURPOSE = "media relay"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a verified pass says: the stream (a name nobody else uses) may be given to the call."""

    call_id: str
    stream: str


class Passes:
    """Made and redeemed. The first key of the ring signs; all of them verify."""

    def __init__(self, ring: tuple[bytes, ...], node: str, clock: Clock) -> None:
        self._keys = tuple(derived_key((secret,), _PURPOSE) for secret in ring)
        self._node = node
        self._clock = clock
        self._used: dict[str, float] = {}

    def issue(self, owner: str, call_id: str, stream: str) -> str:
        """The value of an `Authorization` header for the node that conducts the call."""
        said = json.dumps([owner, call_id, stream, self._clock.utc().timestamp()])
        body = base64.urlsafe_b64encode(said.encode()).decode()
        return f"{SCHEME} {body}.{_signature(self._keys[0], body)}"

    def redeem(self, header: str) -> Pass:
        """Raises `BadStream` for a pass that is forged, old, used, or another node's."""
        scheme, _, text = header.partition(" ")
        body, _, signature = text.partition(".")
        if scheme != SCHEME or len(text) > LONGEST or not self._signed(body, signature):
            raise BadStream("no pass")
        try:
            owner, call_id, stream, at = json.loads(base64.urlsafe_b64decode(body))
        except (ValueError, binascii.Error) as error:
            raise BadStream("no pass") from error
        now = self._clock.utc().timestamp()
        if owner != self._node or abs(now - at) > LIFE_S:
            raise BadStream("a pass for another node, or an old one")
        self._used = {used: until for used, until in self._used.items() if until > now}
        if stream in self._used:
            raise BadStream("a pass that was used")
        self._used[stream] = at + LIFE_S
        return Pass(call_id, stream)

    def _signed(self, body: str, signature: str) -> bool:
        """Every key is tried, so that time tells nothing about which came near."""
        good = False
        for key in self._keys:
            expected = _signature(key, body).encode()
            good |= hmac.compare_digest(expected, signature.encode("utf-8", "surrogateescape"))
        return good


def _signature(key: bytes, body: str) -> str:
    return hmac.digest(key, body.encode("utf-8", "surrogateescape"), "sha256").hex()
