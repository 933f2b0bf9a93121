"""May this call be placed, and with how much money: decided in one transaction, before anything rings.

Writes the call's row, the hold that pays for it and the leave to ring together, or none of them. Whether a number
may be rung is asked of `permits.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from pipeline.core.events import CallStarted
from pipeline.core.guard import NotAllowed, Permit, Why
from pipeline.core.money import Nanos, usd
from pipeline.core.scenario import settled
from pipeline.core.tariff import Price
from pipeline.core.terms import EndReason, Limits
from pipeline.ports import Engines
from server import numbers, permits
from server.calls import casting, open_points
from server.money.destinations import for_number
from server.parts import PlaceCall, Rung
from server.remembering import today
from server.settings import Settings
from storage import (
    calls,
    dials,
    ids,
    ledger,
    memories,
    personas,
    pricing,
    scenarios,
    schedules,
    strangers,
    users,
)
from storage.db import Tx
from storage.records import CallRow, Direction, Grant, IdemTaken, NewCall, Persona, PriceRow, User


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call whose first money is set aside: its row, its first event, its persona's voice and model.

    `held` is the whole hold; `margin` of it is out of the call's reach. `permit` is the leave to ring the phone, None
    for a call that rings none: a browser's, or one that goes on after another process.
    """

    row: CallRow
    started: CallStarted
    voice: str
    model: str
    held: Nanos
    margin: Nanos
    permit: Permit | None = None


@dataclass(frozen=True, slots=True)
class Funded:
    started: CallStarted
    held: Nanos
    margin: Nanos


