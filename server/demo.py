"""`callmeback demo`: the main job once, offline, over the real interfaces.

A server on a free loopback port, a user who registers and verifies a phone, a budget that
pays two carrier minutes, a callback asked for over REST, recorded speech into the media
socket, local engines, the spoken warning, the goodbye, the cut-off; then the books.
What is shown is in `demo_show.py`; nothing here is known to the rest of the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
import uvloop

from pipeline.carriers.phonecall import Sms
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.clock import Clock
from pipeline.conducted import CallReplay, replay_call
from pipeline.core.money import NANOS_PER_USD, Nanos, parse_usd, usd
from pipeline.core.tariff import Service
from pipeline.engines.loading import EngineLoader
from pipeline.journal_file import SUFFIX, read_lines
from pipeline.replay import replay
from pipeline.timeline import latencies
from pipeline.traffic import SUFFIX as TRAFFIC
from pipeline.traffic import AnyFact, complete
from pipeline.traffic import read as read_traffic
from server.app import SIMULATED_SENDER, build
from server.calls.live import open_desk
from server.demo_show import Show
from server.engines import chosen
from server.logs import configure
from server.money.prices import models
from server.parts import Account, Parts
from server.serving import server_config
from server.settings import Settings, load
from server.simulation import jordan
from storage import ledger, users
from storage.audit import AuditReport, audit
from storage.lockfile import private_dir

WRITTEN_S = 5
"""How long the end of the engines' traffic may take to be on the disk."""
PHONE = "+12025550123"
EMAIL = "jordan@example.com"
MINUTES = 2
ENGINES = ("stt_", "llm_", "tts_", "engine_", "deepgram_", "elevenlabs_")
"""The demo is played with the engines that are set."""
TALK_NANO = 17_500_000
"""What the budget leaves for speech and the model: less than one carrier minute, so that a third is out of reach."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the demo's call; `problems` is empty when everything held."""

    call: dict[str, Any]
    costs: dict[str, Any]
    turns: list[dict[str, Any]]
    report: AuditReport
    journal: Path
    wav: Path
    latencies_ms: list[int]
    memories: list[dict[str, Any]]
    """What the persona remembers of the caller from now on."""
    again: CallReplay
    """The call, replayed with its sound from what was recorded (level 2)."""
    problems: tuple[str, ...]


