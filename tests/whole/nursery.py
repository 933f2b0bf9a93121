"""Servers in a fraction of a second: each a process of its own, forked from one that has imported everything.

What runs in it is `callmeback serve`, from the reading of its environment on; only the imports, two seconds of a busy
core, were made before. A test that kills a thousand servers cannot wait for them a thousand times.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

LONGEST = 64 * 1024
"""Bytes of an environment."""
_PID = struct.Struct("!i")


@dataclass
class Nursery:
    """`born` gives a server; it is waited for here, since it is no child of the test's process."""

    control: socket.socket
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def born(self, environ: dict[str, str]) -> tuple[Born, asyncio.StreamReader]:
        """A server with this environment, and what it says."""
        loop = asyncio.get_running_loop()
        reads, writes = os.pipe()
        try:
            request = json.dumps({"environ": environ}).encode()
            async with self.turn:
                pid = await asyncio.to_thread(_asked, self.control, request, writes)
        finally:
            os.close(writes)
        out = asyncio.StreamReader(limit=1 << 20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(out), os.fdopen(reads, "rb"))
        return Born(self, pid), out

    async def ended(self, pid: int) -> int:
        async with self.turn:
            return await asyncio.to_thread(_asked, self.control, json.dumps({"ended": pid}).encode())


@dataclass
class Born:
    """A running server, with the part of `asyncio.subprocess.Process` that is used of it."""

    nursery: Nursery
    pid: int

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """To be asked once it was killed: nobody is born meanwhile."""
        return await self.nursery.ended(self.pid)


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """Whatever still runs of it ends with the block."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.whole.nursery", str(theirs.fileno()),
        stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
    )  # fmt: skip
    theirs.close()
    try:
        yield Nursery(ours)
    finally:
        ours.close()
        await process.wait()


def _asked(control: socket.socket, request: bytes, *handed: int) -> int:
    socket.send_fds(control, [request], handed)
    return int(_PID.unpack(control.recv(_PID.size, socket.MSG_WAITALL))[0])


# -- in the process that forks ---------------------------------------------------------------


def main(control: socket.socket) -> None:
    _import_all()
    living: set[int] = set()
    while True:
        request, handed, _, _ = socket.recv_fds(control, LONGEST, 1)
        if not request:
            break
        asked = json.loads(request)
        if "ended" in asked:
            pid = int(asked["ended"])
            living.discard(pid)
            control.sendall(_PID.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            _serve(asked["environ"], handed[0])
        os.close(handed[0])
        living.add(pid)
        control.sendall(_PID.pack(pid))
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _import_all() -> None:
    """Whatever a server with scripted engines on PostgreSQL imports until it is ready."""

    import storage.shell  # noqa: F401


def _serve(environ: dict[str, str], out: int) -> None:
    """Never comes back."""
    from server.cli import app

    for standard in (1, 2):
        os.dup2(out, standard)
    os.close(out)
    os.environ.clear()
    os.environ.update(environ)
    code = 1
    try:
        app(["serve"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
