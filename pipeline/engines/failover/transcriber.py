"""Several transcribers as one: when the one that listens fails, the next hears again what was not finished.

Decides who listens. Whatever an engine did answer stays answered, so each stretch of speech has
one `Segment` in all, whoever gave it. What is heard again is in nobody's `Used`: it was paid for once,
and what a vendor counts for it is the operator's. That an engine which ends turns by itself has gone mute
is for that engine to notice: only it knows its vendor's signs of life.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import structlog

from pipeline.audio.mulaw import RATE
from pipeline.clock import Clock
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Ear, Hearing, Segment, Switched, Transcriber, Turn, Used
from pipeline.engines.beside import beside
from pipeline.engines.breaker import OPEN_S, Attempt, Breaker
from pipeline.engines.failover.openings import Openings, openings
from pipeline.engines.failover.unfinished import LEAD_BYTES, Unfinished
from pipeline.surprises import SURPRISES

log = structlog.get_logger()

GAP_BYTES = 2 * RATE
"""Kept on top while nobody listens. With `keep_ms` it is what the ears take at once, 10 s."""
UNREAD = 100
"""Hearings that may wait to be read; beyond, the engine's own buffer fills."""

OnHeardAgain = Callable[[str, int], None]
"""Told the model and the seconds that it counts for what another had heard before."""
OnSoundLost = Callable[[str, float], None]
"""Told the model that failed, and the seconds of unanswered speech that its successor cannot hear any more."""


class FailoverTranscriber:
    """Opens the first engine that can be opened; when it fails, the next one.

    An engine has `patience_s` to open, and one that does not end turns has as long for each
    `Segment` it owes. `ends_turns` is the first's: when another listens, from the beginning or
    later, `Switched` says so before anything of it. Of the turn going on at most `keep_ms` are
    heard again. Raises `AllDown` when no engine is left.

    `heard_again` and `on_heard_again` have what the engines count for that, over all calls.
    """

    def __init__(
        self,
        engines: Sequence[tuple[Transcriber, Breaker]],
        patience_s: float,
        keep_ms: int = 8000,
        on_heard_again: OnHeardAgain = lambda model, seconds: None,
        on_sound_lost: OnSoundLost = lambda model, seconds: None,
    ) -> None:
        self._engines = tuple(engines)
        self._patience_s = patience_s
        self._keep_ms = keep_ms
        self._on_heard_again = on_heard_again
        self._on_sound_lost = on_sound_lost
        self.heard_again: Counter[str] = Counter()

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model for engine, _ in self._engines for model in engine.models))

    @property
    def ends_turns(self) -> bool:
        return self._engines[0][0].ends_turns

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FailoverEar]:
        async with openings() as opener:
            keep_bytes = self._keep_ms * RATE // 1000
            ear = FailoverEar(
                self._engines, opener, self._patience_s, keep_bytes, self._again, self._on_sound_lost
            )
            async with beside(ear.listen()):
                try:
                    await ear.settled()
                    yield ear
                finally:
                    ear.close()

    def _again(self, model: str, seconds: int) -> None:
        self.heard_again[model] += seconds
        self._on_heard_again(model, seconds)


