"""Password hashes: bcrypt over base64(SHA-256), in one thread with a short queue.

The pre-hash ends bcrypt's 72-byte and NUL limits. One hash takes about a quarter of a
second of a core, so all of them share one thread, and when sixteen wait the next is
refused: a flood of logins must not be heard in a call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from server.errors import overloaded
from server.metrics import PASSWORD_HASHES

T = TypeVar("T")

COST = 12
WAITING = 16
MIN_BYTES = 8
MAX_BYTES = 1024


def check_length(password: str) -> str:
    """The password itself; `ValueError` when it is shorter than 8 or longer than 1,024 bytes of UTF-8."""
    size = len(password.encode())
    if size < MIN_BYTES:
        raise ValueError(f"needs at least {MIN_BYTES} characters")
    if size > MAX_BYTES:
        raise ValueError(f"is too long: {MAX_BYTES} letters and digits are the most, fewer of other signs")
    return password


def _prepared(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode()).digest())


class Passwords:
    """Hashes and checks. Use from one event loop; `close` when the server stops."""

    def __init__(self, cost: int = COST, waiting: int = WAITING) -> None:
        self._cost = cost
        self._waiting = waiting
        self._under_way = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        # A hash nobody knows a password of. Checking against it costs what checking a real one costs.
        self._nobody = bcrypt.gensalt(cost).decode() + "." * 31

    async def hash(self, password: str) -> str:
        """A new hash; `Refused(overloaded)` when too many wait."""
        return await self._run(
            lambda: bcrypt.hashpw(_prepared(password), bcrypt.gensalt(self._cost)).decode()
        )

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether it is the password. Does exactly one hash's work, whether or not there is a hash to check."""
        return await self._run(lambda: self._check(password, stored))

    def _check(self, password: str, stored: str | None) -> bool:
        if stored is not None:
            try:
                return bcrypt.checkpw(_prepared(password), stored.encode())
            except ValueError:
                # No bcrypt hash: a row written by hand. Nobody logs in with it, at the usual price.
                pass
        bcrypt.checkpw(_prepared(password), self._nobody.encode())
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way > self._waiting:
            raise overloaded()
        self._under_way += 1
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._under_way -= 1
        PASSWORD_HASHES.inc()
        return result

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
