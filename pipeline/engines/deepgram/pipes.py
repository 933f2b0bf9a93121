"""The two ends of a transcription over a socket: sound that goes out, hearings that come back.

Decides when a piece of sound leaves, what is billed for it, and how long silence from the
other side is believed. Knows nothing of what the vendor says.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pipeline.audio.mulaw import FRAME, RATE, is_loud
from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.base import Hearing, Partial, Used

CHUNK = 640
"""80 ms: what the vendor recommends, and a quarter of the messages that single frames would be."""
ALERT = RATE * 600 // 1000
"""After the caller's last sound the vendor decides whether the turn is over: nothing is held back for so long."""
LONGEST = 10 * RATE
"""Sound kept while the socket does not take it."""
SPEECH = RATE * 400 // 1000
"""So much loud sound is likely to have words in it."""
WORD = RATE * 200 // 1000
"""Nobody says a word in less."""
MOST_HEARINGS = 1_000
CLOSE = '{"type":"CloseStream"}'
FAREWELL_S = 0.25
"""Longest wait for a stuck socket to take the last message."""


class Outgoing:
    """Sound, and orders between pieces of it, on their way out.

    Sound leaves in chunks of 80 ms, but at once in the first 600 ms of silence after a sound:
    there each frame that waits for others delays the end of the turn. Beyond 10 s the oldest
    is dropped.
    """

    def __init__(self) -> None:
        self._sound = bytearray()
        self._front = 0
        """Where `_sound` begins, in bytes fed so far."""
        self._ready = 0
        """How much of `_sound` may leave."""
        self._quiet = ALERT
        """Bytes since the last loud frame."""
        self._orders: deque[tuple[int, str]] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def fed(self) -> int:
        """Bytes ever fed."""
        return self._front + len(self._sound)

    def feed(self, mulaw: bytes) -> None:
        if self._closed:
            return
        for start in range(0, len(mulaw), FRAME):
            frame = mulaw[start : start + FRAME]
            self._quiet = 0 if is_loud(frame) else self._quiet + len(frame)
            self._sound += frame
            if 0 < self._quiet <= ALERT or len(self._sound) - self._ready >= CHUNK:
                self._ready = len(self._sound)
        if (excess := len(self._sound) - LONGEST) > 0:
            self._drop(excess)
        if self._ready:
            self._wake.set()

    def order(self, text: str) -> None:
        """A text message that leaves after all sound fed before it."""
        if self._closed:
            return
        self._ready = len(self._sound)
        self._orders.append((self.fed, text))
        self._wake.set()

    def again(self, pieces: Sequence[bytes | str]) -> None:
        """What was taken last is to leave once more, in its order and before everything else."""
        if self._closed:
            return
        sound = b"".join(piece for piece in pieces if isinstance(piece, bytes))
        at = self._front = self._front - len(sound)
        orders: list[tuple[int, str]] = []
        for piece in pieces:
            if isinstance(piece, str):
                orders.append((at, piece))
            else:
                at += len(piece)
        self._sound[:0] = sound
        self._ready += len(sound)
        self._orders.extendleft(reversed(orders))
        self._wake.set()

    def close(self) -> None:
        """Nothing leaves any more, not even what waits: nobody would hear of it, and it would be billed."""
        self._closed = True
        self._drop(len(self._sound))
        self._orders.clear()

    async def take(self) -> bytes | str:
        """What leaves next: at most 80 ms of sound, or an order. Waits for it."""
        while True:
            if self._orders and self._orders[0][0] <= self._front:
                return self._orders.popleft()[1]
            if self._ready:
                size = min(self._ready, CHUNK)
                if self._orders:
                    size = min(size, self._orders[0][0] - self._front)
                chunk = bytes(self._sound[:size])
                self._drop(size)
                return chunk
            self._wake.clear()
            await self._wake.wait()

    def _drop(self, size: int) -> None:
        del self._sound[:size]
        self._front += size
        self._ready = max(0, self._ready - size)