class Admissions:
    def __init__(self, settings: Settings, engines: Engines, clock: Clock, node: str) -> None:
        self._settings = settings
        self._engines = engines
        self._clock = clock
        self._node = node

    async def admit(self, tx: Tx, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> Admitted:
        """Raises `Refused`, `IdemTaken` where the same request came through meanwhile, `ClaimLost` of a schedule."""
        # First of all: orders of one user queue here, so that each sees the call and the key of the one before.
        await ledger.lock_account(tx, user.id)
        if idem is not None and (earlier := await calls.by_idem(tx, user.id, idem[0])) is not None:
            raise IdemTaken(earlier)
        now = self._clock.utc()
        rows = await pricing.current(tx, now, self._settings.price_list)
        permit = await self._permit(tx, user, order, rows, now)
        if permit is not None:
            rows = for_number(rows, permit.e164, numbers.region(permit.e164))
        book = self._book(rows, order)
        part = await self._part(tx, user, order)
        minutes = self._minutes(part, order)
        bounds = self._bounds(part, order, now)
        rung = order.rung
        number = rung.e164 if rung is not None else None if permit is None else permit.e164
        new = NewCall(
            id=ids.new_id() if rung is None else rung.call_id,
            user_id=user.id,
            persona_id=part.persona.id,
            channel=order.channel,
            created_at=now if rung is None else rung.at,
            price_ids=tuple(price.price_id for price in book),
            owner=self._node,
            scenario_id=order.scenario_id,
            phone_e164=number,
            context=order.context,
            max_minutes=minutes,
            idem_key=None if idem is None else idem[0],
            idem_hash=None if idem is None else idem[1],
            scheduled_call_id=None if order.scheduled is None else order.scheduled.dial_id,
            direction="outbound" if rung is None else "inbound",
        )
        row = await calls.create(tx, new)
        if permit is not None:
            await dials.add(tx, user.id, permit.e164, permit.purpose, row.id, now)
        if order.scheduled is not None:
            # In this transaction: either there is a call and its dial is on record, or neither.
            await schedules.dialed(tx, order.scheduled, row.id)
        funded = await self._fund(tx, row, part, book, bounds, _connected_ms(order, now))
        if order.scenario_id is not None:
            await scenarios.used(tx, order.scenario_id)
        return Admitted(
            row, funded.started, part.voice, part.persona.model, funded.held, funded.margin, permit
        )

    async def _permit(
        self, tx: Tx, user: User, order: PlaceCall, rows: list[PriceRow], now: datetime
    ) -> Permit | None:
        """The leave to ring; a call in the browser, or one that came in, rings nothing and only counts among the user's
        calls."""
        if order.channel == "phone" and order.rung is None:
            return await permits.permit(tx, self._settings, user.id, order.purpose, rows, now)
        if await calls.count_live(tx, user.id) >= self._at_once(user):
            raise permits.refusal(NotAllowed(Why.USER_BUSY))
        return None

    def _at_once(self, user: User) -> int:
        settings = self._settings
        return (
            settings.inbound_trials_at_once if user.id == strangers.ACCOUNT else settings.max_calls_per_user
        )

    def _book(self, rows: list[PriceRow], order: PlaceCall) -> tuple[Price, ...]:
        direction: Direction = "outbound" if order.rung is None else "inbound"
        return casting.pinned(rows, self._engines, order.channel, direction)

    def _bounds(self, part: casting.Part, order: PlaceCall, now: datetime) -> Limits:
        bounds = casting.limits(self._settings, part.persona, self._minutes(part, order))
        # The socket is waited for from the answer on, and that was before the menu.
        return replace(bounds, connect_ms=bounds.connect_ms + _connected_ms(order, now))

    async def least(self, tx: Tx, order: PlaceCall) -> tuple[Nanos, Nanos]:
        """What a stranger's call needs set aside before it begins, and what of it is one minute of the line."""
        now = self._clock.utc()
        rows = await pricing.current(tx, now, self._settings.price_list)
        book, part = self._book(rows, order), casting.stranger(await self._persona(tx, order))
        greeting = casting.phrases(part, self._settings).greeting
        bounds = self._bounds(part, order, now)
        needed = casting.admission(book, bounds, casting.layers(part), greeting)
        return needed.at_least, needed.margin

    async def recast(self, tx: Tx, row: CallRow) -> Admitted:
        """The first event of a call that was placed before, made anew from what is known of it today.

        Raises `LookupError` for a call of nobody, or one without its hold.
        """
        user, hold = await users.by_id(tx, row.user_id), await ledger.hold_of(tx, row.id)
        if user is None or hold is None:
            raise LookupError(row.id)
        order = PlaceCall(row.persona_id, row.scenario_id, row.context, row.max_minutes, row.channel)
        if row.direction == "inbound":
            order = replace(order, rung=Rung(row.id, row.sid or "", row.created_at, row.phone_e164))
        try:
            part = await self._part(tx, user, order)
        except Refused:  # the scenario was deleted since, or leaves open what this call had said
            part = await self._part(tx, user, replace(order, scenario_id=None))
        pinned = {priced.price.price_id: priced.price for priced in await pricing.by_ids(tx, row.price_ids)}
        book = tuple(pinned[ident] for ident in row.price_ids)
        bounds = casting.limits(self._settings, part.persona, row.max_minutes)
        greeting = casting.phrases(part, self._settings).greeting
        admitted = casting.admission(book, bounds, casting.layers(part), greeting)
        # What it holds it may spend; what it could have besides, is told by `topped_up`.
        grant = Grant(hold.amount_nano, hold.amount_nano, EndReason.CREDIT, None)
        money = casting.allowance(grant, admitted)
        started = casting.started(
            row.id, part, self._settings, self._engines, book, money, bounds, row.created_at
        )
        return Admitted(row, started, part.voice, part.persona.model, grant.held, admitted.margin)

    async def topped_up(self, tx: Tx, admitted: Admitted) -> Admitted:
        """A call that goes on, told what it could have besides what it holds, or it would be warned of the end of that.

        Raises `Fenced` when it is somebody else's.
        """
        row, margin = admitted.row, admitted.margin
        grant = await ledger.standing(
            tx, user_id=row.user_id, call_id=row.id, epoch=row.epoch, now=self._clock.utc()
        )
        money = replace(
            admitted.started.allowance,
            held=Nanos(grant.held - margin), reach=Nanos(grant.reach - margin),
            binds=grant.binds, warn_used=grant.warn_used,
        )  # fmt: skip
        return replace(admitted, started=replace(admitted.started, allowance=money), held=grant.held)

    async def _part(self, tx: Tx, user: User, order: PlaceCall) -> casting.Part:
        persona = await self._persona(tx, order)
        if user.id == strangers.ACCOUNT:
            return casting.stranger(persona)
        scenario = None
        if order.scenario_id is not None:
            scenario = await scenarios.get(tx, user.id, order.scenario_id)
            if scenario is None:
                raise Refused("not_found", "There is no such scenario.", status=404)
        known = open_points.checked(scenario, order.variables)
        relation = await personas.relationship(tx, user.id, persona.id)
        return casting.Part(
            persona,
            user.name,
            relation,
            scenario,
            order.context,
            settled(known, order.variables),
            memories=tuple(await memories.of(tx, user.id, persona.id, lock=False)),
            today=today(user, self._clock.utc()),
            rang_us=order.rung is not None,
        )

    async def _persona(self, tx: Tx, order: PlaceCall) -> Persona:
        persona = await personas.by_id(tx, order.persona_id)
        if persona is None:
            raise Refused("not_found", "There is no such persona.", status=404)
        return persona

    def _minutes(self, part: casting.Part, order: PlaceCall) -> int:
        """The shortest of what was asked for, the scenario, the persona and the server allow."""
        asked = (
            order.max_minutes,
            part.scenario.max_minutes if part.scenario else None,
            part.persona.max_minutes,
            self._settings.max_call_minutes,
        )
        return min(minutes for minutes in asked if minutes is not None)

    async def _fund(
        self, tx: Tx, row: CallRow, part: casting.Part, book: tuple[Price, ...], bounds: Limits,
        connected_ms: int,
    ) -> Funded:  # fmt: skip
        system, greeting = casting.layers(part), casting.phrases(part, self._settings).greeting
        admitted = casting.admission(book, bounds, system, greeting, connected_ms)
        granted = await ledger.hold(
            tx, user_id=row.user_id, call_id=row.id, epoch=row.epoch, at_least=admitted.at_least,
            wanted=admitted.at_least, now=row.created_at,
        )  # fmt: skip
        if granted == 0:
            raise await self._too_little(tx, row, admitted.at_least)
        grant = await ledger.standing(
            tx, user_id=row.user_id, call_id=row.id, epoch=row.epoch, now=row.created_at
        )
        money = casting.allowance(grant, admitted)
        started = casting.started(
            row.id, part, self._settings, self._engines, book, money, bounds, row.created_at
        )
        return Funded(started, grant.held, admitted.margin)

    async def _too_little(self, tx: Tx, row: CallRow, needed: Nanos) -> Refused:
        """Which of the limits was too low."""
        left = await ledger.budgets_left(tx, row.user_id, row.id, row.created_at)
        kind = min(left, key=lambda kind: left[kind], default=None)
        if kind is not None and left[kind] < needed:
            return _refusal("budget_exhausted", BUDGETS[kind], needed, left[kind])
        free = (await ledger.balance(tx, row.user_id)).available
        return _refusal("insufficient_credit", "your available credit", needed, free)


def _connected_ms(order: PlaceCall, now: datetime) -> int:
    """How long the line of a call that came in is up already."""
    return 0 if order.rung is None else max(0, round((now - order.rung.at).total_seconds() * 1000))


BUDGETS = {
    "call": "your budget per call", "day": "what is left of your daily budget",
    "month": "what is left of your monthly budget",
}  # fmt: skip


def _refusal(code: str, what: str, needed: Nanos, available: Nanos) -> Refused:
    figures = {"needed_usd": usd(needed), "available_usd": usd(available)}
    return Refused(
        code,
        f"The first minute needs {usd(needed)} USD set aside; {what} is {usd(available)} USD.",
        status=402,
        members=figures,
    )
