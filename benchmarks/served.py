"""The server under measurement, in a process of its own: the real application, engines and carrier of ours.

    python -m benchmarks.served CORE PORT DATA_DIR USERS

The carrier is a stub that hands each order to the other side of the pipe, which then rings,
signs, answers and streams as the real one does. Everything else is what `callmeback serve` runs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import pin

if __name__ == "__main__":
    pin(int(sys.argv[1]))

import uvloop
from prometheus_client import REGISTRY

from benchmarks.engines import Trace, TracedActivity, TracedSpeaker, TracedThinker, TracedTranscriber
from benchmarks.listening import Listening
from pipeline.carriers.base import DialOrder, Leg
from pipeline.clock import Clock, real_seconds
from pipeline.core.guard import Permit
from pipeline.core.money import NANOS_PER_USD, Nanos
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.silero import SileroActivity, SileroModel
from pipeline.ports import Engines
from server.app import SIMULATED_SENDER, build
from server.calls.live import open_desk
from server.logs import configure
from server.parts import Account, Parts
from server.serving import server_config, settled_collector
from server.settings import Settings
from storage import ledger, users
from storage.audit import audit

LAG_EVERY_S = 0.01
CREDIT_USD = 1_000
AREAS = ("202", "212", "213", "303", "312", "415", "617", "702")
"""Area codes of the fictitious numbers 555-0100 to 0199; a number belongs to one user."""


def say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


class PipedCarrier:
    """A `Carrier` whose exchange is at the other end of the pipe."""

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        permit.spend(order.to, permit.given_at)
        sid = "CA" + secrets.token_hex(16)
        say(news="dial", sid=sid, voice=order.answer_url, status=order.status_url, amd=order.amd_url)
        return Leg(sid, "queued", 0)

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        return None

    async def hang_up(self, sid: str) -> None:
        say(news="hang_up", sid=sid)

    async def fetch(self, sid: str) -> Leg:
        return Leg(sid, "in-progress", 0)

    async def send_sms(self, to: str, body: str) -> None: ...

    async def aclose(self) -> None: ...


@asynccontextmanager
async def engines(trace: Trace) -> AsyncIterator[Engines]:
    """Voice activity is the real one."""
    worker = Worker("voice activity", 4)
    try:
        model = await worker.run(SileroModel.load)
        async with SileroActivity(model, worker).running() as silero:
            yield Engines(
                voice_activity=TracedActivity(silero, trace),
                transcriber=TracedTranscriber(trace),
                thinker=TracedThinker(),
                speaker=TracedSpeaker(),
            )
    finally:
        worker.close()


async def people(parts: Parts, count: int) -> list[str]:
    """So many users with a verified phone and credit; their tokens."""
    issued = []
    async with parts.database.write() as tx:
        now = parts.clock.utc()
        for number in range(count):
            user = await users.add(
                tx, email=f"person{number}@example.com", password_hash="-", name="Kim Doe",
                phone=None, timezone="UTC", now=now,
            )  # fmt: skip
            user = await users.mark_verified(
                tx, user.id, f"+1{AREAS[number // 100]}5550{100 + number % 100}", now
            )
            await ledger.grant(
                tx, user_id=user.id, amount=Nanos(CREDIT_USD * NANOS_PER_USD), kind="grant",
                idem_key=f"bench:{user.id}", now=now,
            )  # fmt: skip
            issued.append(parts.tokens.issue(user).token)
    return issued


class Lag:
    """How late the loop runs what is due, sampled a hundred times a second while asked to."""

    def __init__(self) -> None:
        self._on = asyncio.Event()
        self._late: list[float] = []

    async def run(self) -> None:
        while True:
            await self._on.wait()
            due = real_seconds() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._late.append(1000 * max(0.0, real_seconds() - due))

    def start(self) -> None:
        self._late.clear()
        self._on.set()

    def stop(self) -> list[float]:
        self._on.clear()
        return self._late


async def obey(parts: Parts, trace: Trace, lag: Lag) -> None:
    """Orders from the pipe until told to stop."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match json.loads(line)["do"]:
            case "trace":
                say(turns=trace.take())
            case "lag":
                lag.start()
                say(ok=True)
            case "figures":
                flushes = REGISTRY.get_sample_value("callmeback_flush_seconds_count")
                spent = REGISTRY.get_sample_value("callmeback_flush_seconds_sum")
                threads = {str(thread.native_id): thread.name for thread in threading.enumerate()}
                say(lag=lag.stop(), flushes=flushes, flush_s=spent, threads=threads)
            case "audit":
                async with parts.database.read() as tx:
                    report = await audit(tx)
                say(breaches=len(report.breaches), calls=report.calls)
            case _:
                return


async def main(port: int, data_dir: Path, count: int) -> None:
    settings = Settings(
        port=port, data_dir=data_dir, log_level="error", max_live_calls=500, max_connections=5_000,
        max_connections_per_ip=5_000,
    )  # fmt: skip
    account = Account("AC" + secrets.token_hex(16), secrets.token_hex(16), SIMULATED_SENDER)
    trace, lag = Trace(), Lag()
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(engines(trace))
        app = build(
            settings,
            clock=Clock(),
            account=account,
            carrier=PipedCarrier(),
            engines=opened,
            open_desk=open_desk,
        )
        await stack.enter_async_context(app.router.lifespan_context(app))
        parts: Parts = app.state.parts
        tokens = await people(parts, count)
        stack.enter_context(settled_collector())
        server = Listening(server_config(app, settings))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve())
            lagging = tasks.create_task(lag.run())
            await server.listens.wait()
            say(account=account.sid, auth=account.auth_token, url=settings.public_url, tokens=tokens)
            await obey(parts, trace, lag)
            lagging.cancel()
            server.should_exit = True
            await serving


if __name__ == "__main__":
    configure("error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
