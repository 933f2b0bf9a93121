"""What the hosted voices share: a socket kept between utterances, and sound on its way to who speaks it.

A voice opens its line while the phone rings. A line that dies between utterances is replaced at the
next one; a line on which an utterance failed is not used again. Knows no vendor's messages, repeats
no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from pipeline.audio.mulaw import FRAME, RATE
from pipeline.core.errors import EngineError
from pipeline.engines.beside import beside
from pipeline.engines.vendor_socket import CLOSE_S, closed, vendor_socket
from pipeline.surprises import SURPRISES

log = structlog.get_logger()

MOST_WAITING = 300 * RATE
"""Vendors send faster than speech plays. No utterance is this long: beyond it a vendor is out of order."""

SILENT, STOPPED = "sent no sound in time", "stopped in mid-utterance"


def speakable(text: str) -> bool:
    """Whether there is anything in it that has a sound."""
    return any(character.isalnum() for character in text)


class Utterance:
    """The sound of one utterance, from the task that reads the socket to the one that speaks."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._arrived: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        self._waiting = 0

    def sound(self, piece: bytes) -> None:
        if not piece:
            return  # It would count as a sign of life.
        if self._waiting + len(piece) > MOST_WAITING:
            raise EngineError(f"{self._name} sends sound without end", retryable=True)
        self._waiting += len(piece)
        self._arrived.put_nowait(piece)

    def done(self) -> None:
        self._arrived.put_nowait(None)

    def fail(self, error: EngineError) -> None:
        self._arrived.put_nowait(error)

    async def pieces(self, patience_s: float, stall_s: float) -> AsyncGenerator[bytes, None]:
        """The sound until it is done, at least a frame at a time.

        Raises what the line failed with, once the sound before it is handed over, and `EngineError` when
        the first piece takes longer than `patience_s`, another longer than `stall_s`, or none comes at all.
        """
        held, spoken = b"", False
        while True:
            arrived = await (
                self._next(stall_s, STOPPED) if spoken or held else self._next(patience_s, SILENT)
            )
            if isinstance(arrived, bytes):
                held += arrived
                if len(held) < FRAME:
                    continue  # Every piece becomes a message and a mark at the carrier.
            if held:
                spoken = True
                yield held
                held = b""
            if isinstance(arrived, EngineError):
                raise arrived
            if arrived is None:
                if not spoken:
                    raise EngineError(f"{self._name} made no sound of a text", retryable=True)
                return

    async def _next(self, wait_s: float, otherwise: str) -> bytes | EngineError | None:
        try:
            async with asyncio.timeout(wait_s):
                arrived = await self._arrived.get()
        except TimeoutError:
            raise EngineError(f"{self._name} {otherwise}", retryable=True) from None
        if isinstance(arrived, bytes):
            self._waiting -= len(arrived)
        return arrived


class Talk(Protocol):
    """A vendor's side of one line: what was sent over it and what may still come."""

    def take(self, message: str | bytes) -> None:
        """One message. Raises `EngineError` when the line is of no more use."""

    def lost(self, error: EngineError) -> None:
        """The line is over, and nothing comes any more."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a vendor's socket is. `goodbye` is the message that ends a session there."""

    name: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    patience_s: float
    goodbye: str
    lasting: Callable[[str], bool] = lambda reason: False
    """Whether trying again is no use, going by the reason of a close."""
    of_one_voice: frozenset[int] = frozenset()
    """The statuses of a refusal of this voice alone."""
    of_one: Callable[[str], bool] = lambda reason: False
    """Whether it closed for this voice or this text alone, by the reason."""


class VoiceLine:
    """One socket, from opening to its end. `run` is its task."""

    def __init__(self, address: Address, talk: Talk) -> None:
        self._address = address
        self._talk = talk
        self._stands: ClientConnection | EngineError | None = None
        """Opening, open, or over, and why."""
        self._settled = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Open, hand over what comes, close. Raises nothing."""
        address = self._address
        try:
            async with vendor_socket(
                address.name,
                address.url,
                address.headers,
                patience_s=address.patience_s,
                of_one=address.of_one_voice,
            ) as socket:
                try:
                    if self._stands is None:
                        self._stands = socket
                    self._settled.set()
                    async with beside(self._read(socket)):
                        await self._over.wait()
                finally:
                    with suppress(ConnectionClosed, TimeoutError):
                        async with asyncio.timeout(CLOSE_S):
                            await socket.send(address.goodbye)
        except EngineError as error:
            self._end(error)
        except Exception as error:  # edge: of the line's task; the call goes on without this line
            SURPRISES.labels("voice line").inc()
            log.exception("voice_line_broke", engine=address.name)
            self._end(EngineError(f"{address.name}: {type(error).__name__}", retryable=True))

    async def opened(self) -> None:
        """Wait until it is open. Raises `EngineError` when it cannot be."""
        await self._settled.wait()
        if isinstance(self._stands, EngineError):
            raise self._stands

    @property
    def usable(self) -> bool:
        """Whether it is opening or open, going by all that has arrived so far."""
        if isinstance(self._stands, ClientConnection):
            return self._stands.state is State.OPEN
        return self._stands is None

    async def send(self, messages: list[str], within_s: float) -> None:
        """Send them all, or raise `EngineError` and be of no more use; so too when cancelled half way."""
        socket, rest = self._stands, len(messages)
        try:
            if isinstance(socket, EngineError):
                raise socket
            assert socket is not None, "opened() comes first"
            async with asyncio.timeout(within_s):
                for message in messages:
                    await socket.send(message)
                    rest -= 1
        except ConnectionClosed as error:
            raise self._closed(error) from None
        except TimeoutError:
            raise EngineError(f"{self._address.name} takes no more messages", retryable=True) from None
        finally:
            if rest:
                self.drop()

    def drop(self) -> None:
        """Close it soon. What it was speaking is lost."""
        self._end(EngineError(f"{self._address.name}: the line was given up", retryable=True))

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                self._talk.take(await socket.recv())
        except ConnectionClosed as error:
            self._end(self._closed(error))
        except EngineError as error:
            self._end(error)

    def _closed(self, error: ConnectionClosed) -> EngineError:
        told = closed(self._address.name, error)
        reason = "" if error.rcvd is None else error.rcvd.reason
        lasting, of_one = self._address.lasting(reason), self._address.of_one(reason)
        return EngineError(told.detail, retryable=told.retryable and not lasting, of_one=of_one)

    def _end(self, error: EngineError) -> None:
        if not isinstance(self._stands, EngineError):
            self._stands = error
            self._talk.lost(error)
        self._settled.set()
        self._over.set()


class VoiceLines:
    """The tasks of a voice's lines: the one in use and those that are still closing."""

    def __init__(self) -> None:
        self._new: asyncio.Queue[VoiceLine] = asyncio.Queue()

    @asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        """Lines live inside; on leaving all are closed."""
        async with beside(self._tend()):
            yield

    def start(self, line: VoiceLine) -> None:
        self._new.put_nowait(line)

    async def _tend(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task((await self._new.get()).run())
