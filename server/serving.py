"""A built application served until it is told to stop: the sockets, the signals, the drain, uvicorn's limits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing

import structlog
import uvicorn
from starlette.applications import Starlette

from server.app import OpenDesk, build, no_desk
from server.edge import protocol
from server.listening import listen, taken
from server.nodes.workers import Inherited, sockets, when_orphaned
from server.parts import Parts, State
from server.settings import Settings
from server.sockets import Socket

log = structlog.get_logger(__name__)

SOCKET_BYTES = 64 * 1024
KEEP_ALIVE_S = 5
STOP_S = 10
"""How long requests under way may take once the server stops."""
NEW_OBJECTS = 10_000
"""More objects than before, at which the collector looks for circles among the new ones; Python's own 700 are a
fraction of what a hundred calls make and drop in a second."""


class _Server(uvicorn.Server):
    """uvicorn, without its habit of raising the signal again when done: the parts are closed after it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    settings: Settings,
    open_desk: OpenDesk = no_desk,
    on_ready: Callable[[Settings], None] = lambda _settings: None,
    inherited: Inherited | None = None,
    listener: socket.socket | None = None,
) -> None:
    """Serve until told to stop. Raises before it answers when anything cannot be opened, the port first of all.

    `listener` is the address where it is taken already; it is closed here.

    The first signal drains: no new calls, the live ones go on for a while. The second makes them say goodbye now.
    """
    with ExitStack() as stack:
        if inherited is None:
            listeners = [listener or taken(settings)]
        else:
            settings, listeners = sockets(settings, inherited)
        for each in listeners:
            stack.enter_context(closing(each))
        app = build(settings, open_desk=open_desk)
        async with app.router.lifespan_context(app):
            stack.enter_context(settled_collector())
            for each in listeners:
                listen(each, settings)
            tell_ready(settings)
            on_ready(settings)
            await _serve(app, settings, listeners, None if inherited is None else inherited.parent)


def tell_ready(settings: Settings) -> None:
    """Whoever waits for this line may connect: every address is listened on."""
    rows = {"stt": settings.stt_engine, "llm": settings.llm_engine, "tts": settings.tts_engine}
    engines = {seam: ",".join(row) for seam, row in rows.items()}
    unused = {"unused_keys": ",".join(settings.unused_keys)} if settings.unused_keys else {}
    where = {"public_url": settings.public_url, "node_url": settings.node_url}
    log.info("ready", **where, simulated=settings.simulated, **engines, **unused)


@contextlib.contextmanager
def settled_collector() -> Generator[None, None, None]:
    """What is loaded by now stays until the end: the garbage collector need not go through it again and again."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _serve(
    app: Starlette, settings: Settings, listeners: list[socket.socket], parent: int | None
) -> None:
    parts: Parts = app.state.parts
    server = _Server(server_config(app, settings))
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        calls, again = parts.desk.live_calls, stopping.is_set()
        log.info("stopping", signal=number, again=again, calls=calls)
        if again:
            parts.desk.hurry()
        elif calls:
            _tell_waiting(calls, settings.drain_seconds)
        parts.state = State.DRAINING
        stopping.set()

    def begin_drain() -> None:
        if not stopping.is_set():
            stop(signal.SIGTERM)

    parts.begin_drain = begin_drain
    if parent is not None:
        when_orphaned(parent, begin_drain)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(_drain(stopping, parts, server))
        await server.serve(sockets=listeners)
        draining.cancel()


def _tell_waiting(calls: int, patience_s: int) -> None:
    """Whoever stopped the server sees why it goes on."""
    live, them = ("1 call is live", "it") if calls == 1 else (f"{calls} calls are live", "them")
    sys.stderr.write(
        f"callmeback: {live}; waiting up to {patience_s} s for {them} to end. "
        f"A second signal (Ctrl-C) makes {them} say goodbye now.\n"
    )
    sys.stderr.flush()


async def _drain(stopping: asyncio.Event, parts: Parts, server: uvicorn.Server) -> None:
    await stopping.wait()
    try:
        await parts.desk.drain(parts.settings.drain_seconds)
    except TimeoutError:
        log.error("drain_incomplete")
    server.should_exit = True


def server_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """uvicorn with every limit it has, and the ones it lacks (`server/edge.py`)."""
    proxies = frozenset(settings.trusted_proxies)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol(per_address=settings.max_connections_per_ip, uncounted=proxies),
        ws=Socket,
        ws_max_size=SOCKET_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=sorted(proxies),
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
