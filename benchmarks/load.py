"""The load: a carrier's exchange with as many callers as asked for, all in this process.

Signs and uses tokens as Twilio does: webhook, document, socket, `connected`, `start` with the
token, frames by an absolute schedule, marks when played, `stop`, the final status callback.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlencode, urlsplit

import aiohttp

from benchmarks.callers import FRAME_S, LINES, Caller, Tally, spoken
from benchmarks.child import Child
from benchmarks.wire import Wire
from pipeline.clock import real_seconds
from server.signatures import HEADER, sign

SLOTS = 20
RING_S = 0.2
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Framing(Protocol):
    def frame(self, now: float, due: float) -> None: ...


class Pacer:
    """Calls everybody's `frame` every 20 ms; they are spread over the 20 ms as real streams are."""

    def __init__(self) -> None:
        self._slots: list[set[Framing]] = [set() for _ in range(SLOTS)]
        self._added = 0
        self._due = 0.0
        self._tick = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, caller: Framing) -> None:
        self._slots[self._added * 7 % SLOTS].add(caller)
        self._added += 1

    def remove(self, caller: Framing) -> None:
        for slot in self._slots:
            slot.discard(caller)

    def start(self) -> None:
        self._due = real_seconds()
        self._run()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _run(self) -> None:
        now = real_seconds()
        while self._due <= now:
            for caller in self._slots[self._tick % SLOTS]:
                caller.frame(now, self._due)
            self._tick += 1
            self._due += FRAME_S / SLOTS
            now = real_seconds()
        self._timer = asyncio.get_running_loop().call_later(max(0.0005, self._due - now), self._run)


class Call:
    """One call at the exchange."""

    def __init__(self, news: dict[str, Any], caller: Caller) -> None:
        self.sid: str = news["sid"]
        self.status_url: str = news["status"]
        self.caller = caller
        self.answered = asyncio.Event()
        self.answered_at = 0.0
        self.over = asyncio.Event()
        self.ending = False


class Exchange:
    """Use as a context, with the server's child set; `place` rings, `hang_up_all` ends as callers do."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.calls: dict[str, Call] = {}
        self.server: Child | None = None
        self._lines = [spoken(name) for name in LINES]
        self._hello: dict[str, Any] = {}
        self._pacer = Pacer()
        self._stack = AsyncExitStack()
        self._tasks = asyncio.TaskGroup()
        self._http: aiohttp.ClientSession | None = None
        self._placed = 0
        self._closing = False
        self._dialled = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        await self._tasks.__aenter__()
        self._pacer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pacer.stop()
        self._closing = True
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            await self._stack.aclose()

    def greet(self, server: Child, hello: dict[str, Any]) -> None:
        """What the server said of itself: its address, its account, its users' tokens."""
        self.server, self._hello = server, hello

    def news(self, said: dict[str, Any]) -> None:
        match said["news"]:
            case "dial":
                caller = Caller("MZ" + said["sid"][2:], self._lines, 4 * len(self.calls), self.tally)
                call = self.calls[said["sid"]] = Call(said, caller)
                self._dialled.set()
                self._spawn(self._answer(call, said["voice"]))
            case "hang_up" if said["sid"] in self.calls:  # else it crossed the caller's own
                self._spawn(self._end(self.calls[said["sid"]]))

    async def place(self, count: int, every_s: float) -> None:
        """So many calls more, over REST, each of another user; returns when all stream."""
        before = set(self.calls)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(self._order(self._placed % len(self._hello["tokens"])))
                self._placed += 1
                await asyncio.sleep(every_s)
        async with asyncio.timeout(30):
            while len(self.calls) < len(before) + count:
                self._dialled.clear()
                await self._dialled.wait()
            for sid in self.calls.keys() - before:
                await self.calls[sid].answered.wait()

    async def _order(self, user: int) -> None:
        headers = {"Authorization": f"Bearer {self._hello['tokens'][user]}"}
        body = {"persona_id": "sarah", "channel": "phone"}
        assert self._http is not None
        async with self._http.post(self._hello["url"] + "/api/calls", json=body, headers=headers) as answer:
            if answer.status != 202:
                raise RuntimeError(f"POST /api/calls: {answer.status} {await answer.text()}")

    async def _answer(self, call: Call, voice_url: str) -> None:
        await asyncio.sleep(RING_S)
        answered = real_seconds()
        call.answered_at = answered
        document = await self._post(call, voice_url, CallStatus="in-progress")
        token = _TOKEN.search(document)
        if token is None:
            raise RuntimeError(f"no stream in the answer: {document}")
        socket_url = self._hello["url"].replace("http", "ws", 1) + "/twilio/media"
        place = urlsplit(socket_url)
        headers = {HEADER: sign(self._hello["auth"], socket_url)}
        wire = Wire(place.path, place.netloc, headers, call.caller.hear, lambda: self._gone(call))
        await wire.connect(place.hostname or "", place.port or 80)
        call.caller.greeted_at = (answered, real_seconds())
        wire.send(b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
        stream = "MZ" + call.sid[2:]
        wire.send(
            (
                f'{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"{self._hello["account"]}",'
                f'"streamSid":"{stream}","callSid":"{call.sid}","tracks":["inbound"],"mediaFormat":'
                f'{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},'
                f'"customParameters":{{"token":"{token[1]}"}}}},"streamSid":"{stream}"}}'
            ).encode()
        )
        call.caller.wire = wire
        self._pacer.add(call.caller)
        call.answered.set()

    async def _post(self, call: Call, url: str, **fields: str) -> str:
        """One signed webhook."""
        form = {"AccountSid": self._hello["account"], "CallSid": call.sid, **fields}
        headers = {
            HEADER: sign(self._hello["auth"], url, list(form.items())),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        assert self._http is not None
        async with self._http.post(url, data=urlencode(form), headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise RuntimeError(f"{url}: {answer.status} {text}")
            return text

    def _gone(self, call: Call) -> None:
        """The server closed the socket: what follows the stream in the document hangs up."""
        call.caller.wire = None
        if not self._closing:
            self._spawn(self._end(call))

    async def _end(self, call: Call) -> None:
        if call.ending:
            return
        call.ending = True
        self._pacer.remove(call.caller)
        call.caller.stop()
        seconds = max(1, round(real_seconds() - call.answered_at))
        await self._post(
            call, call.status_url, CallStatus="completed", CallDuration=str(seconds), SequenceNumber="3"
        )
        call.over.set()

    async def hang_up_all(self) -> None:
        """Every caller puts down; returns when the server was told of all."""
        for call in self.calls.values():
            self._spawn(self._end(call))
        for call in self.calls.values():
            await call.over.wait()
        self.calls.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work)
