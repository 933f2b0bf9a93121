"""Deepgram Flux: speech to text that also says when the caller's turn is over.

Translates its turn events (v2/listen) into hearings and keeps what they promise: a `Turn`
after an `Eager` carries the same text, or `Resumed` stands between. Does not decide on
turns itself, and ignores our own voice activity.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote, urlencode

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pipeline.audio.mulaw import is_loud
from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.base import Eager, Hearing, Partial, Resumed, Turn, Used
from pipeline.engines.beside import beside
from pipeline.engines.deepgram.pipes import Bill, Hearings, Outgoing, Unanswered, farewell
from pipeline.engines.vendor_socket import closed, vendor_socket

NAME = "deepgram flux"
STALLED_TIMEOUTS = 4
"""A turn that has not moved for so many of the vendor's own timeouts will not end any more."""
OVERDUE_S = 1.5
"""Nor will one that is still open so long after the silence that the vendor's timeout allows."""
OURS = {"UNPARSABLE_CLIENT_MESSAGE"}
"""Errors that the same messages would bring about again."""
CODE_CHARS = 60


@dataclass(frozen=True, slots=True)
class FluxSettings:
    """What Flux is asked for; None leaves a threshold to the vendor, and without the eager one there is no `Eager`."""

    key: str = field(repr=False)
    url: str = "wss://api.deepgram.com"
    model: str = "flux-general-en"
    eot_threshold: float | None = None
    eager_eot_threshold: float | None = None
    eot_timeout_ms: int = 5_000
    keyterms: tuple[str, ...] = ()
    language_hints: tuple[str, ...] = ()
    """Only for the multilingual model."""
    mip_opt_out: bool = False
    """Keeps the sound out of the vendor's model improvement program."""
    patience_s: float = 3.0
    stall_s: float | None = None
    """An open turn in which nothing new comes for so long, while sound is sent, is a failure; None: 4 timeouts."""
    mute_s: float | None = 3.0
    """So much sound without any answer is a failure, in an open turn or where it is loud; None: is not watched."""

    @property
    def stalls_after_s(self) -> float:
        return STALLED_TIMEOUTS * self.eot_timeout_ms / 1000 if self.stall_s is None else self.stall_s

    @property
    def address(self) -> str:
        query = [("model", self.model), ("encoding", "mulaw"), ("sample_rate", "8000")]
        if self.eot_threshold is not None:
            query.append(("eot_threshold", f"{self.eot_threshold:g}"))
        if self.eager_eot_threshold is not None:
            query.append(("eager_eot_threshold", f"{self.eager_eot_threshold:g}"))
        query.append(("eot_timeout_ms", str(self.eot_timeout_ms)))
        query += [("keyterm", term) for term in self.keyterms]
        query += [("language_hint", hint) for hint in self.language_hints]
        if self.mip_opt_out:
            query.append(("mip_opt_out", "true"))
        return f"{self.url.rstrip('/')}/v2/listen?{urlencode(query, quote_via=quote)}"


class _Message(msgspec.Struct):
    """What is read of a server message. Whatever else it holds, today or tomorrow, is left alone."""

    type: str = ""
    event: str = ""
    turn_index: int | None = None
    transcript: str | None = None
    code: str | None = None


_read = msgspec.json.Decoder(_Message).decode


class _State(Enum):
    """Of the turn, as the vendor names them."""

    INITIAL = "nobody speaks"
    ONGOING = "speech goes on"
    AWAITING = "perhaps over"


class FluxTurns:
    """The turns of one stream: server messages in, hearings out."""

    def __init__(self) -> None:
        self._state = _State.INITIAL
        self._text = ""
        self._index: int | None = None
        """Of the turn that is open."""
        self._ended = -1
        """Of the last turn that ended; what still comes of it is old."""

    @property
    def open(self) -> bool:
        return self._state is not _State.INITIAL

    def take(self, message: _Message) -> list[Hearing]:
        """The hearings in one `TurnInfo`, none if it says nothing new."""
        index = message.turn_index
        if index is None:
            return self._event(message)
        if index <= self._ended:
            return []
        # The end of a turn that was never told is the beginning of the next one.
        missed = self.open and self._index is not None and index > self._index
        before = self._end(self._text, self._index) if missed else []
        self._index = index
        return before + self._event(message)

    def close(self) -> list[Hearing]:
        """The end of a turn that the vendor will not end any more: what is known of it stands."""
        return self._end(self._text, self._index) if self._text else []

    def _event(self, message: _Message) -> list[Hearing]:
        text = (message.transcript or "").strip()
        match message.event:
            case "StartOfTurn":
                self._begin()
                return self._grown(text)
            case "Update":
                return self._grown(text)
            case "EagerEndOfTurn":
                return self._perhaps(text)
            case "TurnResumed":
                return self._resume() + self._grown(text)
            case "EndOfTurn":
                return self._end(text, self._index)
            case _:
                return []

    def _begin(self) -> None:
        if not self.open:
            self._state = _State.ONGOING

    def _grown(self, text: str) -> list[Hearing]:
        if not text or text == self._text:
            return []
        # An eager end stands for its text only; a server that changes the text says so first, and ours must.
        before = self._resume()
        self._begin()
        self._text = text
        return [*before, Partial(text)]

    def _perhaps(self, text: str) -> list[Hearing]:
        if not text or (self._state is _State.AWAITING and text == self._text):
            return []
        before = self._resume()
        self._state = _State.AWAITING
        self._text = text
        return [*before, Eager(text)]

    def _resume(self) -> list[Hearing]:
        if self._state is not _State.AWAITING:
            return []
        self._state = _State.ONGOING
        return [Resumed()]

    def _end(self, text: str, index: int | None) -> list[Hearing]:
        if not self.open and index is None and not text:
            return []  # the same end once more
        before = self._resume() if text != self._text else []
        self._state = _State.INITIAL
        self._text = ""
        self._index = None
        if index is not None:
            self._ended = index
        return [*before, Turn(text)]


