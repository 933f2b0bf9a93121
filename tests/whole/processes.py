"""Real `callmeback serve` processes on one PostgreSQL, with an emulated carrier and a balancer in this one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import uvicorn
from starlette.applications import Starlette

from pipeline.carriers.callee import Script
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.clock import Clock
from server.app import SIMULATED_SENDER
from server.settings import Settings
from storage.db import Database
from tests.ports import free_port
from tests.twilio.emulator import Emulator
from tests.whole.nodes import Balancer
from tests.whole.rig import SECRET, World, listen

PATIENCE_S = 120.0


@dataclass
class Process:
    """One running `callmeback` command. `lines` is what it said, on both outputs."""

    process: asyncio.subprocess.Process
    port: int
    lines: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    """It and all that it started have ended."""

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))
            self.changed.set()
        self.changed.set()
        self.silent.set()

    async def said(self, pattern: str, times: int = 1) -> list[dict[str, Any]]:
        """The log lines in which the pattern occurs, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [line for line in self.lines if re.search(pattern, line)]) < times:
                assert self.process.returncode is None, self.lines
                self.changed.clear()
                await self.changed.wait()
        return [json.loads(line) if line.startswith("{") else {"text": line} for line in found]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@dataclass
class Town:
    """The carrier, its people, and the processes that were started."""

    world: World
    balancer: Balancer
    environ: dict[str, str]
    tasks: asyncio.TaskGroup
    ports: list[int] = field(default_factory=list)
    started: list[Process] = field(default_factory=list)

    async def start(self, *arguments: str, **environ: str) -> Process:
        """`callmeback serve` on a port of its own, which the balancer uses once it is ready."""
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.cli", "serve", *arguments,
            env={**self.environ, "PORT": str(port), **environ},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        found = Process(process, port)
        self.tasks.create_task(found.read())
        self.ports.append(port)
        self.started.append(found)
        return found

    async def stop_all(self) -> None:
        """Whoever has calls is not waited for."""
        running = [one for one in self.started if one.process.returncode is None]
        for one in running:
            one.signal(signal.SIGTERM)
        for one in running:
            try:
                async with asyncio.timeout(15):
                    await one.process.wait()
            except TimeoutError:
                one.process.kill()
                await one.process.wait()


@asynccontextmanager
async def town(data_dir: Path, database_url: str) -> AsyncIterator[Town]:
    sid, token = "AC" + secrets.token_hex(16), secrets.token_hex(16)
    balancer, api_port = Balancer(free_port()), free_port()
    clock, phones = Clock(), dict[str, Script]()
    given = {
        "data_dir": str(data_dir),
        "database_url": database_url,
        "public_url": f"http://127.0.0.1:{balancer.port}",
        "jwt_secret": SECRET,
        "twilio_account_sid": sid,
        "twilio_auth_token": token,
        "twilio_phone_number": SIMULATED_SENDER,
        "twilio_api_url": f"http://127.0.0.1:{api_port}",
        **dict.fromkeys(("stt_engine", "llm_engine", "tts_engine"), "scripted"),
        "bcrypt_cost": "10",
        "registrations_per_ip": "100",
    }
    own = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    environ = {**own, **{name.upper(): value for name, value in given.items()}}
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(
            SimulatedCarrier(
                clock=clock,
                account_sid=sid,
                auth_token=token,
                sender=SIMULATED_SENDER,
                phones=lambda number: phones[number],
            )
        )
        database = Database.open(database_url)
        stack.push_async_callback(database.aclose)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        emulator = Emulator(carrier.exchange, token)
        api = uvicorn.Config(
            emulator.app, port=api_port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        listen(stack, tasks, api)
        await stack.enter_async_context(balancer.running())
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                f"http://127.0.0.1:{balancer.port}", timeout=aiohttp.ClientTimeout(total=120)
            )
        )
        app = Starlette()
        app.state.parts = SimpleNamespace(database=database)  # what a world needs of it
        world = World(app, Settings.model_validate(given), carrier, http, clock, phones, emulator)
        found = Town(world, balancer, environ, tasks)
        probing = tasks.create_task(balancer.probing(found.ports))
        try:
            yield found
        finally:
            await found.stop_all()
            probing.cancel()