class Hearings:
    """What was understood, between the task that reads the socket and whoever listens.

    A `Partial` or `Used` not fetched yet is replaced by the next. With more than 1,000
    waiting nobody listens, which is a failure.
    """

    def __init__(self) -> None:
        self._waiting: deque[Hearing] = deque()
        self._failure: EngineError | None = None
        self._closed = False
        self._wake = asyncio.Event()

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def put(self, hearing: Hearing) -> None:
        if self._closed or self.failed:
            return
        if isinstance(hearing, Partial | Used) and self._waiting and type(self._waiting[-1]) is type(hearing):
            self._waiting.pop()
        self._waiting.append(hearing)
        if len(self._waiting) > MOST_HEARINGS:
            self.fail(EngineError("nobody listens to what is heard"))
        self._wake.set()

    def fail(self, error: EngineError) -> None:
        """Raised to the listener after what was understood before. Only the first counts."""
        if not self.failed:
            self._failure = error
            self._wake.set()

    def close(self) -> None:
        """The listening ends; of what was not fetched only the latest `Used` still counts."""
        self._closed = True
        bills = [hearing for hearing in self._waiting if isinstance(hearing, Used)]
        self._waiting = deque(bills[-1:])
        self._wake.set()

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            if self._failure is not None:
                raise self._failure
            self._wake.clear()
            await self._wake.wait()


class Unanswered:
    """The sound sent since the other side last answered, and for how long it has been so.

    Silence is believed only as far as both time and sound went by: a burst of stored sound
    takes no time, and while no sound flows nobody has to answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self._sound = 0
        self._loud = 0

    def answered(self) -> None:
        self._since = None
        self._sound = self._loud = 0

    def sent(self, chunk: bytes) -> None:
        if self._since is None:
            self._since = self._clock.seconds()
        self._sound += len(chunk)
        if is_loud(chunk):
            self._loud += len(chunk)

    def lasts(self, seconds: float) -> bool:
        """Whether so much sound of any kind got no answer."""
        return self._passed(seconds) and self._sound >= seconds * RATE

    def though_loud(self, seconds: float) -> bool:
        """Whether so much loud sound got no answer."""
        return self._passed(seconds) and self._loud >= seconds * RATE

    @property
    def speech(self) -> bool:
        """Whether the sound without an answer is likely to have words in it."""
        return self._loud >= SPEECH

    def _passed(self, seconds: float) -> bool:
        return self._since is not None and self._clock.seconds() - self._since >= seconds


class Unheard:
    """The loud sound that no final result has come for yet, by its place in the sound sent."""

    def __init__(self) -> None:
        self._fed = 0
        self._told = 0.0
        """Until where words are known that are not final."""
        self._loud: deque[tuple[int, int]] = deque(maxlen=LONGEST // FRAME)
        """Where each piece ends, and its size."""

    def sent(self, chunk: bytes) -> None:
        self._fed += len(chunk)
        if is_loud(chunk):
            self._loud.append((self._fed, len(chunk)))

    def told(self, until_s: float) -> None:
        """Words of the sound until there are known; a final result is still to come."""
        self._told = max(self._told, until_s * RATE)

    def settled(self, until_s: float) -> None:
        """No result is to come any more for the sound until there."""
        while self._loud and self._loud[0][0] <= until_s * RATE:
            self._loud.popleft()

    def untold(self, until_s: float) -> bool:
        """Whether there may be a word in the sound until there of which nothing is known."""
        return self._between(self._told, until_s) >= WORD

    def passed_over(self, start_s: float) -> bool:
        """Whether there may be a word before a result that begins there: they come in order, so its own never will."""
        return self._between(0, start_s) >= WORD

    def _between(self, start: float, until_s: float) -> int:
        return sum(size for end, size in self._loud if start < end <= until_s * RATE)


class Bill:
    """The sound that was sent, in seconds begun, as the vendor counts it; told whenever another begins."""

    def __init__(self, model: str, hearings: Hearings) -> None:
        self._model = model
        self._hearings = hearings
        self.bytes = 0
        self.sure = True
        """Whether the vendor has the sound, as far as is known; while it is not, no second is told."""
        self._told = 0

    @property
    def used(self) -> Used:
        return Used(self._model, -(-self.bytes // RATE))

    async def send(self, socket: ClientConnection, chunk: bytes) -> None:
        # Counted first: a send that is cancelled while it waits has written its bytes.
        self.bytes += len(chunk)
        try:
            await socket.send(chunk)
        except ConnectionClosed:
            self.bytes -= len(chunk)
            raise
        self._tell()

    def confirm(self) -> None:
        if not self.sure:
            self.sure = True
            self._tell()

    def unsent(self) -> None:
        """None of it has reached the vendor."""
        self.bytes = 0

    def _tell(self) -> None:
        if self.sure and self.used.seconds > self._told:
            self._told = self.used.seconds
            self._hearings.put(self.used)


async def farewell(socket: ClientConnection) -> None:
    """Ask the vendor to stop; what it has not understood yet is not waited for."""
    with suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await socket.send(CLOSE)
