"""One server on one data directory. The operating system drops the lock with the process, also on kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import CallMeBackError

NAME = "serve.lock"


class DataDirBusy(CallMeBackError):
    """Another process serves this data directory."""


def private_dir(path: Path) -> None:
    """Makes a directory that only its owner may enter. One that is there stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def hold_data_dir(path: Path) -> Iterator[None]:
    """Holds the directory, made if need be. Raises `DataDirBusy` when another process has it."""
    private_dir(path)
    descriptor = os.open(path / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise DataDirBusy(
                f"{path} is already served by process {owner}. SQLite serves one process: "
                "stop the other one, give this one another DATA_DIR, or use PostgreSQL."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
