"""Deepgram Nova: speech to text that leaves the turns to our own voice activity.

Puts together what its result messages (v1/listen) say between two silences and answers
each end of speech with one `Segment`. Does not decide when speech ends. Keeps a socket
open for as long as the phone rings, though the vendor closes the ones it hears nothing on.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pipeline.audio.mulaw import RATE
from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.base import Hearing, Segment, Used
from pipeline.engines.beside import beside
from pipeline.engines.deepgram.nova_text import JITTER_S, NovaText, Results, kind_of, results_of
from pipeline.engines.deepgram.pipes import Bill, Hearings, Outgoing, Unanswered, Unheard, farewell
from pipeline.engines.vendor_socket import closed, vendor_socket

NAME = "deepgram nova"
KEEP_ALIVE = '{"type":"KeepAlive"}'
FINALIZE = '{"type":"Finalize"}'
IDLE_CODE, IDLE_REASON = 1011, "NET-0001"
"""How the vendor closes a socket on which it heard nothing for 10 s."""
REOPEN_S = 1.0
"""Shortest time between two openings of such a socket."""
CROSSING = RATE // 2
"""So much sound at most is on its way before a close that crosses it is known."""
SLACK_S = 0.25
"""A result may end so much before the sound at which we asked for it; two stretches are further apart."""
_BEFORE_TERMS = re.compile(r"nova(-[12])?(?!-?\d)")


@dataclass(frozen=True, slots=True)
class NovaSettings:
    """What Nova is asked for."""

    key: str = field(repr=False)
    url: str = "wss://api.deepgram.com"
    model: str = "nova-3"
    language: str = "en"
    endpointing_ms: int = 300
    """Silence after which the vendor itself makes its text final."""
    punctuate: bool = True
    smart_format: bool = False
    keyterms: tuple[str, ...] = ()
    mip_opt_out: bool = False
    """Keeps the sound out of the vendor's model improvement program."""
    patience_s: float = 3.0
    finalize_s: float = 0.5
    """Longest wait for the final text of a stretch; then what is known of it has to do, if that is about all."""
    silent_s: float = 1.5
    """The same, where a word or more was said of which nothing is known; then it is a failure."""
    keep_alive_s: float = 4.0
    mute_s: float | None = 5.0
    """So much loud sound without any answer at all is a failure; None: is not watched."""

    @property
    def line(self) -> str:
        """Of the price list: hearing several languages at once has a price of its own."""
        return f"{self.model}-multi" if self.language == "multi" else self.model

    @property
    def _terms(self) -> list[tuple[str, str]]:
        """Models before nova-3 refuse terms and take single words, in which a colon would begin a weight."""
        if not _BEFORE_TERMS.match(self.model):
            return [("keyterm", term) for term in self.keyterms]
        words = " ".join(self.keyterms).replace(":", " ").split()
        return [("keywords", word) for word in dict.fromkeys(words)]

    @property
    def address(self) -> str:
        query = [
            *(("model", self.model), ("language", self.language)),
            *(("encoding", "mulaw"), ("sample_rate", "8000"), ("channels", "1")),
            *(("interim_results", "true"), ("endpointing", str(self.endpointing_ms))),
            *(("punctuate", f"{self.punctuate}".lower()), ("smart_format", f"{self.smart_format}".lower())),
            *self._terms,
        ]
        if self.mip_opt_out:
            query.append(("mip_opt_out", "true"))
        return f"{self.url.rstrip('/')}/v1/listen?{urlencode(query, quote_via=quote)}"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A stretch of speech whose final text was asked for."""

    at_s: float
    """Where in the sound sent."""
    timer: asyncio.TimerHandle


class NovaEar:
    """One open transcription. Sound beyond 10 s that the socket does not take is dropped, the oldest first."""

    def __init__(self, settings: NovaSettings) -> None:
        self._settings = settings
        self._outgoing = Outgoing()
        self._hearings = Hearings()
        self._bill = Bill(settings.line, self._hearings)
        self._text = NovaText()
        self._asked: deque[_Asked] = deque()
        self._complete_s = 0.0
        """Where in the sound sent the last complete text ends."""
        self._clock = Clock()
        self._unanswered = Unanswered(self._clock)
        self._unheard = Unheard()
        self._bill.sure = False
        self._first: list[bytes | str] = []
        """All that was sent on this socket, until the vendor must have had some of it."""
        self._open = True

    @property
    def used(self) -> Used:
        """Seconds billed so far, over all sockets; final once the ear is closed."""
        return self._bill.used

    def feed(self, mulaw: bytes) -> None:
        self._outgoing.feed(mulaw)

    def voice(self, speaking: bool) -> None:
        if speaking or not self._open:
            return
        if self._outgoing.fed:
            self._outgoing.order(FINALIZE)
        else:
            self._hearings.put(Segment(""))

    def heard(self) -> AsyncGenerator[Hearing, None]:
        return self._hearings.heard()

    def close(self) -> None:
        self._open = False
        self._confirm()
        self._outgoing.close()
        self._hearings.close()
        for asked in self._asked:
            asked.timer.cancel()
        self._asked.clear()

    async def live(self, opened: asyncio.Future[None]) -> None:
        """Until cancelled or failed. `opened` tells how the first opening went, `heard` what fails later."""
        try:
            while True:
                since = self._clock.seconds()
                async with self._socket() as socket:
                    if not opened.done():
                        opened.set_result(None)
                    await self._listen(socket)
                if self._hearings.failed:
                    return
                await asyncio.sleep(max(0.0, since + REOPEN_S - self._clock.seconds()))
        except EngineError as error:
            if opened.done():
                self._hearings.fail(error)
            else:
                opened.set_exception(error)

    def _socket(self) -> AbstractAsyncContextManager[ClientConnection]:
        settings = self._settings
        headers = {"Authorization": f"Token {settings.key}"}
        return vendor_socket(NAME, settings.address, headers, patience_s=settings.patience_s)

    async def _listen(self, socket: ClientConnection) -> None:
        """Until a failure was told, or the vendor closed for want of sound before there was any."""
        try:
            async with beside(self._send(socket)):
                while not self._hearings.failed:
                    self._understand(await socket.recv())
        except ConnectionClosed as error:
            if self._bill.sure or not _idle(error):
                self._confirm()
                raise closed(NAME, error) from None
            self._anew()
        finally:
            await farewell(socket)

    def _confirm(self) -> None:
        """The vendor has some of the sound, or is taken to have it."""
        self._first.clear()
        self._bill.confirm()

    def _anew(self) -> None:
        """It has closed having heard nothing: what has crossed that is sent on the next socket; but only once."""
        crossed = bool(self._first)
        self._outgoing.again(self._first)
        self._bill.unsent()
        self._unheard, self._unanswered = Unheard(), Unanswered(self._clock)
        for asked in self._asked:
            asked.timer.cancel()
        self._asked.clear()
        if crossed:
            self._confirm()

    async def _send(self, socket: ClientConnection) -> None:
        # The listening side sees a closed socket too, after all that was said before.
        with suppress(ConnectionClosed):
            while not self._hearings.failed:
                piece = await self._next()
                if not self._bill.sure:
                    self._first.append(piece)
                if isinstance(piece, bytes):
                    await self._bill.send(socket, piece)
                    self._watch(piece)
                    continue
                await socket.send(piece)
                if piece == FINALIZE:
                    self._ask()

    async def _next(self) -> bytes | str:
        """What is to be sent; a sign of life when sound pauses, which counts only after the first of it."""
        if not self._bill.bytes:
            return await self._outgoing.take()
        try:
            async with asyncio.timeout(self._settings.keep_alive_s):
                return await self._outgoing.take()
        except TimeoutError:
            return KEEP_ALIVE

    def _watch(self, sent: bytes) -> None:
        if self._bill.bytes > CROSSING:
            self._confirm()
        self._unanswered.sent(sent)
        self._unheard.sent(sent)
        limit = self._settings.mute_s
        if limit is not None and self._unanswered.though_loud(limit):
            error = f"{NAME} is mute: no answer to {limit:g} s of sound"
            self._hearings.fail(EngineError(error, retryable=True))

    def _ask(self) -> None:
        at_s = self._bill.bytes / RATE
        late = asyncio.get_running_loop().call_later(self._settings.finalize_s, self._late, at_s)
        self._asked.append(_Asked(at_s, late))
        # The vendor may have found the silence before us; then little is left for it to answer.
        self._answer(self._complete_s)

    def _late(self, at_s: float) -> None:
        """Nothing final came: what is known has to do, unless something was said of which nothing is known."""
        if not self._unheard.untold(at_s):
            self._answer(at_s)
            return
        wait_s = self._settings.silent_s - self._settings.finalize_s
        timer = asyncio.get_running_loop().call_later(wait_s, self._give_up)
        self._asked = deque(_Asked(at_s, timer) if each.at_s == at_s else each for each in self._asked)

    def _give_up(self) -> None:
        error = f"{NAME}: no answer in {self._settings.silent_s:g} s to what was said"
        self._hearings.fail(EngineError(error, retryable=True))

    def _settle(self) -> None:
        """Answer the stretch that waits longest."""
        asked = self._asked.popleft()
        asked.timer.cancel()
        self._unheard.settled(asked.at_s)
        self._hearings.put(self._text.end())

    def _understand(self, raw: str | bytes) -> None:
        if isinstance(raw, bytes):
            return
        self._unanswered.answered()
        try:
            kind = kind_of(raw)
            if kind == "Results":
                self._result(results_of(raw))
        except msgspec.DecodeError:
            self._hearings.fail(EngineError(f"{NAME} sent what cannot be read", retryable=True))
            return
        if kind == "Error":
            self._hearings.fail(EngineError(f"{NAME} sent an error", retryable=True))

    def _result(self, results: Results) -> None:
        self._confirm()
        if self._unheard.passed_over(results.start - JITTER_S):
            self._hearings.fail(EngineError(f"{NAME} left out what was said", retryable=True))
            return
        partial = self._text.take(results)
        if results.is_final:
            self._unheard.settled(results.end)
        elif results.text:
            self._unheard.told(results.end)
        if results.is_final and (results.from_finalize or results.speech_final):
            self._complete_s = results.end
            if self._answer(results.end):
                return
        if partial is not None:
            self._hearings.put(partial)

    def _answer(self, until_s: float) -> bool:
        """Answer the stretches whose text is complete; whether there were any."""
        # By their place in the sound: answers may be left out, so counting them would drift.
        answered = False
        while self._asked and until_s >= self._asked[0].at_s - SLACK_S:
            self._settle()
            answered = True
        return answered


def _idle(error: ConnectionClosed) -> bool:
    told = error.rcvd
    return told is not None and told.code == IDLE_CODE and IDLE_REASON in told.reason


class NovaTranscriber:
    """Speech to text for every call of the process; a socket a call."""

    def __init__(self, settings: NovaSettings) -> None:
        self._settings = settings

    @property
    def models(self) -> tuple[str, ...]:
        return (self._settings.line,)

    @property
    def ends_turns(self) -> bool:
        return False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[NovaEar]:
        """Raises `EngineError` when refused."""
        ear = NovaEar(self._settings)
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with beside(ear.live(opened)):
            try:
                await opened
                yield ear
            finally:
                ear.close()
