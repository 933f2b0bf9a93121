"""Whether a request was signed by the carrier. Decided here only, and before anything else is read of it.

The signature covers the URL the carrier was given, so it is computed over the configured
public origin; what Host or X-Forwarded-* say is never looked at. The carrier is of two minds
about ports and about a slash at the end of a socket's URL: each spelling it documents is
tried, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

HEADER = "x-twilio-signature"

Fields = Sequence[tuple[str, str]]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SOCKET_SCHEME = {"http": "ws", "https": "wss"}


def sign(token: str, url: str, fields: Fields = ()) -> str:
    """The signature of a URL and the form fields sent to it, every one, sorted by name."""
    message = url + "".join(name + value for name, value in sorted(fields))
    return base64.b64encode(hmac.new(token.encode(), message.encode(), hashlib.sha1).digest()).decode("ascii")


class Signatures:
    """Verifies against one public origin and a ring of auth tokens, the current one first."""

    def __init__(self, public_url: str, auth_tokens: Iterable[str]) -> None:
        """`public_url` is http(s)://host[:port][/prefix]. An empty token signs for everybody: `ValueError`."""
        parts = urlsplit(public_url)
        if parts.scheme not in _SOCKET_SCHEME or not parts.hostname:
            raise ValueError("the public URL must be http:// or https:// with a host")
        self._tokens = tuple(auth_tokens)
        if not self._tokens or not all(self._tokens):
            raise ValueError("there must be an auth token, and none may be empty")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        prefix = parts.path.rstrip("/")
        self._pages = _origins(parts.scheme, host, parts.port, prefix)
        self._sockets = _origins(_SOCKET_SCHEME[parts.scheme], host, parts.port, prefix)
        shown = host if parts.port is None else f"{host}:{parts.port}"
        self.socket_origin = f"{_SOCKET_SCHEME[parts.scheme]}://{shown}{prefix}"
        """What the carrier is told to open a media socket to, less the path."""

    def form(self, target: str, fields: Fields, given: Sequence[str]) -> bool:
        """A form POST. `target` is path and query byte for byte as requested; `given` every value of the header.

        A field that comes twice is refused: the carrier sends none, and its own code signs them ambiguously.
        """
        if len({name for name, _ in fields}) != len(fields):
            return False
        return self._any((origin + target for origin in self._pages), fields, given)

    def socket(self, target: str, given: Sequence[str]) -> bool:
        """A websocket upgrade: the wss:// URL, also with a slash behind it (ws:// where the origin is http://)."""
        urls = [origin + target + slash for origin in self._sockets for slash in ("", "/")]
        return self._any(urls, (), given)

    def _any(self, urls: Iterable[str], fields: Fields, given: Sequence[str]) -> bool:
        """Every spelling is computed and compared, so that time tells nothing about which came near."""
        if len(given) != 1:
            return False
        claimed = given[0].encode("utf-8", "surrogateescape")
        good = False
        try:
            for url in urls:
                for token in self._tokens:
                    good |= hmac.compare_digest(sign(token, url, fields).encode(), claimed)
        except UnicodeEncodeError:  # a field that is no text cannot have been signed
            return False
        return good


def _origins(scheme: str, host: str, port: int | None, prefix: str) -> tuple[str, str]:
    """The origin without and with its port, the scheme's own when none is configured."""
    named = port if port is not None else _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}{prefix}", f"{scheme}://{host}:{named}{prefix}"
