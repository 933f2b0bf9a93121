"""A websocket to a vendor of speech engines: opened with a patience, its failures told as `EngineError`.

Knows no vendor. Whether a failure may pass is read off the HTTP status of a refused handshake;
whatever breaks later may work again on a new socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from pipeline.core.errors import EngineError

PING_S = 5.0
"""A vendor that closes idle sockets counts pings as life."""
PONG_S = 20.0
CLOSE_S = 1.0
"""Longest wait for the other side's close frame."""
MAX_MESSAGE = 4 * 1024 * 1024
DETAIL_CHARS = 200


def may_pass(status: int) -> bool:
    """Whether the same request may work later, going by its HTTP status."""
    return status in {408, 409, 425, 429} or status >= 500


@asynccontextmanager
async def vendor_socket(
    name: str,
    url: str,
    headers: Mapping[str, str],
    *,
    patience_s: float,
    of_one: frozenset[int] = frozenset(),
) -> AsyncIterator[ClientConnection]:
    """An open socket to `name`. Raises `EngineError` when it is refused or not open within `patience_s`.

    `of_one`: the statuses of a refusal that is no verdict on who asks for something else.
    Inside, a closed socket raises websockets' own `ConnectionClosed`; see `closed`.
    """
    connecting = connect(
        url,
        additional_headers=dict(headers),
        compression=None,
        proxy=None,
        open_timeout=None,
        ping_interval=PING_S,
        ping_timeout=PONG_S,
        close_timeout=CLOSE_S,
        max_size=MAX_MESSAGE,
    )
    try:
        async with asyncio.timeout(patience_s):
            socket = await connecting
    except InvalidStatus as error:
        raise _refused(name, error, of_one) from None
    except TimeoutError:
        raise EngineError(f"{name} did not answer in {patience_s:g} s", retryable=True) from None
    except (OSError, InvalidHandshake, EOFError) as error:
        raise EngineError(f"{name} cannot be reached: {type(error).__name__}", retryable=True) from None
    except InvalidURI:
        raise EngineError(f"{name}: the address that is set is no websocket address") from None
    try:
        yield socket
    finally:
        await socket.close()


def _refused(name: str, error: InvalidStatus, of_one: frozenset[int]) -> EngineError:
    """The body is not told: whatever stands between us and the vendor may quote the key in it."""
    status = error.response.status_code
    return EngineError(f"{name} refused: {status}", retryable=may_pass(status), of_one=status in of_one)


def closed(name: str, error: ConnectionClosed) -> EngineError:
    """A socket that closed under us."""
    how = error.rcvd or error.sent
    told = f"{how.code} {how.reason}".rstrip() if how is not None else "without a word"
    return EngineError(f"{name} closed the socket: {told[:DETAIL_CHARS]}", retryable=True)
