"""A process beside ours that talks in lines of JSON: it says what happens, we tell it what to do."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

LAST_WORDS_S = 15.0
READY_S = 60.0


class Child:
    """One running process. `on_news` hears every line that is no answer."""

    def __init__(self, process: Process, on_news: Callable[[dict[str, Any]], None]) -> None:
        self._process = process
        self._on_news = on_news
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, **order: Any) -> dict[str, Any]:
        """One order and its answer."""
        self.tell(**order)
        return await self.answer()

    def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        async with asyncio.timeout(READY_S):
            answer = await self._answers.get()
        if "gone" in answer:
            raise RuntimeError("the process under measurement has ended; what it said is above")
        return answer

    async def read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "news" in said:
                self._on_news(said)
            else:
                self._answers.put_nowait(said)
        self._answers.put_nowait({"gone": True})


@asynccontextmanager
async def child(
    module: str, *arguments: str, on_news: Callable[[dict[str, Any]], None] = lambda said: None
) -> AsyncIterator[Child]:
    """Run a module of ours until left; it is asked to stop, and killed by its id where it does not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE, limit=64 * 1024 * 1024
    )
    running = Child(process, on_news)
    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(running.read())
            yield running
            with suppress(ConnectionError):
                running.tell(do="stop")
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
            await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
