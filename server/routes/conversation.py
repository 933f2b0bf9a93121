"""Both directions of a media socket that was let in, until one side ends it.

Decides what an end of the socket means to the call: who hangs up says so before they close, and a socket that ends
without has broken and may come back. Must not know how sound is spelled on the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog
from starlette.types import Message
from starlette.websockets import WebSocket

from pipeline.core.errors import BadStream
from pipeline.core.terms import EndReason
from pipeline.media import Guard
from pipeline.ports import Talking
from server.errors import whereabouts
from server.metrics import SURPRISES
from server.routes.socket_line import POLICY, SocketLine, shut
from server.sockets import each

log = structlog.get_logger()

Hears = Callable[[Message], bool | None]
"""Takes each message: True says that they hang up, False that the socket is gone, None that it goes on. Raises
`BadStream`."""


async def converse(
    websocket: WebSocket,
    live: Talking,
    line: SocketLine,
    guard: Guard,
    hears: Hears,
    *watches: Coroutine[None, None, None],
    door: str,
    call: str,
) -> None:
    """The call hears of every end that it did not bring about itself. A watch ends it by raising `BadStream`."""
    reason: EndReason | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(other) for other in (line.drain(), *watches)]
            listening = tasks.create_task(each(websocket, hears))
            listening.add_done_callback(lambda _: [task.cancel() for task in others])
        reason = EndReason.CALLER_HUNG_UP if listening.result() else None
    except* BadStream as bad:
        reason = EndReason.BAD_STREAM
        log.warning("media_stream_bad", door=door, call=call, why=str(bad.exceptions[0]))
    except* Exception as group:  # edge: of one call; the others go on
        reason = EndReason.ENGINE_FAILURE
        SURPRISES.labels(door).inc()
        log.error("surprise", door=door, call=call, **whereabouts(group.exceptions[0]))
    finally:
        if not line.ours:
            live.broken() if reason is None else live.dropped(reason)
        broken = reason is None and not line.ours
        log.info("media_stream_over", door=door, call=call, broken=broken, bad=guard.bad, gaps=guard.gaps)
    await shut(websocket, POLICY if reason is EndReason.BAD_STREAM else 1000)
