"""The database of a simulation: the real `Database` on a real SQLite file, without threads and on simulated time.

What differs from live is the driver's thread (statements run on the loop's own, so their order never varies), the
clock that the database reads, and that several processes may share the file, one writing at a time. The lock file
that keeps a second process off a SQLite file is not taken, since a server that is handed a `Database` takes none.

`Trouble` says when a transaction fails, and how: the seam of all database faults.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import aiosqlite
from sqlalchemy import event

from storage.db import Database, DatabaseDown, Tx, database_url
from storage.nodes import LIVES


class Fault(Enum):
    """What becomes of one transaction."""

    NONE = "none"
    REFUSED = "not begun"
    BEFORE_COMMIT = "lost before COMMIT"
    AFTER_COMMIT = "carried out, the answer lost"
    KILLED_BEFORE = "the process dies before COMMIT"
    KILLED_AFTER = "the process dies after COMMIT"


class Trouble(Protocol):
    """Asked once a transaction."""

    def transaction(self, *, writes: bool) -> tuple[float, Fault]:
        """Virtual seconds it is delayed by, and its fault."""

    def die(self) -> None:
        """Kill the process that asked, now."""


class Calm:
    """No trouble."""

    def transaction(self, *, writes: bool) -> tuple[float, Fault]:
        return 0.0, Fault.NONE

    def die(self) -> None:
        raise RuntimeError("nothing dies here")


class Turn:
    """One writer at a time among all processes on the file. A dead one's turn is taken away."""

    def __init__(self) -> None:
        self._holder: object | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, who: object) -> None:
        while self._holder is not None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        self._holder = who

    def give(self, who: object) -> None:
        """Everybody is woken: the next in line may be dead or frozen, and would never pass it on."""
        if self._holder is not who:
            return
        self._holder = None
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class _Queue:
    """Where the driver would hand work to its thread."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, work = item
        result = work()
        if future is not None:
            future.set_result(result)


class _Connection(aiosqlite.Connection):
    """The driver's connection without its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, 64)
        self._tx = _Queue()  # type: ignore[assignment]
        self.severed = False

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        yield from asyncio.sleep(0).__await__()
        self._connection = self._connector()
        return self

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)  # others get their turn between two statements, as they do live
        if self.severed and (self._connection is None or fn != self._connection.close):
            raise sqlite3.OperationalError("connection closed")
        return fn(*args, **kwargs)

    def sever(self) -> None:
        """As when its process dies: what was begun is rolled back."""
        self.severed = True
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.rollback()


class SimulatedDatabase(Database):
    """One process's connections. `utc` is the database's own clock.

    With `lives`, which tells of a node whether its process is there, several share it as they share PostgreSQL.
    """

    def __init__(
        self,
        path: Path,
        turn: Turn,
        utc: Callable[[], datetime],
        trouble: Trouble | None = None,
        lives: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(database_url(f"sqlite:///{path}"), checkpoint=False)
        self._turn = turn
        self._utc = utc
        self._trouble = trouble or Calm()
        self._open: list[_Connection] = []
        self._writing: set[object] = set()
        self._times = sqlite3.connect(":memory:")
        for engine in (self._writer, self._reader):
            event.listen(engine.sync_engine, "do_connect", self._connecting)
        if lives is not None:
            self._writer = self._writer.execution_options(**{LIVES: lives})
            self._reader = self._reader.execution_options(**{LIVES: lives})

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        await self._meet(writes=False)
        async with super().read() as tx:
            yield tx

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Tx]:
        fault = await self._meet(writes=True)
        me = object()
        await self._turn.take(me)
        self._writing.add(me)
        try:
            async with super().write(urgent=urgent) as tx:
                yield tx
                if fault is Fault.KILLED_BEFORE:
                    await self._die()
                if fault is Fault.BEFORE_COMMIT:
                    raise DatabaseDown("the connection broke", retryable=True)
            if fault is Fault.KILLED_AFTER:
                await self._die()
        finally:
            self._writing.discard(me)
            self._turn.give(me)
        if fault is Fault.AFTER_COMMIT:
            raise DatabaseDown("the answer to COMMIT was lost", retryable=True)

    def sever(self) -> None:
        """All connections of this process break, and its turn is over."""
        for connection in self._open:
            connection.sever()
        for who in list(self._writing):
            self._turn.give(who)

    async def aclose(self) -> None:
        await super().aclose()
        self._times.close()

    async def _meet(self, *, writes: bool) -> Fault:
        delay, fault = self._trouble.transaction(writes=writes)
        if delay > 0:
            await asyncio.sleep(delay)
        if fault is Fault.REFUSED:
            raise DatabaseDown("nobody answers", retryable=True)
        return fault

    async def _die(self) -> None:
        self._trouble.die()
        await asyncio.sleep(0)  # and never comes back from here

    def _connecting(self, _dialect: object, _record: object, _where: object, options: dict[str, Any]) -> None:
        options["async_creator_fn"] = self._connect

    def _connect(self, where: str, **options: Any) -> _Connection:
        options.pop("async_creator_fn", None)

        def connector() -> sqlite3.Connection:
            raw: sqlite3.Connection = sqlite3.connect(where, **options)
            for name in ("strftime", "datetime", "julianday", "unixepoch", "date", "time"):
                raw.create_function(name, -1, self._time_function(name))
            return raw

        connection = _Connection(connector)
        self._open.append(connection)
        return connection

    def _time_function(self, name: str) -> Callable[..., str | float | None]:
        """SQLite's own function, on the simulated time of day."""
        place = 1 if name == "strftime" else 0

        def told(*arguments: object) -> str | float | None:
            now = f"{self._utc():%Y-%m-%d %H:%M:%S.%f}"
            given = [*arguments, *(["now"] if len(arguments) == place else [])]
            given[place] = now if given[place] == "now" else given[place]
            marks = ", ".join("?" * len(given))
            (answer,) = self._times.execute(f"SELECT {name}({marks})", given).fetchone()
            return answer if isinstance(answer, (str, float)) else None

        return told
