"""`callmeback serve --workers N`: one parent binds the port, N processes take connections from it.

Each worker is a node of its own, as a server on another machine is: the parent starts it, starts
it again when it dies, and passes signals on. It conducts no call and opens no database. A
connection nobody has taken yet survives the death of any worker, since the port is the parent's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import CallMeBackError
from server.auth import signing_ring
from server.listening import bound, bound_to
from server.settings import BadSettings, Settings
from storage.migrate import migrate

SETTLED_S = 10.0
"""A worker that lived so long had started well."""
AGAIN_S = 1.0
TRIES = 3
"""Deaths in a row soon after the start, after which nobody expects another try to do better."""

log = structlog.get_logger(__name__)


class WorkersFailed(CallMeBackError):
    """A worker cannot be kept running; it has said why on standard error."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker has of its parent: which one it is, from 1 on, the public socket, and a pipe that ends with it."""

    number: int
    listener: int
    parent: int


def check(settings: Settings) -> None:
    """Raises `BadSettings` where several processes cannot serve."""
    if settings.sqlite:
        raise BadSettings(
            (
                "--workers: SQLite serves one process; set DATABASE_URL to a PostgreSQL database, or leave it out",
            )
        )
    if settings.simulated:
        raise BadSettings(
            (
                "--workers: the simulated carrier lives inside one process; set the TWILIO_ settings, or leave it out",
            )
        )


async def supervise(settings: Settings, count: int) -> None:
    """Keep `count` workers running until told to stop, then until their calls are over.

    Raises `BadSettings`, `CannotListen` or `DatabaseDown` before any is started, `WorkersFailed` later.
    """
    check(settings)
    with ExitStack() as stack:
        listener = stack.enter_context(closing(bound(settings)))
        # Once, before several do the same at the same time.
        signing_ring(settings)
        await migrate(settings.database_url)
        theirs, ours = os.pipe()
        stack.callback(os.close, ours)
        stack.callback(os.close, theirs)
        await _Workers(listener.fileno(), theirs).run(count)


class _Workers:
    def __init__(self, listener: int, pipe: int) -> None:
        self._listener = listener
        self._pipe = pipe
        self._clock = Clock()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def run(self, count: int) -> None:
        with _on_signals(self._pass_on):
            async with asyncio.TaskGroup() as tasks:
                keeping = [tasks.create_task(self._keep(number)) for number in range(1, count + 1)]
        if not all(task.result() for task in keeping):
            raise WorkersFailed(f"a worker died {TRIES} times soon after its start")

    def _pass_on(self, number: int) -> None:
        log.info("stopping_workers", signal=number, again=self._stopping.is_set(), workers=len(self._running))
        self._stopping.set()
        self._terminate()

    def _terminate(self) -> None:
        for process in self._running.values():
            if process.returncode is None:
                process.terminate()

    async def _keep(self, number: int) -> bool:
        """False when it would not stay alive; the others are told to stop then."""
        failed = 0
        while not self._stopping.is_set():
            begun = self._clock.seconds()
            code = await self._one(number)
            if self._stopping.is_set():
                break
            failed = failed + 1 if self._clock.seconds() - begun < SETTLED_S else 0
            tell = log.error if code else log.info  # one that was drained ends well, and is started again
            tell("worker_ended", worker=number, code=code, tries=failed)
            if failed >= TRIES:
                self._stopping.set()
                self._terminate()
                return False
            try:
                async with asyncio.timeout(AGAIN_S):
                    await self._stopping.wait()
            except TimeoutError:
                pass
        return True

    async def _one(self, number: int) -> int:
        """Start a worker and wait for its end; its exit status."""
        handed = (f"--worker={number}", f"--listener={self._listener}", f"--parent={self._pipe}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.cli", "serve", *handed,
            pass_fds=(self._listener, self._pipe),
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which passes it on once
        )  # fmt: skip
        self._running[number] = process
        log.info("worker_started", worker=number, pid=process.pid)
        if self._stopping.is_set():
            process.terminate()
        try:
            return await process.wait()
        finally:
            del self._running[number]


@contextmanager
def _on_signals(act: Callable[[int], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, act, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


# -- in a worker -----------------------------------------------------------------------


def sockets(settings: Settings, inherited: Inherited) -> tuple[Settings, list[socket.socket]]:
    """The public socket and one of the worker's own, by which other nodes and Prometheus reach it.

    Where `NODE_URL` has a port other than `PORT`, the first worker has that one, the next the one above.
    """
    url = urlsplit(settings.node_url)
    if url.port in {None, settings.port}:
        host, own = "127.0.0.1", bound_to("127.0.0.1", 0)
    else:
        host = url.hostname or ""
        own = bound_to(host, (url.port or 0) + inherited.number - 1, "NODE_URL")
    public = socket.socket(fileno=inherited.listener)
    public.setblocking(False)
    shown = f"[{host}]" if ":" in host else host
    origin = f"{url.scheme if host != '127.0.0.1' else 'http'}://{shown}:{own.getsockname()[1]}"
    return settings.model_copy(update={"node_url": origin}), [public, own]


def when_orphaned(parent: int, act: Callable[[], None]) -> None:
    """Call `act` once the parent is gone: nobody else would ever stop this process, or start it again."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(parent)
        log.warning("parent_gone")
        act()

    loop.add_reader(parent, ended)
