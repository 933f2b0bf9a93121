"""Carries out what the core asks for. It decides nothing; what comes of an effect is posted as an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial

import structlog

from pipeline.audio.beep import BeepDetector
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.errors import CarrierError, EngineError
from pipeline.core.money import Millis
from pipeline.core.sentences import speakable
from pipeline.core.tariff import Service
from pipeline.engines.base import (
    CutShort,
    Eager,
    Ear,
    EndCall,
    Hearing,
    Partial,
    Piece,
    Reply,
    Resumed,
    Segment,
    Switched,
    Tokens,
    Turn,
    Used,
)
from pipeline.mouth import Mouth
from pipeline.ports import Engines, Line, Surroundings
from pipeline.surprises import SURPRISES

log = structlog.get_logger()

REOPEN_S = 0.5
"""How much longer each further opening of a transcriber that understands nothing is put off."""
LONGEST_REOPEN_S = 5.0

TELLING_S = 2.0
"""How long the carrier's REST interface may take before the socket is closed beside it."""

Post = Callable[[Callable[[Millis], ev.Event]], None]


class Performer:
    """The hands of one call. Its tasks belong to the call's task group."""

    def __init__(
        self,
        engines: Engines,
        mouth: Mouth,
        outside: Surroundings,
        tasks: asyncio.TaskGroup,
        post: Post,
        quiet_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._engines = engines
        self._mouth = mouth
        self._outside = outside
        self._tasks = tasks
        self._post = post
        self._quiet_ms = quiet_ms
        self._replies: dict[int, asyncio.Task[None]] = {}
        self._writing: dict[int, Reply] = {}
        self._seconds: dict[str, int] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._fruitless = 0
        self.ear: Ear | None = None
        self.beeps: BeepDetector | None = None
        self.line: Line | None = None

    def perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Prepare():
                self._engines.warm()
                self._mouth.prepare(effect.texts)
            case fx.Listen():
                self._listen()
            case fx.Say():
                self.beeps = None  # whoever speaks waits for no machine
                self._mouth.say(effect.utterance, effect.text)
            case fx.Hush():
                self._mouth.hush()
            case fx.Pause():
                self._mouth.pause()
            case fx.Resume():
                self._mouth.resume()
            case fx.ListenForBeep():
                self.beeps = BeepDetector()
            case fx.AskReply():
                self._ask(effect)
            case fx.DropReply():
                if (task := self._replies.get(effect.reply)) is not None:
                    task.cancel()
            case fx.HangUp():
                self._tasks.create_task(self._hang_up())
            case _:
                pass  # charges, turns and news are for the surroundings

    def let_go(self, line: Line) -> None:
        """The line is gone, or of no use any more: close what is left of it."""
        self.line = None
        self._tasks.create_task(line.close())

    def stop(self) -> None:
        """The call is over: whatever still runs for it ends."""
        for task in (self._hearing, self._telling, *self._replies.values()):
            if task is not None:
                task.cancel()

    def deafen(self) -> None:
        """Nobody is on the line any more: stop paying for a transcriber."""
        if self._hearing is not None:
            self._hearing.cancel()
            self._hearing = None

    def _listen(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
        pause = min(self._fruitless * REOPEN_S, LONGEST_REOPEN_S)
        self._fruitless += 1
        self._hearing = self._tasks.create_task(self._hear(pause))

    async def _hear(self, pause: float) -> None:
        transcriber = self._engines.transcriber
        before = dict(self._seconds)
        try:
            await asyncio.sleep(pause)
            async with transcriber.open() as ear:
                self.ear = ear
                self._post(lambda at: ev.Listening(at, transcriber.models[0], transcriber.ends_turns))
                async for hearing in ear.heard():
                    self._understood(hearing, before)
            raise EngineError("stopped listening", retryable=True)
        except EngineError as error:
            self._failed("stt", 0, transcriber.models, error)
        except Exception as error:  # edge: the transcriber must not take the call down
            SURPRISES.labels("hearing").inc()
            log.exception("hearing_failed", engine=transcriber.models)
            self._failed("stt", 0, transcriber.models, EngineError(type(error).__name__))

    def _understood(self, hearing: Hearing, before: Mapping[str, int]) -> None:
        """`before`: the seconds that earlier openings of each model came to."""
        if not isinstance(hearing, Used | Switched):
            self._fruitless = 0
        match hearing:
            case Partial(text):
                self._post(partial(ev.Heard, text=speakable(text)))
            case Segment(text):
                self._post(partial(ev.SegmentHeard, text=speakable(text)))
            case Eager(text):
                self._post(partial(ev.TurnLikelyEnded, text=speakable(text)))
            case Resumed():
                self._post(ev.TurnResumed)
            case Turn(text):
                self._post(partial(ev.TurnEnded, text=speakable(text), quiet_ms=self._quiet_ms()))
            case Switched(model, ends_turns):
                self._post(partial(ev.Listening, model=model, ends_turns=ends_turns))
            case Used(model, seconds):
                total = self._seconds[model] = before.get(model, 0) + seconds
                self._post(partial(ev.EngineUsed, line=f"stt:{model}:second", total=total))

    def _ask(self, order: fx.AskReply) -> None:
        """Start a reply. Its tokens are reported however it ends, even before it began."""
        number = order.reply
        writing = self._engines.thinker.reply(
            order.messages, max_tokens=order.max_tokens, temperature=order.temperature_pct / 100
        )
        task = self._tasks.create_task(self._reply(number, writing))
        self._replies[number] = task
        task.add_done_callback(lambda _: self._reply_over(number))

    async def _reply(self, number: int, writing: AbstractAsyncContextManager[Reply]) -> None:
        models = self._engines.thinker.models
        try:
            async with writing as reply, aclosing(reply.pieces()) as pieces:
                self._writing[number] = reply
                async for piece in pieces:
                    self._piece(number, piece)
        except EngineError as error:
            self._failed("llm", number, models, error)
        except Exception as error:  # edge: one reply must not take the call down
            SURPRISES.labels("reply").inc()
            log.exception("reply_failed", engine=models)
            self._failed("llm", number, models, EngineError(type(error).__name__))

    def _reply_over(self, number: int) -> None:
        self._replies.pop(number, None)
        reply = self._writing.pop(number, None)
        used, model = (Tokens(0, 0, 0), "") if reply is None else (reply.tokens, reply.model)
        self._post(
            lambda at: ev.ReplyFinished(
                at, number, model, used.estimated, used.uncached, used.cached, used.out
            )
        )

    def _piece(self, number: int, piece: Piece) -> None:
        match piece:
            case EndCall():
                self._post(partial(ev.ReplyEndsCall, reply=number))
            case CutShort():
                self._post(partial(ev.ReplyCutShort, reply=number))
            case text:
                self._post(partial(ev.ReplyPiece, reply=number, text=text))

    async def _hang_up(self) -> None:
        """The carrier is told; a little later the socket is closed too, whatever became of that."""
        self._telling = self._tasks.create_task(self._tell_carrier())
        await asyncio.wait({self._telling}, timeout=TELLING_S)
        if self.line is not None:
            await self.line.close()

    async def _tell_carrier(self) -> None:
        try:
            await self._outside.hang_up()
        except CarrierError as error:
            log.warning("hang_up_failed", error=error.detail)
        except Exception:  # edge: closing the socket still ends the call
            SURPRISES.labels("hang-up").inc()
            log.exception("hang_up_failed")

    def _failed(self, service: Service, ref: int, models: Sequence[str], error: EngineError) -> None:
        log.warning("engine_failed", service=service, engine=models, error=error.detail)
        self._post(lambda at: ev.EngineFailed(at, service, ref, error.kind))
