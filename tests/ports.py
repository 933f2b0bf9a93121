"""Ports for servers that are started later than their addresses have to be known."""

from __future__ import annotations

import os
import socket

FIRST, COUNT = 10_000, 22_000
"""Below the ports that a kernel gives to clients by itself: none of those can take one between asking and binding."""
STEP = 397
_next = os.getpid() * STEP


def free_port() -> int:
    """One that nobody has now. Processes start far apart from each other, so that no two give out the same."""
    global _next  # noqa: PLW0603  # where this process is on its way through the ports
    while True:
        port = FIRST + _next % COUNT
        _next += 1
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
