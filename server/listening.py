"""The address the server listens on, taken before anything slow is loaded: a port in use is said at once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.errors import CallMeBackError
from server.settings import Settings


class CannotListen(CallMeBackError):
    """The address is taken, or none of this machine's."""


def taken(settings: Settings) -> socket.socket:
    """The server's address, for a process that has still to load and to open everything.

    One that serves alone listens from here on: who comes meanwhile waits, as the carrier does that asks how to go on
    with a call whose server died. Of several, another is to be tried instead, so it refuses until it is ready. Raises
    `CannotListen`.
    """
    listener = bound(settings)
    if settings.sqlite:
        try:
            listen(listener, settings)
        except CannotListen:
            listener.close()
            raise
    return listener


def bound(settings: Settings) -> socket.socket:
    """A socket that has the address but refuses connections until `listen`. Raises `CannotListen`."""
    return bound_to(settings.host, settings.port)


def bound_to(host: str, port: int, setting: str = "PORT") -> socket.socket:
    """The same for any address; port 0 is one that is free. `setting` is what to change where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose last connections are still dying is free; one that is listened on is not.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with _named(host, port, setting):
            found.bind((host, port))
    except CannotListen:
        found.close()
        raise
    return found


def listen(listener: socket.socket, settings: Settings) -> None:
    """Raises `CannotListen` when another server that started meanwhile was faster."""
    with _named(settings.host, settings.port):
        listener.listen()


@contextmanager
def _named(host: str, port: int, setting: str = "PORT") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"port {port} is in use; set {setting}") from None
        told = "HOST or PORT" if setting == "PORT" else setting
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror}; set {told}") from None