def main() -> int:
    """Play the demo and show it; 0 when everything that was promised was seen to happen."""
    show = Show()
    configure("error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(play(_settings(), show))
    show.outcome(outcome)
    return 1 if outcome.problems else 0


def _settings() -> Settings:
    """The environment's settings on a free port and in a fresh directory of the demo's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = load()
    data_dir = base.data_dir / "demo"
    shutil.rmtree(data_dir, ignore_errors=True)
    private_dir(base.data_dir)
    private_dir(data_dir)
    engines = {name: getattr(base, name) for name in Settings.model_fields if name.startswith(ENGINES)}
    return Settings(port=port, data_dir=data_dir, record_calls=True, log_level="error", **engines)


async def play(settings: Settings, show: Show) -> Outcome:
    codes: asyncio.Queue[str] = asyncio.Queue()

    def texted(message: Sms) -> None:
        show.sms(message.to, message.body)
        found = re.search(r"\b\d{6}\b", message.body)
        if found is not None:
            codes.put_nowait(found.group())

    account = Account("AC" + secrets.token_hex(16), secrets.token_hex(16), SIMULATED_SENDER)
    clock = Clock()
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(
            SimulatedCarrier(
                clock=clock,
                account_sid=account.sid,
                auth_token=account.auth_token,
                sender=account.sender,
                phones=lambda _number: jordan(),
                on_sms=texted,
            )
        )
        engines = await stack.enter_async_context(EngineLoader(chosen(settings), show.loading).open())
        app = build(
            settings, clock=clock, account=account, carrier=carrier, engines=engines, open_desk=open_desk
        )
        await stack.enter_async_context(_serving(app, settings))
        http = await stack.enter_async_context(aiohttp.ClientSession(settings.public_url))
        person = Person(http, show)
        await person.sign_up(codes)
        await _grant(app.state.parts, clock)
        await person.limit(settings)
        call_id = await person.ask_for_call()
        await person.follow(call_id)
        parts: Parts = app.state.parts
        [phone_call] = carrier.calls.values()
        return await _outcome(person, parts, call_id, phone_call.callee.latencies_ms(), carrier.alerts)


@asynccontextmanager
async def _serving(app: Any, settings: Settings) -> AsyncIterator[None]:
    async with app.router.lifespan_context(app), asyncio.TaskGroup() as tasks:
        server = uvicorn.Server(server_config(app, settings))
        serving = tasks.create_task(server.serve())
        async with aiohttp.ClientSession(settings.public_url) as http:
            await _until_ready(http)
        yield
        server.should_exit = True
        await serving


async def _until_ready(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                async with http.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def _grant(parts: Parts, clock: Clock) -> None:
    """What `callmeback credit` does."""
    async with parts.database.write() as tx:
        user = await users.by_email(tx, EMAIL)
        if user is None:
            raise LookupError(EMAIL)
        await ledger.grant(
            tx, user_id=user.id, amount=Nanos(5 * NANOS_PER_USD), kind="grant",
            idem_key="demo", note="demo credit", now=clock.utc(),
        )  # fmt: skip


class Person:
    """The user and their app: everything they do goes through the REST interface."""

    def __init__(self, http: aiohttp.ClientSession, show: Show) -> None:
        self._http = http
        self._show = show
        self._headers: dict[str, str] = {}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request; what is not a success ends the demo with the server's own words."""
        async with self._http.request(method, path, json=body, headers=self._headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise SystemExit(f"{method} {path}: {answer.status} {text}")
            return json.loads(text) if text else None

    async def sign_up(self, codes: asyncio.Queue[str]) -> None:
        body = {"email": EMAIL, "password": secrets.token_urlsafe(16), "name": "Jordan Doe", "phone": PHONE}
        registered = await self.ask("POST", "/api/auth/register", body)
        self._headers = {"Authorization": f"Bearer {registered['token']}"}
        self._show.step("registered", EMAIL)
        await self.ask("POST", "/api/me/phone", {"phone": PHONE})
        await self.ask("POST", "/api/me/phone/verify", {"code": await codes.get()})
        self._show.step("phone verified", PHONE)

    async def limit(self, settings: Settings) -> None:
        """A budget of exactly two carrier minutes, by the price list the server shows."""
        prices = (await self.ask("GET", "/api/prices"))["items"]
        budget = two_minutes(prices, models(settings))
        await self.ask("PUT", "/api/budget", {"per_call_usd": usd(budget)})
        self._show.step("budget per call", f"${usd(budget)}: {MINUTES} carrier minutes, and some talk")

    async def ask_for_call(self) -> str:
        body = {"persona_id": "sarah", "context": "I have a job interview on Tuesday.", "channel": "phone"}
        call = await self.ask("POST", "/api/calls", body)
        self._show.step("callback asked for", f"POST /api/calls → {call['status']}")
        return str(call["id"])

    async def follow(self, call_id: str) -> None:
        """Show the call's live events until it has ended."""
        patient = aiohttp.ClientTimeout(total=300)
        with self._show.live():
            async with self._http.get(
                f"/api/calls/{call_id}/events", headers=self._headers, timeout=patient
            ) as stream:
                kind = ""
                async for raw in stream.content:
                    field, _, value = raw.decode().rstrip("\n").partition(": ")
                    if field == "event":
                        kind = value
                    elif field == "data":
                        self._show.news(kind, json.loads(value))


def two_minutes(prices: list[dict[str, Any]], used: dict[Service, str]) -> Nanos:
    """Two carrier and stream minutes and their margin, the machine check, 132 s of listening, and the talk."""

    def of(service: Service) -> int:
        row = next(p for p in prices if (p["service"], p["model"]) == (service, used[service]))
        return parse_usd(row["price_usd"])

    minute = of("carrier") + of("stream")
    listening = -(-of("stt") * (MINUTES * 60 + 12) // 60)
    return Nanos((MINUTES + 1) * minute + of("amd") + listening + TALK_NANO)


async def _traffic(path: Path) -> list[AnyFact]:
    """A thread of its own writes it, and a call's end does not wait for that."""
    facts = read_traffic(path)
    for _ in range(10 * WRITTEN_S):
        if complete(facts):
            break
        await asyncio.sleep(0.1)
        facts = read_traffic(path)
    return facts


async def _outcome(
    person: Person, parts: Parts, call_id: str, latencies_ms: list[int], alerts: list[Any]
) -> Outcome:
    call = await person.ask("GET", f"/api/calls/{call_id}")
    costs = await person.ask("GET", f"/api/calls/{call_id}/costs")
    turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript"))["items"]
    memories = (await person.ask("GET", "/api/personas/sarah/memories"))["items"]
    async with parts.database.read() as tx:
        report = await audit(tx)
    journal = parts.settings.calls_dir / f"{call_id}{SUFFIX}"
    lines, facts = read_lines(journal), await _traffic(journal.with_suffix(TRAFFIC))
    again = await asyncio.to_thread(replay_call, lines, facts)
    said = " ".join(turn["text"] for turn in turns if turn["role"] == "agent")
    checks = {
        "the call did not end by its budget": call["end_reason"] == "budget",
        "the warning was not heard": "about a minute left" in said,
        "the goodbye was not heard": "our time is up" in said and "goodbye" in said,
        "the caller was not understood": "interview"
        in " ".join(t["text"] for t in turns if t["role"] == "caller"),
        "the cost is not the sum of its seconds": parse_usd(costs["total_usd"])
        == sum(parse_usd(item["usd"]) for item in costs["per_second"]),
        "the audit found a breach": not report.breaches,
        "the journal does not replay": replay(lines).exact,
        "the engines' traffic is incomplete": complete(facts),
        "the sound does not replay": again.replay.exact,
        "the carrier complained": not alerts,
        "no turn was answered": bool(latencies(lines)),
    }
    problems = tuple(problem for problem, held in checks.items() if not held)
    wav = parts.settings.calls_dir / f"{call_id}.wav"
    return Outcome(call, costs, turns, report, journal, wav, latencies_ms, memories, again, problems)
