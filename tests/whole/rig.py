"""The whole server on loopback, a simulated carrier that rings it back, and a clock that runs fast.

Nothing is left out: REST over HTTP, signed webhooks, the media websocket, SQLite on disk.
Only the engines follow a script, and time passes several times as fast.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import uvicorn
from starlette.applications import Starlette

from pipeline.carriers.callee import Script
from pipeline.carriers.exchange import Delivery, prompt
from pipeline.carriers.phonecall import PhoneCall
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.clock import Clock, ScaledLoop
from pipeline.core.money import NANOS_PER_USD, Nanos
from pipeline.engines.scripted import LoudnessActivity, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.journal_file import SUFFIX, read_lines
from pipeline.ports import Engines
from server.app import SIMULATED_SENDER, build
from server.calls.live import open_desk
from server.parts import Account, Parts
from server.passwords import Passwords
from server.serving import server_config
from server.settings import Settings
from storage import ledger
from storage.audit import audit
from tests.ports import free_port
from tests.storage.world import ready
from tests.twilio.emulator import Emulator

SPEED = 8.0
SECRET = "0123456789abcdef0123456789abcdef-testing"

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], speed: float = SPEED) -> T:
    with asyncio.Runner(loop_factory=lambda: ScaledLoop(speed)) as runner:
        return runner.run(main)


def scripted(heard: tuple[str, ...] = ("Hello there.", "Tell me a story please."), **more: Any) -> Engines:
    """Engines that hear these lines in turn and answer politely; `more` replaces any of them."""
    engines = {
        "voice_activity": LoudnessActivity(),
        "transcriber": ScriptedTranscriber(heard, delay_ms=80, repeat=True),
        "thinker": ScriptedThinker(["That is nice. Please tell me more about it."], first_ms=50, repeat=True),
        "speaker": ScriptedSpeaker(),
        **more,
    }
    return Engines(**engines)


@dataclass
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class World:
    """A running server and what surrounds it."""

    app: Starlette
    settings: Settings
    carrier: SimulatedCarrier
    http: aiohttp.ClientSession
    clock: Clock
    phones: dict[str, Script] = field(default_factory=dict)
    emulator: Emulator | None = None
    _people: int = 0

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.state.parts
        return parts

    async def person(self, script: Script, *, credit_usd: int = 5, verified: bool = True) -> Person:
        """A registered user whose phone is answered by this script."""
        self._people += 1
        phone = f"+120255501{self._people:02d}"
        self.phones[phone] = script
        person = Person(self, phone)
        body = {"email": f"p{self._people}@example.com", "password": "correct horse", "name": "Jo Doe"}
        answer = await person.ask("POST", "/api/auth/register", body)
        assert answer.status == 201, answer
        person.token, person.id = answer.body["token"], answer.body["user"]["id"]
        if verified:
            assert (await person.ask("POST", "/api/me/phone", {"phone": phone})).status == 202
            code = self.carrier.sms[-1].body.split()[0]
            assert (await person.ask("POST", "/api/me/phone/verify", {"code": code})).status == 200
        if credit_usd:
            async with self.parts.database.write() as tx:
                await ledger.grant(
                    tx, user_id=person.id, amount=Nanos(credit_usd * NANOS_PER_USD), kind="grant",
                    idem_key=f"test:{person.id}", now=self.clock.utc(),
                )  # fmt: skip
        return person

    async def breaches(self) -> list[str]:
        async with self.parts.database.read() as tx:
            report = await audit(tx)
        return [f"{breach.invariant} {breach.subject} {breach.detail}" for breach in report.breaches]

    def journal(self, call_id: str) -> list[str]:
        return read_lines(self.settings.calls_dir / f"{call_id}{SUFFIX}")

    def phone_call(self) -> PhoneCall:
        return list(self.carrier.calls.values())[-1]


@dataclass
class Person:
    world: World
    phone: str
    token: str = ""
    id: str = ""

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.world.http.request(
            method, path, json=body, headers={**own, **(headers or {})}
        ) as answer:
            text = await answer.text()
            return Answer(answer.status, json.loads(text) if text else None, answer.headers)

    async def call(self, **more: Any) -> str:
        """Ask for a callback; its id."""
        answer = await self.ask("POST", "/api/calls", {"persona_id": "sarah", "channel": "phone", **more})
        assert answer.status == 202, answer
        return str(answer.body["id"])

    async def follow(
        self, call_id: str, until: Callable[[str, Any], bool] = lambda kind, data: False, after: int = 0
    ) -> list[tuple[int, str, Any]]:
        """The live events after that one, to the end of the call or to the first one wanted."""
        seen: list[tuple[int, str, Any]] = []
        headers = {"Authorization": f"Bearer {self.token}"}
        if after:
            headers["Last-Event-ID"] = str(after)
        async with self.world.http.get(f"/api/calls/{call_id}/events", headers=headers) as stream:
            number, kind = 0, ""
            async for raw in stream.content:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                    seen.append((number, kind, data))
                    if until(kind, data):
                        break
        return seen


def listen(stack: AsyncExitStack, tasks: asyncio.TaskGroup, config: uvicorn.Config) -> None:
    """Serve until the stack is left."""
    server = uvicorn.Server(config)
    tasks.create_task(server.serve())
    stack.callback(setattr, server, "should_exit", True)


async def _ready(http: aiohttp.ClientSession) -> None:
    """Connections are refused until the server listens, a task of this very loop; then it may say "not yet"."""
    while True:
        try:
            async with http.get("/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            continue


@asynccontextmanager
async def serving(
    data_dir: Path,
    *,
    engines: Engines | None = None,
    delivery: Delivery = prompt,
    through_twilio: bool = False,
    by_settings: bool = False,
    **more: Any,
) -> AsyncIterator[World]:
    """With `through_twilio` the server is configured for Twilio, by its settings alone, and meets an emulator.

    Engines are the ones given or scripted, and with `by_settings` those that the settings name.
    """
    account = Account("AC" + secrets.token_hex(16), secrets.token_hex(16), SIMULATED_SENDER)
    port, api_port = free_port(), free_port()
    twilio = {
        "twilio_account_sid": account.sid,
        "twilio_auth_token": account.auth_token,
        "twilio_phone_number": account.sender,
        "twilio_api_url": f"http://127.0.0.1:{api_port}",
    }
    given = {
        "data_dir": data_dir,
        "port": port,
        "jwt_secret": SECRET,
        **(twilio if through_twilio else {}),
        **more,
    }
    settings = Settings.model_validate(given)
    clock, phones = Clock(), dict[str, Script]()
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(
            SimulatedCarrier(
                clock=clock,
                account_sid=account.sid,
                auth_token=account.auth_token,
                sender=account.sender,
                phones=lambda number: phones[number],
                delivery=delivery,
            )
        )
        passwords = Passwords(cost=4)
        stack.callback(passwords.close)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        emulator = None
        if through_twilio:
            emulator = Emulator(carrier.exchange, account.auth_token)
            listen(
                stack,
                tasks,
                # A request whose answer is "lost" is still open at the end; nobody waits for it.
                uvicorn.Config(
                    emulator.app, port=api_port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
                ),
            )
        ready(settings.database_url)
        app = build(
            settings,
            clock=clock,
            account=None if through_twilio else account,
            carrier=None if through_twilio else carrier,
            engines=None if by_settings else engines or scripted(),
            passwords=passwords,
            open_desk=open_desk,
        )
        await stack.enter_async_context(app.router.lifespan_context(app))
        listen(stack, tasks, server_config(app, settings))
        patient = aiohttp.ClientTimeout(total=900)
        http = await stack.enter_async_context(aiohttp.ClientSession(settings.public_url, timeout=patient))
        await _ready(http)
        yield World(app, settings, carrier, http, clock, phones, emulator)
