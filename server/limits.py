"""How much and how often: attempts in a window, size and pace of a request, headers of every answer.

All limits are of this process and in memory, with bounded memory; the money and the
telephone have their own limits in the database. Nothing here knows accounts or routes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from server.errors import Sending, Unparsable, problem
from server.metrics import REQUESTS, SECONDS

JSON_BYTES = 64 * 1024
BODY_SECONDS = 10.0
"""From the first byte of a body to its last."""

ROUTE_KEY = "callmeback.route"
"""Where a matched route leaves its path in the scope, for the counters."""

KEYS = 10_000
"""Keys a limiter remembers; the longest untouched one is forgotten first."""


class Limiter:
    """At most `limit` takes a key in any `window_s` seconds: a log of times, so exact at the window's edge."""

    def __init__(self, clock: Clock, limit: int, window_s: float, *, keys: int = KEYS) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window_s
        self._keys = keys
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, key: str) -> int | None:
        """Count one attempt. None when it may go on, else whole seconds until one may."""
        now = self._clock.seconds()
        times = self._taken.setdefault(key, deque())
        self._taken.move_to_end(key)
        while times and times[0] <= now - self._window:
            times.popleft()
        if len(times) >= self._limit:
            return max(1, math.ceil(times[0] + self._window - now))
        times.append(now)
        if len(self._taken) > self._keys:
            self._taken.popitem(last=False)
        return None

    def give_back(self, key: str) -> None:
        """Undo the latest take of a key: it turned out not to count."""
        times = self._taken.get(key)
        if times:
            times.pop()
        if times is not None and not times:
            del self._taken[key]

    def __len__(self) -> int:
        return len(self._taken)


def too_often(seconds: int) -> Refused:
    """The refusal of a limiter's answer."""
    return Refused("rate_limited", "Too many tries; wait a while.", status=429, retry_after=seconds)


def take_all(takes: Iterable[tuple[Limiter, str]]) -> None:
    """Take from each limiter, or from none and raise `Refused(rate_limited)`."""
    done: list[tuple[Limiter, str]] = []
    for limiter, key in takes:
        wait = limiter.take(key)
        if wait is not None:
            for earlier, its_key in done:
                earlier.give_back(its_key)
            raise too_often(wait)
        done.append((limiter, key))


def network(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which one customer usually has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def neighbourhood(client: str) -> str:
    """The network of a client: the /24 of an IPv4 address; an IPv6 client is a /64 already."""
    try:
        return str(ipaddress.ip_network((ipaddress.IPv4Address(client), 24), strict=False))
    except ValueError:
        return client


class TooLarge(Unparsable):
    def __init__(self, limit: int) -> None:
        super().__init__(f"The body has more than {limit} bytes.", status=413)


class TooSlow(Unparsable):
    def __init__(self) -> None:
        super().__init__("The body did not arrive in time.", status=408)


class BodyLimit:
    """Refuses a body that is too large, by its own word or in fact, and one that trickles in."""

    def __init__(
        self, app: ASGIApp, clock: Clock, limit: int = JSON_BYTES, seconds: float = BODY_SECONDS
    ) -> None:
        self.app = app
        self._clock = clock
        self._limit = limit
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = Sending(send)
        try:
            if _declared(scope) > self._limit:
                raise TooLarge(self._limit)
            await self.app(scope, _Counted(receive, self._clock, self._limit, self._seconds), sending)
        except (TooLarge, TooSlow) as error:
            if sending.begun:
                return
            answer = problem(error)
            # The rest of the body is not read, so the connection is of no further use.
            answer.headers["connection"] = "close"
            await answer(scope, receive, send)


class _Counted:
    """A `receive` that counts bytes and watches the clock until the body is complete."""

    def __init__(self, receive: Receive, clock: Clock, limit: int, seconds: float) -> None:
        self._receive = receive
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._deadline: float | None = None
        self._size = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        if self._deadline is None:
            self._deadline = self._clock.seconds() + self._seconds
        try:
            async with asyncio.timeout(max(0.0, self._deadline - self._clock.seconds())):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._size > self._limit:
                raise TooLarge(self._limit)
        return message


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0
    return 0


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
"""Where the public address is https: browsers keep to that for a year."""
_API_HEADERS = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
_PAGES_MAY_SET = frozenset({b"content-security-policy", b"cache-control"})


class AnswerHeaders:
    """Security headers on every answer, and the count and time of each. A page may bring its own policy."""

    def __init__(self, app: ASGIApp, clock: Clock, https: bool = False) -> None:
        self.app = app
        self._clock = clock
        self._always = (*_HEADERS, *((_HTTPS_ONLY,) if https else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = self._clock.seconds()

        async def dress(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                own = {name.lower() for name, _ in headers} & _PAGES_MAY_SET
                headers += self._always
                headers += [pair for pair in _API_HEADERS if pair[0] not in own]
                message = {**message, "headers": headers}
                # Paths carry ids; the route they matched does not.
                route = str(scope.get(ROUTE_KEY, "other"))
                REQUESTS.labels(route, scope["method"], str(message["status"])).inc()
                SECONDS.labels(route).observe(self._clock.seconds() - begun)
            await send(message)

        await self.app(scope, receive, dress)
