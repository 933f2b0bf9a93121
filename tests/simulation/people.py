"""The users of a simulation: over REST, at random, as impatient as people are."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from pipeline.core.money import Nanos, usd
from tests.simulation.node import PUBLIC_URL
from tests.simulation.telephone import Network
from tests.simulation.wire import Door, Reply, Unreachable

PASSWORD = "correct horse battery"
CENT = 10_000_000

Grant = Callable[[str, Nanos], Awaitable[None]]
Purchase = Callable[[str, int], Awaitable[None]]


class Person:
    """Registers, verifies a phone, sets budgets, asks for calls and hangs up, until the world ends."""

    def __init__(
        self,
        number: int,
        *,
        draw: Random,
        network: Network,
        door: Callable[[], Door | None],
        grant: Grant,
        purchase: Purchase,
        utc: Callable[[], datetime],
        note: Callable[[str], None],
    ) -> None:
        self.email = f"person{number}@example.com"
        self.phone = f"+1202555{123 + number:04d}"
        self._draw = draw
        self._network = network
        self._door = door
        self._grant = grant
        self._purchase = purchase
        self._utc = utc
        self._note = note
        self._token = ""
        self._id = ""
        self._calls: list[str] = []
        self.answers: dict[str, int] = {}
        """How often each answer came, by status and code."""

    async def live(self) -> None:
        while True:
            if await self._settle_in():
                break
            await asyncio.sleep(2.0)
        await self._grant(self._id, Nanos(self._draw.randint(8, 80) * CENT))
        while True:
            await asyncio.sleep(self._draw.uniform(0.3, 8.0))
            await self._draw.choices(
                (
                    self._ask_for_a_call,
                    self._hang_up,
                    self._set_budget,
                    self._buy,
                    self._pay,
                    self._schedule,
                    self._look,
                ),
                weights=(10, 2, 2, 1, 2, 2, 2),
            )[0]()

    async def _settle_in(self) -> bool:
        body = {"email": self.email, "password": PASSWORD, "name": "Kim", "timezone": "America/New_York"}
        reply = await self._ask("POST", "/api/auth/register", body)
        if reply is None or reply.status not in (201, 409):
            return False
        if not await self._log_in():
            return False
        await self._ask("POST", "/api/me/phone", {"phone": self.phone})
        code = next((text.split()[0] for to, text in reversed(self._network.texts) if to == self.phone), "")
        if not code.isdigit():
            return False
        verified = await self._ask("POST", "/api/me/phone/verify", {"code": code})
        return verified is not None and verified.status == 200

    async def _log_in(self) -> bool:
        reply = await self._ask("POST", "/api/auth/login", {"email": self.email, "password": PASSWORD})
        if reply is None or reply.status != 200:
            return False
        self._token, self._id = reply.json()["token"], reply.json()["user"]["id"]
        return True

    async def _ask_for_a_call(self) -> None:
        body = {
            "persona_id": self._draw.choice(("brad", "sarah", "alex")),
            "max_minutes": self._draw.randint(1, 5),
        }
        key = secrets.token_hex(8)
        times = self._draw.choice((1, 1, 1, 2, 4))
        async with asyncio.TaskGroup() as tasks:
            asking = [
                tasks.create_task(self._ask("POST", "/api/calls", body, {"idempotency-key": key}))
                for _ in range(times)
            ]
        placed = {reply.json()["id"] for task in asking if (reply := task.result()) and reply.status == 202}
        if len(placed) > 1:
            raise AssertionError(f"one key, {len(placed)} calls")
        self._calls += placed

    async def _hang_up(self) -> None:
        if self._calls:
            await self._ask("POST", f"/api/calls/{self._calls[-1]}/hangup", {})

    async def _set_budget(self) -> None:
        limit = None if self._draw.random() < 0.3 else usd(Nanos(self._draw.randint(5, 30) * CENT))
        budget: dict[str, Any] = {
            "per_call_usd": limit,
            "daily_usd": None
            if self._draw.random() < 0.7
            else usd(Nanos(self._draw.randint(30, 200) * CENT)),
            "warn_percent": self._draw.randint(50, 100),
            "auto_cutoff": self._draw.random() < 0.8,
        }
        await self._ask("PUT", "/api/budget", budget)

    async def _buy(self) -> None:
        await self._grant(self._id, Nanos(self._draw.randint(1, 40) * CENT))

    async def _pay(self) -> None:
        await self._purchase(self._id, self._draw.choice((10, 50, 500)))

    async def _schedule(self) -> None:
        at = self._utc() + timedelta(seconds=self._draw.uniform(5.0, 40.0))
        await self._ask("POST", "/api/scheduled-calls", {"persona_id": "sarah", "at": at.isoformat()})

    async def _look(self) -> None:
        await self._ask("GET", "/api/credits")
        if self._calls:
            await self._ask("GET", f"/api/calls/{self._calls[-1]}/costs")

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, more: dict[str, str] | None = None
    ) -> Reply | None:
        """None when nobody answered. A token that is not believed any more is renewed for the next time."""
        headers = {"content-type": "application/json", **(more or {})}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        if (door := self._door()) is None:
            return None
        try:
            content = b"" if body is None else json.dumps(body).encode()
            reply = await door.ask(method, PUBLIC_URL + path, headers, content)
        except Unreachable:
            return None
        code = reply.json().get("code", "") if reply.status >= 400 else ""
        heard = f"{method} {path.split('/')[2]} {reply.status} {code}".strip()
        self.answers[heard] = self.answers.get(heard, 0) + 1
        if reply.status == 401 and path != "/api/auth/login":
            self._token = ""
            await self._log_in()
        return reply
