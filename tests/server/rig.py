"""A server for tests: the real application on a real SQLite file, with simulated pieces only at its seams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from starlette.applications import Starlette

from pipeline.carriers.base import DialOrder, Leg
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Permit
from server.app import OpenDesk, build, no_desk
from server.parts import Account, Parts
from server.passwords import Passwords
from server.settings import Settings
from storage.db import Database
from tests.storage.world import ready

SECRET = "0123456789abcdef0123456789abcdef-testing"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
PHONE = "+12025550142"


class ManualClock(Clock):
    """Stands still until it is moved."""

    def __init__(self, starts_at: datetime = NOON) -> None:
        super().__init__()
        self._at = starts_at
        self._passed = 0.0

    def seconds(self) -> float:
        return 1_000.0 + self._passed

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self._at.timestamp() + self._passed, UTC)

    def move(self, seconds: float) -> None:
        self._passed += seconds


class LoopClock(Clock):
    """Follows the loop, as the timers of calls do; the time of day can be moved on. For tests with a real desk."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self._moved = timedelta()

    def utc(self) -> datetime:
        return super().utc() + self._moved

    def move(self, seconds: float) -> None:
        self._moved += timedelta(seconds=seconds)


@dataclass
class RecordingCarrier:
    """A `Carrier` that rings nobody and remembers what it was asked."""

    sms: list[tuple[str, str]] = field(default_factory=list)
    dialled: list[DialOrder] = field(default_factory=list)
    sms_fails: bool = False

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        permit.spend(order.to, permit.given_at)
        self.dialled.append(order)
        return Leg(f"CA{len(self.dialled):032x}", "queued", 0)

    async def find(self, order: DialOrder, since: datetime) -> Leg | None:
        return None

    async def hang_up(self, sid: str) -> None: ...

    async def fetch(self, sid: str) -> Leg:
        return Leg(sid, "completed", 0)

    async def send_sms(self, to: str, body: str) -> None:
        if self.sms_fails:
            raise CarrierError("not today", retryable=True)
        self.sms.append((to, body))

    async def aclose(self) -> None: ...

    def last_code(self) -> str:
        return self.sms[-1][1].split()[0]


@dataclass
class Rig:
    """A running application and a client without a token."""

    app: Starlette
    http: httpx.AsyncClient
    parts: Parts
    clock: ManualClock | LoopClock
    carrier: RecordingCarrier

    async def register(self, email: str = "ann@example.com", **more: object) -> Person:
        body = {"email": email, "password": PASSWORD, "name": "Ann", **more}
        answer = await self.http.post("/api/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        return Person(self, answer.json()["token"], answer.json()["user"]["id"], email)

    async def login(self, email: str, password: str, address: str = "198.51.100.1") -> httpx.Response:
        """From a client of its own, at that address."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            return await http.post("/api/auth/login", json={"email": email, "password": password})


@dataclass
class Person:
    """A registered user and their token."""

    rig: Rig
    token: str
    id: str
    email: str

    async def ask(
        self, method: str, path: str, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await self.rig.http.request(
            method, path, json=json, headers={"authorization": f"Bearer {self.token}", **(headers or {})}
        )

    async def get(self, path: str) -> httpx.Response:
        return await self.ask("GET", path)

    async def post(
        self, path: str, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await self.ask("POST", path, json, headers)

    async def verify_phone(self, phone: str = PHONE) -> None:
        # The latest code counts, so two are never of the same moment.
        self.rig.clock.move(1)
        sent = await self.post("/api/me/phone", {"phone": phone})
        assert sent.status_code == 202, sent.text
        done = await self.post("/api/me/phone/verify", {"code": self.rig.carrier.last_code()})
        assert done.status_code == 200, done.text
        self.token = done.json()["token"] or self.token


def settings(data_dir: Path, **more: object) -> Settings:
    return Settings.model_validate({"data_dir": data_dir, "jwt_secret": SECRET, **more})


@asynccontextmanager
async def running(
    given: Settings,
    open_desk: OpenDesk = no_desk,
    carrier: RecordingCarrier | None = None,
    clock: ManualClock | LoopClock | None = None,
    database: Database | None = None,
) -> AsyncIterator[Rig]:
    """The application between its start and its end. A `database` that is brought is migrated already."""
    clock, passwords = clock or ManualClock(), Passwords(cost=4)
    carrier = carrier or RecordingCarrier()
    if database is None:
        ready(given.database_url)
    app = build(
        given,
        clock=clock,
        account=Account("AC" + "0" * 32, "token", "+12025550100"),
        carrier=carrier,
        database=database,
        passwords=passwords,
        open_desk=open_desk,
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://testserver") as http,
        ):
            yield Rig(app, http, app.state.parts, clock, carrier)
    finally:
        passwords.close()
