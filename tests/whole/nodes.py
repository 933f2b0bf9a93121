"""Several whole servers on one PostgreSQL, an emulated carrier, and a load balancer in front of them.

The carrier knows one address, the balancer's; which node a request lands on is up to it, and tests say so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvicorn

from pipeline.carriers.callee import Script
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.clock import Clock
from pipeline.ports import Engines
from server.app import SIMULATED_SENDER, build
from server.calls.live import open_desk
from server.parts import Account
from server.passwords import Passwords
from server.serving import server_config
from server.settings import Settings
from storage.db import Database
from tests.ports import free_port
from tests.twilio.emulator import Emulator
from tests.whole.rig import SECRET, World, listen, scripted


@dataclass
class Balancer:
    """A TCP load balancer: each connection to the next of its targets (ports) that takes it.

    With `probing` only those whose `/readyz` says so get any.
    """

    port: int
    targets: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: int = 0

    async def has(self, targets: int) -> None:
        while len(self.targets) < targets:
            self.changed.clear()
            await self.changed.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()

    async def probing(self, ports: list[int]) -> None:
        """Look again and again which of these ports are ready. `ports` may change meanwhile."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                ready = []
                for port in list(ports):
                    with suppress(aiohttp.ClientError, TimeoutError):
                        async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                            if answer.status == 200:
                                ready.append(port)
                self.targets = ready
                self.changed.set()
                await asyncio.sleep(0.2)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            try:
                there = await self._open()
                if there is not None:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(_pump(reader, there[1]))
                        tasks.create_task(_pump(there[0], writer))
            finally:
                writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(len(self.targets)):
            self._turn += 1
            port = self.targets[self._turn % len(self.targets)]
            with suppress(OSError):
                opened = await asyncio.open_connection("127.0.0.1", port)
                self.taken.append(port)
                return opened
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@dataclass
class Nodes:
    """Two servers: people register on `a`, so calls are placed there unless a test says otherwise."""

    a: World
    b: World
    balancer: Balancer

    def carrier_reaches(self, *worlds: World) -> None:
        """From now on the carrier's requests land on these."""
        self.balancer.targets = [world.settings.port for world in worlds]


@asynccontextmanager
async def two_nodes(
    data_dir: Path, database_url: str, engines: Engines | None = None
) -> AsyncIterator[Nodes]:
    account = Account("AC" + secrets.token_hex(16), secrets.token_hex(16), SIMULATED_SENDER)
    balancer, api_port = Balancer(free_port()), free_port()
    clock, phones = Clock(), dict[str, Script]()
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(
            SimulatedCarrier(
                clock=clock,
                account_sid=account.sid,
                auth_token=account.auth_token,
                sender=account.sender,
                phones=lambda number: phones[number],
            )
        )
        passwords = Passwords(cost=4)
        stack.callback(passwords.close)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        emulator = Emulator(carrier.exchange, account.auth_token)
        api = uvicorn.Config(
            emulator.app, port=api_port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        listen(stack, tasks, api)
        worlds = []
        for name in ("a", "b"):
            settings = Settings.model_validate(
                {
                    "data_dir": data_dir / name,
                    "database_url": database_url,
                    "port": free_port(),
                    "public_url": f"http://127.0.0.1:{balancer.port}",
                    "jwt_secret": SECRET,
                    "twilio_account_sid": account.sid,
                    "twilio_auth_token": account.auth_token,
                    "twilio_phone_number": account.sender,
                    "twilio_api_url": f"http://127.0.0.1:{api_port}",
                    "local_prices": "list",
                }
            )
            database = Database.open(database_url)
            stack.push_async_callback(database.aclose)
            app = build(
                settings, clock=clock, engines=engines or scripted(), database=database, passwords=passwords,
                open_desk=open_desk,
            )  # fmt: skip
            await stack.enter_async_context(app.router.lifespan_context(app))
            listen(stack, tasks, server_config(app, settings))
            patient = aiohttp.ClientTimeout(total=900)
            url = f"http://127.0.0.1:{settings.port}"
            http = await stack.enter_async_context(aiohttp.ClientSession(url, timeout=patient))
            await _ready(http)
            worlds.append(World(app, settings, carrier, http, clock, phones, emulator))
        await stack.enter_async_context(balancer.running())
        nodes = Nodes(worlds[0], worlds[1], balancer)
        nodes.carrier_reaches(*worlds)
        yield nodes


async def _ready(http: aiohttp.ClientSession) -> None:
    """It may say that it is not yet: on a busy machine it makes sure of its lease first."""
    while True:
        try:
            async with http.get("/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)