class FailoverEar:
    """An `Ear`. `listen` is its task."""

    def __init__(
        self,
        engines: Sequence[tuple[Transcriber, Breaker]],
        opener: Openings,
        patience_s: float,
        keep_bytes: int,
        on_heard_again: OnHeardAgain,
        on_sound_lost: OnSoundLost,
    ) -> None:
        self._preferred = engines[0][0]
        self._choice = _Choice(engines)
        self._opener = opener
        self._patience_s = patience_s
        self._keep_bytes = keep_bytes
        self._clock = Clock()
        self._bill = _Bill(on_heard_again)
        self._on_sound_lost = on_sound_lost
        self._failed = self._preferred.models[0]
        """Who failed last."""
        self._missed = 0
        """Until where sound that is lost was told of."""
        self._unfinished = Unfinished()
        self._heard = 0
        """Until where somebody has listened."""
        self._ends_turns = self._preferred.ends_turns
        self._listening: _Listening | None = None
        self._settled: asyncio.Future[AllDown | None] = asyncio.get_running_loop().create_future()
        self._coming: asyncio.Queue[Hearing | AllDown | None] = asyncio.Queue(UNREAD)

    def feed(self, mulaw: bytes) -> None:
        most = LEAD_BYTES if self._unfinished.idle else self._keep_bytes
        if self._listening is None:
            most += GAP_BYTES
        else:
            self._listening.ear.feed(mulaw)
        self._unfinished.feed(mulaw, most)
        if self._ends_turns:
            self._unfinished.lapse()

    def voice(self, speaking: bool) -> None:
        self._unfinished.voice(speaking)
        if self._listening is not None:
            self._listening.ear.voice(speaking)
            if not speaking and self._unfinished.awaited == 1:
                self._be_patient(self._listening)

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        while True:
            coming = await self._coming.get()
            if coming is None or isinstance(coming, AllDown):
                self._coming.put_nowait(coming)  # it is so for whoever asks next, too
                if coming is None:
                    return
                raise coming
            yield coming

    async def settled(self) -> None:
        """Wait until an engine listens. Raises `AllDown` when none can."""
        if (down := await self._settled) is not None:
            raise down

    def close(self) -> None:
        while not self._coming.empty():
            self._coming.get_nowait()
        self._coming.put_nowait(None)

    async def listen(self) -> None:
        """Have an engine listen until cancelled, or until none is left."""
        last: EngineError | None = None
        while (chosen := self._choice.next(self._clock.seconds())) is not None:
            engine, attempt = chosen
            with attempt:
                try:
                    await self._hear(engine, attempt)
                    last = EngineError("stopped listening", retryable=True)
                except EngineError as error:
                    last = error
                except Exception as error:  # edge: of one engine's listening; another may go on
                    SURPRISES.labels("hearing").inc()
                    log.exception("hearing_failed", engine=engine.models[0])
                    last = EngineError(type(error).__name__)
                attempt.failed(last)
                self._failed = engine.models[0]
        down = AllDown(last)
        if not self._settled.done():
            self._settled.set_result(down)
        await self._coming.put(down)

    async def _hear(self, engine: Transcriber, attempt: Attempt) -> None:
        """Hand on what one engine hears, until it stops."""
        opened = await self._opener.open(engine.open(), self._patience_s)
        try:
            async with asyncio.timeout(None) as limit, aclosing(opened.inside.heard()) as hearings:
                await self._begin(engine, _Listening(opened.inside, limit))
                async for hearing in hearings:
                    attempt.succeeded()
                    await self._take(hearing)
        except TimeoutError:
            raise EngineError("no answer in time", retryable=True) from None
        finally:
            if self._listening is not None:
                self._listening = None
                self._heard = self._unfinished.ends
            opened.close()

    async def _begin(self, engine: Transcriber, listening: _Listening) -> None:
        if self._settled.done() or engine is not self._preferred:
            await self._coming.put(Switched(engine.models[0], engine.ends_turns))
        self._ends_turns = engine.ends_turns
        # Nothing is awaited from here on, so no sound can come between what is kept and what follows it.
        self._bill.opened(again=self._unfinished.before(self._heard))
        self._tell_lost()
        self._unfinished.again(listening.ear)
        self._listening = listening
        self._be_patient(listening)
        if not self._settled.done():
            self._settled.set_result(None)

    def _tell_lost(self) -> None:
        if lost := self._unfinished.lost(self._missed):
            self._on_sound_lost(self._failed, lost / RATE)
            self._missed = self._unfinished.begins

    async def _take(self, hearing: Hearing) -> None:
        if isinstance(hearing, Used):
            await self._coming.put(self._bill.continued(hearing))
            return
        await self._coming.put(hearing)
        self._choice.fruitful()
        if isinstance(hearing, Segment):
            self._unfinished.segment()
        elif isinstance(hearing, Turn):
            self._unfinished.turn()
        else:
            return
        if self._listening is not None:
            self._be_patient(self._listening)

    def _be_patient(self, listening: _Listening) -> None:
        """For a `Segment` that is owed the engine has so long; as long as it owes none, for ever."""
        if not self._ends_turns:
            owes = self._unfinished.awaited > 0
            listening.limit.reschedule(self._clock.seconds() + self._patience_s if owes else None)


@dataclass(frozen=True, slots=True)
class _Listening:
    """The engine that listens; `limit` ends that."""

    ear: Ear
    limit: asyncio.Timeout


class _Choice:
    """Who listens next: the preferred one first, the one that has just failed last.

    One that failed soon and had heard nothing is not opened again until another has heard
    something, or the round of engines that cannot hear a thing would have no end.
    """

    def __init__(self, engines: Sequence[tuple[Transcriber, Breaker]]) -> None:
        self._engines = tuple(engines)
        self._fruitless: dict[int, float] = {}
        """When they were opened."""
        self._latest = -1

    def next(self, now: float) -> tuple[Transcriber, Attempt] | None:
        for index in sorted(range(len(self._engines)), key=lambda index: index == self._latest):
            engine, breaker = self._engines[index]
            if index in self._fruitless and now - self._fruitless[index] < OPEN_S:
                continue
            if (attempt := breaker.admit()) is not None:
                self._latest = index
                self._fruitless[index] = now
                return engine, attempt
        return None

    def fruitful(self) -> None:
        """The one that listens has heard something."""
        self._fruitless.clear()


class _Bill:
    """Running totals of the whole call, from running totals of each opening; what was heard again is in none."""

    def __init__(self, on_heard_again: OnHeardAgain) -> None:
        self._totals: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._again = 0
        """Seconds of the present opening that were heard before."""
        self._counted_again = 0
        """Of these, how many have been counted once more."""
        self._on_heard_again = on_heard_again

    def opened(self, again: int) -> None:
        """So many bytes are heard again. A second begun is the operator's, so that nobody pays a part of it twice."""
        self._before = self._totals.copy()
        self._again = -(-again // RATE)
        self._counted_again = 0

    def continued(self, used: Used) -> Used:
        again = min(used.seconds, self._again)
        if again > self._counted_again:
            self._on_heard_again(used.model, again - self._counted_again)
            self._counted_again = again
        self._totals[used.model] = self._before[used.model] + used.seconds - again
        return Used(used.model, self._totals[used.model])