class FluxEar:
    """One open transcription. Sound beyond 10 s that the socket does not take is dropped, the oldest first."""

    def __init__(self, settings: FluxSettings) -> None:
        self._settings = settings
        self._outgoing = Outgoing()
        self._hearings = Hearings()
        self._turns = FluxTurns()
        self._bill = Bill(settings.model, self._hearings)
        clock = Clock()
        self._unanswered = Unanswered(clock)
        self._unmoved = Unanswered(clock)
        self._silence = Unanswered(clock)
        """Since the caller's last sound."""

    @property
    def used(self) -> Used:
        """Seconds billed so far; final once the ear is closed."""
        return self._bill.used

    def feed(self, mulaw: bytes) -> None:
        self._outgoing.feed(mulaw)

    def voice(self, speaking: bool) -> None:
        """The engine finds its turns by itself."""

    def heard(self) -> AsyncGenerator[Hearing, None]:
        return self._hearings.heard()

    def close(self) -> None:
        self._outgoing.close()
        self._hearings.close()

    async def live(self, socket: ClientConnection) -> None:
        """Until cancelled or failed; a failure is told to whoever listens and ends the billing."""
        try:
            async with beside(self._send(socket)):
                while not self._hearings.failed:
                    self._understand(await socket.recv())
        except ConnectionClosed as error:
            self._hearings.fail(closed(NAME, error))

    async def _send(self, socket: ClientConnection) -> None:
        # The listening side sees a closed socket too, after all that was said before.
        with suppress(ConnectionClosed):
            while not self._hearings.failed:
                chunk = await self._outgoing.take()
                if isinstance(chunk, bytes):
                    await self._bill.send(socket, chunk)
                    self._unanswered.sent(chunk)
                    self._unmoved.sent(chunk)
                    if is_loud(chunk):
                        self._silence.answered()
                    else:
                        self._silence.sent(chunk)
                    self._watch()

    def _watch(self) -> None:
        settings, is_open, mute_s = self._settings, self._turns.open, self._settings.mute_s
        overdue_s = settings.eot_timeout_ms / 1000 + OVERDUE_S
        # It says several times a second how things stand. Without a turn only what is spoken is worth failing for.
        watched = is_open or self._unanswered.speech
        if is_open and self._unmoved.lasts(settings.stalls_after_s):
            error = f"{NAME}: nothing new in an open turn for {settings.stalls_after_s:g} s"
        elif is_open and self._silence.lasts(overdue_s):
            for hearing in self._turns.close():
                self._hearings.put(hearing)
            error = f"{NAME}: a turn is open after {overdue_s:g} s of silence"
        elif mute_s is not None and watched and self._unanswered.lasts(mute_s):
            error = f"{NAME} is mute: no answer to {mute_s:g} s of sound"
        else:
            return
        self._hearings.fail(EngineError(error, retryable=True))

    def _understand(self, raw: str | bytes) -> None:
        if isinstance(raw, bytes):
            return
        self._unanswered.answered()
        try:
            message = _read(raw)
        except msgspec.DecodeError:
            self._hearings.fail(EngineError(f"{NAME} sent what cannot be read", retryable=True))
            return
        if message.type == "Error":
            code = (message.code or "without a code")[:CODE_CHARS]
            self._hearings.fail(EngineError(f"{NAME}: {code}", retryable=code not in OURS))
        elif message.type == "TurnInfo":
            found = self._turns.take(message)
            if found or message.event != "Update":
                self._unmoved.answered()
            for hearing in found:
                self._hearings.put(hearing)


class FluxTranscriber:
    """Speech to text for every call of the process; a socket a call."""

    def __init__(self, settings: FluxSettings) -> None:
        self._settings = settings

    @property
    def models(self) -> tuple[str, ...]:
        return (self._settings.model,)

    @property
    def ends_turns(self) -> bool:
        return True

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FluxEar]:
        """Raises `EngineError` when refused. An open socket may wait for its first sound: pings keep it."""
        settings = self._settings
        headers = {"Authorization": f"Token {settings.key}"}
        async with vendor_socket(NAME, settings.address, headers, patience_s=settings.patience_s) as socket:
            ear = FluxEar(settings)
            try:
                async with beside(ear.live(socket)):
                    try:
                        yield ear
                    finally:
                        ear.close()
            finally:
                await farewell(socket)
