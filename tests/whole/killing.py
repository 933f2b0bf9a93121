"""Real server processes against an emulated Twilio that lives on when they die.

The exchange and its REST interface run in the test's own process; each server is a `callmeback serve` of its own,
told of the emulator by its settings alone, and may be killed, frozen and started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from pipeline.carriers.callee import Script
from pipeline.carriers.exchange import Exchange
from pipeline.carriers.phonecall import PhoneCall
from pipeline.clock import Clock
from pipeline.core.money import NANOS_PER_USD, Nanos
from server.app import SIMULATED_SENDER
from storage import calls, ledger
from storage.audit import audit
from storage.db import Database
from storage.records import CallRow, CostLine, TurnRow
from storage.turns import of_call
from tests.ports import free_port
from tests.storage.world import ready
from tests.twilio.emulator import Emulator
from tests.whole.nursery import Born, Nursery
from tests.whole.rig import SECRET, listen

PATIENCE_S = 60.0
PHONE = "+12025550142"


@dataclass
class Server:
    """One `callmeback serve`. What it logs is kept. With a `nursery` it comes from there, which is quicker."""

    environ: dict[str, str]
    nursery: Nursery | None = None
    process: asyncio.subprocess.Process | Born | None = None
    lines: list[str] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    """What it said before it was started for the last time."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['PORT']}"

    async def start(self, preexec: Callable[[], None] | None = None) -> None:
        if self.nursery is not None:
            self.process, out = await self.nursery.born(self.environ)
        else:
            self.process = process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "server.cli", "serve", env=self.environ,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 20, preexec_fn=preexec,
            )  # fmt: skip
            assert process.stdout is not None
            out = process.stdout
        self.earlier += self.lines
        self.lines.clear()
        self._reading = asyncio.create_task(self._read(out))
        await self.says('"ready"')
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession(self.url) as http:
            while not await self._listens(http):  # noqa: ASYNC110  # of another process nothing tells
                await asyncio.sleep(0.02)

    async def _listens(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get("/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def _read(self, out: asyncio.StreamReader) -> None:
        async for line in out:
            self.lines.append(line.decode())
            self._news.set()
        self._news.set()

    async def says(self, text: str) -> str:
        """The first line that holds this."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                assert self._reading is not None
                assert not self._reading.done(), "".join(self.lines[-20:])
                self._news.clear()
                await self._news.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> None:
        if self.process is not None and self._reading is not None:
            await self.process.wait()
            await self._reading
            self.process = None

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()


@dataclass
class Town:
    """The emulated carrier, the database, and the servers at it. `user` has five dollars and a verified phone."""

    exchange: Exchange
    emulator: Emulator
    environ: dict[str, str]
    database_url: str
    scripts: dict[str, Script]
    stack: AsyncExitStack
    nursery: Nursery | None = None
    token: str = ""
    user: str = ""

    async def server(self, **more: str) -> Server:
        """Another one, up and ready; it is killed at the end if it still runs."""
        port = str(free_port())
        server = Server({**self.environ, "PORT": port, **more}, self.nursery)
        self.stack.push_async_callback(_put_down, server)
        await server.start()
        return server

    async def ask(self, server: Server, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with (
            aiohttp.ClientSession(server.url, headers=headers) as http,
            http.request(method, path, json=body) as answer,
        ):
            text = await answer.text()
            assert answer.status < 300, (answer.status, text)
            return json.loads(text) if text else None

    async def sign_up(self, server: Server) -> None:
        body = {"email": "ann@example.com", "password": "correct horse", "name": "Ann"}
        answer = await self.ask(server, "POST", "/api/auth/register", body)
        self.token, self.user = answer["token"], answer["user"]["id"]
        await self.ask(server, "POST", "/api/me/phone", {"phone": PHONE})
        code = self.exchange.sms[-1].body.split()[0]
        await self.ask(server, "POST", "/api/me/phone/verify", {"code": code})
        async with self.database() as database, database.write() as tx:
            await ledger.grant(
                tx, user_id=self.user, amount=Nanos(5 * NANOS_PER_USD), kind="grant", idem_key="test",
                now=Clock().utc(),
            )  # fmt: skip

    async def call(self, server: Server, **more: Any) -> str:
        placed = await self.ask(
            server, "POST", "/api/calls", {"persona_id": "alex", "channel": "phone", **more}
        )
        return str(placed["id"])

    def phone_call(self) -> PhoneCall:
        return list(self.exchange.calls.values())[-1]

    async def until(self, condition: Callable[[PhoneCall], bool], within_s: float = PATIENCE_S) -> None:
        """Wait until the latest call at the exchange is so; looks at each frame that passes."""
        async with asyncio.timeout(within_s):
            while not self.exchange.calls or not condition(self.phone_call()):  # noqa: ASYNC110  # of another process nothing tells
                await asyncio.sleep(0.02)

    async def over(self, call_id: str, within_s: float = PATIENCE_S) -> CallRow:
        """The call, once its books are closed."""
        async with asyncio.timeout(within_s), self.database() as database:
            while (row := await self.row(call_id, database)).final_at is None:  # noqa: ASYNC110  # of another process nothing tells
                await asyncio.sleep(0.2)
        return row

    async def row(self, call_id: str, database: Database) -> CallRow:
        async with database.read() as tx:
            row = await calls.get(tx, call_id)
        assert row is not None
        return row

    async def books(self, call_id: str) -> tuple[dict[str, CostLine], list[TurnRow], list[str]]:
        """What the call bought by service, what was said, and whatever breaks a promise of the ledger."""
        async with self.database() as database, database.read() as tx:
            lines = {line.service: line for line in await ledger.cost_lines(tx, call_id)}
            report = await audit(tx)
            return lines, await of_call(tx, call_id), [f"{breach}" for breach in report.breaches]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        database = Database.open(self.database_url, checkpoint=False)
        try:
            yield database
        finally:
            await database.aclose()


async def _put_down(server: Server) -> None:
    if server.process is not None:
        server.signal(signal.SIGCONT)
        await server.kill()


@asynccontextmanager
async def town(data_dir: Path, database_url: str = "", **more: str) -> AsyncIterator[Town]:
    """`more` are settings of every server, in the environment's spelling."""
    sid, auth, api_port = "AC" + secrets.token_hex(16), secrets.token_hex(16), free_port()
    scripts: dict[str, Script] = {}
    own = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    environ = {
        **own,
        **dict.fromkeys(("STT_ENGINE", "LLM_ENGINE", "TTS_ENGINE"), "scripted"),
        "DATA_DIR": str(data_dir),
        "JWT_SECRET": SECRET,
        "DRAIN_SECONDS": "0",
        "BCRYPT_COST": "10",
        "LOCAL_PRICES": "list",
        "IDLE_PROMPT_MS": "60000",
        "TWILIO_ACCOUNT_SID": sid,
        "TWILIO_AUTH_TOKEN": auth,
        "TWILIO_PHONE_NUMBER": SIMULATED_SENDER,
        "TWILIO_API_URL": f"http://127.0.0.1:{api_port}",
        **({"DATABASE_URL": database_url} if database_url else {}),
        **more,
    }
    url = database_url or f"sqlite+aiosqlite:///{data_dir / 'callmeback.db'}"
    ready(url)
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(
            Exchange(
                clock=Clock(), account_sid=sid, auth_token=auth,
                phones=lambda number: scripts.get(number, Script()),
            )
        )  # fmt: skip
        emulator = Emulator(exchange, auth)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        config = uvicorn.Config(
            emulator.app, port=api_port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        listen(stack, tasks, config)
        servers = await stack.enter_async_context(AsyncExitStack())
        yield Town(exchange, emulator, environ, url, scripts, servers)


class Wire:
    """A port that leads to the first of `targets`, ports or paths of sockets, that listens.

    All that goes over it can be held up, or cut.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.targets: list[int | str] = []
        self._flows = asyncio.Event()
        self._flows.set()
        self._ends: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Nothing goes through in either direction, and nothing is lost."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def cut(self) -> None:
        """Everything that is connected breaks."""
        for end in self._ends:
            end.transport.abort()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        async with await asyncio.start_server(self._connect, "127.0.0.1", self.port):
            yield self

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for target in self.targets:
            try:
                there, away = (
                    await asyncio.open_unix_connection(target)
                    if isinstance(target, str)
                    else await asyncio.open_connection("127.0.0.1", target)
                )
            except OSError:
                continue
            self._ends |= {away, writer}
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, away))
                    tasks.create_task(self._pump(there, writer))
            finally:
                self._ends -= {away, writer}
                away.close()
                writer.close()
            return
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()  # a half-closed conversation is over
