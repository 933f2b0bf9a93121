"""What the orders of one user are decided by: read once in a transaction, however many orders there are.

Nothing is decided here. Whoever asks holds the lock of the user's account, so nothing of it changes in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any, TypeVar, cast

from pipeline.core.errors import Refused
from pipeline.core.scenario import settled
from pipeline.core.tariff import Price
from pipeline.ports import Engines
from server import permits
from server.calls import casting, open_points
from server.money.destinations import for_number
from server.parts import PlaceCall
from server.permits import Phone
from server.remembering import today
from server.settings import Settings
from storage import calls, ledger, memories, personas, pricing, scenarios, strangers
from storage.db import Tx
from storage.ledger import Drawing
from storage.records import Direction, Persona, PriceRow, Scenario, User

T = TypeVar("T")


class Facts:
    """As of `now`. What is asked for twice is read once; what was refused is asked again."""

    def __init__(self, tx: Tx, settings: Settings, engines: Engines, user: User, now: datetime) -> None:
        self._tx = tx
        self._settings = settings
        self._engines = engines
        self._user = user
        self._read: dict[Hashable, Any] = {}
        self.now = now

    async def _once(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        if key not in self._read:
            self._read[key] = await read()
        return cast("T", self._read[key])

    async def _rows(self) -> list[PriceRow]:
        return await self._once(
            "rows", lambda: pricing.current(self._tx, self.now, self._settings.price_list)
        )

    async def book(self, order: PlaceCall) -> tuple[Price, ...]:
        """The price book of a call placed now. Raises `Unpriced`, and `Refused` where there is no phone to ring."""
        rings = order.channel == "phone" and order.rung is None

        async def read() -> tuple[Price, ...]:
            rows = await self._rows()
            if rings:
                number = (await self.phone()).number
                rows = for_number(rows, number.e164, number.region)
            direction: Direction = "outbound" if order.rung is None else "inbound"
            return casting.pinned(rows, self._engines, order.channel, direction)

        return await self._once(("book", order.channel, rings), read)

    async def phone(self) -> Phone:
        """The user's phone and its rates. Raises `Refused` where they have none."""

        async def read() -> Phone:
            return await permits.phone_of(self._tx, self._user.id, await self._rows(), self.now)

        return await self._once("phone", read)

    async def live(self) -> int:
        """The user's calls that were not over when the first order was looked at."""
        return await self._once("live", lambda: calls.count_live(self._tx, self._user.id))

    async def purse(self) -> Drawing:
        """What the user's account has for first parts."""
        return await self._once("purse", lambda: ledger.draw(self._tx, self._user.id, now=self.now))

    async def part(self, order: PlaceCall) -> casting.Part:
        """Who calls whom about what. Raises `Refused` for what there is not, or what the order leaves open."""
        persona = await self._persona(order.persona_id)
        if self._user.id == strangers.ACCOUNT:
            return casting.stranger(persona)
        scenario = None if order.scenario_id is None else await self._scenario(order.scenario_id)
        known = open_points.checked(scenario, order.variables)
        relation = await self._once(
            ("relation", persona.id), lambda: personas.relationship(self._tx, self._user.id, persona.id)
        )
        remembered = await self._once(
            ("memories", persona.id), lambda: memories.of(self._tx, self._user.id, persona.id, lock=False)
        )
        return casting.Part(
            persona,
            self._user.name,
            relation,
            scenario,
            order.context,
            settled(known, order.variables),
            memories=tuple(remembered),
            today=today(self._user, self.now),
            rang_us=order.rung is not None,
            reach=self._reach(order),
        )

    def _reach(self, order: PlaceCall) -> casting.Reach:
        if order.channel == "phone":
            return "this number"
        return "nothing" if self._user.phone_verified_at is None else "their phone"

    async def _persona(self, ident: str) -> Persona:
        return await self._once(("persona", ident), lambda: persona_of(self._tx, ident))

    async def _scenario(self, ident: str) -> Scenario:
        scenario = await self._once(
            ("scenario", ident), lambda: scenarios.get(self._tx, self._user.id, ident)
        )
        if scenario is None:
            raise Refused("not_found", "There is no such scenario.", status=404)
        return scenario


async def persona_of(tx: Tx, ident: str) -> Persona:
    """Raises `Refused` where there is none."""
    persona = await personas.by_id(tx, ident)
    if persona is None:
        raise Refused("not_found", "There is no such persona.", status=404)
    return persona
