"""May this call be placed, and with how much money: decided in one transaction, before anything rings.

Writes the call's row, the hold that pays for it and the leave to ring together, or none of them. Orders of one user
that wait for each other are decided in one transaction: each by itself and after the ones before it, so that they
compete for the same money and the same number of calls, and all that are let in are written at once. Whether a
number may be rung is asked of `permits.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.clock import Clock
from pipeline.core.errors import CallMeBackError, Refused
from pipeline.core.events import CallStarted
from pipeline.core.guard import NotAllowed, Permit, Why
from pipeline.core.money import Nanos, usd
from pipeline.core.tariff import Price
from pipeline.core.terms import EndReason, Limits
from pipeline.ports import Engines
from server import permits
from server.calls import casting, open_points
from server.calls.longest import longest
from server.money.facts import Facts, persona_of
from server.parts import PlaceCall, Rung
from server.settings import Settings
from storage import calls, dials, ids, ledger, pricing, scenarios, schedules, strangers, users
from storage.db import DatabaseDown, Tx
from storage.purchases import NANOS_PER_CENT
from storage.records import CallRow, Dialled, Grant, IdemTaken, NewCall, User


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
class Asked:
    """An order and its `Idempotency-Key` with the hash of the request, if it has one."""

    order: PlaceCall
    idem: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Funded:
    started: CallStarted
    held: Nanos
    margin: Nanos


class _Group:
    """Orders of one user in one transaction, those let in so far."""

    def __init__(self, facts: Facts, room: int, by_key: dict[str, CallRow]) -> None:
        """`by_key`: the user's calls under the keys of these orders, to begin with those there are already."""
        self.facts = facts
        self.room = room
        self.by_key = by_key
        self.placed: list[tuple[NewCall, PlaceCall, Admitted]] = []


class Admissions:
    def __init__(self, settings: Settings, engines: Engines, clock: Clock, node: str) -> None:
        self._settings = settings
        self._engines = engines
        self._clock = clock
        self._node = node

    async def admit(self, tx: Tx, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> Admitted:
        """One order. Raises what `admit_all` has in its place."""
        (outcome,) = await self.admit_all(tx, user, [Asked(order, idem)])
        if isinstance(outcome, CallMeBackError):
            raise outcome
        return outcome

    async def admit_all(
        self, tx: Tx, user: User, asked: Sequence[Asked], room: int | None = None
    ) -> list[Admitted | CallMeBackError]:
        """What becomes of each: `Refused`, `IdemTaken` where the same request came through meanwhile, or let in.

        `room`: so many may be let in, None for all. Raises `ClaimLost` of a schedule; then nothing is to be committed.
        """
        # First of all: orders of one user queue here, so that each sees the call and the key of the one before.
        await ledger.lock_account(tx, user.id)
        facts = Facts(tx, self._settings, self._engines, user, self._clock.utc())
        keys = [one.idem[0] for one in asked if one.idem is not None]
        known = await calls.by_keys(tx, user.id, keys) if keys else {}
        group = _Group(facts, len(asked) if room is None else room, known)
        outcomes = [await self._outcome(one, group, user) for one in asked]
        await self._write(tx, user, group)
        return outcomes

    async def _outcome(self, asked: Asked, group: _Group, user: User) -> Admitted | CallMeBackError:
        try:
            return await self._decide(asked, group, user)
        except DatabaseDown:
            raise
        except CallMeBackError as refused:
            return refused

    async def _decide(self, asked: Asked, group: _Group, user: User) -> Admitted:
        """Lets one in, in memory: nothing is written, so there is nothing to undo for one that is refused."""
        order, idem, facts = asked.order, asked.idem, group.facts
        if idem is not None and (earlier := group.by_key.get(idem[0])) is not None:
            raise IdemTaken(earlier)
        if len(group.placed) >= group.room:
            raise overloaded()
        permit = await self._permit(order, group, user)
        book, part, rung = await facts.book(order), await facts.part(order), order.rung
        minutes = self._minutes(part, order)
        number = rung.e164 if rung is not None else None if permit is None else permit.e164
        new = NewCall(
            id=ids.new_id() if rung is None else rung.call_id,
            user_id=user.id,
            persona_id=part.persona.id,
            channel=order.channel,
            created_at=facts.now if rung is None else rung.at,
            price_ids=tuple(price.price_id for price in book),
            owner=self._node,
            scenario_id=order.scenario_id,
            phone_e164=number,
            context=order.context,
            variables=json.dumps(dict(order.variables)),
            max_minutes=minutes,
            idem_key=None if idem is None else idem[0],
            idem_hash=None if idem is None else idem[1],
            scheduled_call_id=None if order.scheduled is None else order.scheduled.dial_id,
            direction="outbound" if rung is None else "inbound",
        )
        row = calls.fresh(new)
        funded = await self._fund(row, part, book, order, facts)
        admitted = Admitted(
            row, funded.started, part.voice, part.persona.model, funded.held, funded.margin, permit
        )
        await self._let_in(group, new, order, admitted)
        return admitted

    async def _let_in(self, group: _Group, new: NewCall, order: PlaceCall, admitted: Admitted) -> None:
        """The next order finds one call more, of this number too."""
        group.placed.append((new, order, admitted))
        if new.idem_key is not None:
            group.by_key[new.idem_key] = admitted.row
        if admitted.permit is not None:
            (await group.facts.phone()).rung(group.facts.now)

    async def _write(self, tx: Tx, user: User, group: _Group) -> None:
        if not group.placed:
            return
        await calls.create_all(tx, [new for new, _, _ in group.placed])
        rung = [
            Dialled(admitted.permit.e164, admitted.permit.purpose, new.id)
            for new, _, admitted in group.placed
            if admitted.permit is not None
        ]
        await dials.add(tx, user.id, rung, group.facts.now)
        for new, order, _ in group.placed:
            if order.scheduled is not None:
                # In this transaction: either there is a call and its dial is on record, or neither.
                await schedules.dialed(tx, order.scheduled, new.id)
        await (await group.facts.purse()).write(tx)
        uses = Counter(new.scenario_id for new, _, _ in group.placed if new.scenario_id is not None)
        for scenario_id in sorted(uses):
            await scenarios.used(tx, scenario_id, uses[scenario_id])

    async def _permit(self, order: PlaceCall, group: _Group, user: User) -> Permit | None:
        """The leave to ring; a call in the browser, or one that came in, rings nothing and only counts among the user's
        calls."""
        if order.channel == "phone" and order.rung is None:
            phone = await group.facts.phone()
            return phone.permit(order.purpose, self._settings, group.facts.now, beside=len(group.placed))
        if await group.facts.live() + len(group.placed) >= self._at_once(user):
            raise permits.refusal(NotAllowed(Why.USER_BUSY))
        return None

    def _at_once(self, user: User) -> int:
        settings = self._settings
        return (
            settings.inbound_trials_at_once if user.id == strangers.ACCOUNT else settings.max_calls_per_user
        )

    def _bounds(self, part: casting.Part, order: PlaceCall, now: datetime) -> Limits:
        bounds = casting.limits(self._settings, part.persona, self._minutes(part, order))
        # The socket is waited for from the answer on, and that was before the menu.
        return replace(bounds, connect_ms=bounds.connect_ms + _connected_ms(order, now))

    async def least(self, tx: Tx, order: PlaceCall) -> tuple[Nanos, Nanos]:
        """What a stranger's call needs set aside before it begins, and what of it is one minute of the line."""
        now = self._clock.utc()
        rows = await pricing.current(tx, now, self._settings.price_list)
        book = casting.pinned(rows, self._engines, order.channel, "inbound")
        part = casting.stranger(await persona_of(tx, order.persona_id))
        greeting = casting.phrases(part, self._settings).greeting
        bounds = self._bounds(part, order, now)
        needed = casting.admission(self._settings, book, bounds, casting.layers(part), greeting)
        return needed.at_least, needed.margin

    async def recast(self, tx: Tx, row: CallRow) -> Admitted:
        """The first event of a call that was placed before, made anew from what is known of it today.

        Raises `LookupError` for a call of nobody, or one without its hold.
        """
        user, hold = await users.by_id(tx, row.user_id), await ledger.hold_of(tx, row.id)
        if user is None or hold is None:
            raise LookupError(row.id)
        order = PlaceCall(
            row.persona_id, row.scenario_id, row.context, row.max_minutes, row.channel,
            variables=open_points.kept(row.variables),
        )  # fmt: skip
        if row.direction == "inbound":
            order = replace(order, rung=Rung(row.id, row.sid or "", row.created_at, row.phone_e164))
        facts = Facts(tx, self._settings, self._engines, user, self._clock.utc())
        try:
            part = await facts.part(order)
        except Refused:  # the scenario was deleted since, or leaves other things open now
            part = await facts.part(replace(order, scenario_id=None, variables={}))
        pinned = {priced.price.price_id: priced.price for priced in await pricing.by_ids(tx, row.price_ids)}
        book = tuple(pinned[ident] for ident in row.price_ids)
        bounds = casting.limits(self._settings, part.persona, row.max_minutes)
        greeting = casting.phrases(part, self._settings).greeting
        admitted = casting.admission(self._settings, book, bounds, casting.layers(part), greeting)
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

    def _minutes(self, part: casting.Part, order: PlaceCall) -> int:
        return longest(
            order=order.max_minutes,
            scenario=part.scenario.max_minutes if part.scenario else None,
            persona=part.persona.max_minutes,
            server=self._settings.max_call_minutes,
        ).minutes

    async def _fund(
        self, row: CallRow, part: casting.Part, book: tuple[Price, ...], order: PlaceCall, facts: Facts
    ) -> Funded:
        system, greeting = casting.layers(part), casting.phrases(part, self._settings).greeting
        bounds, connected_ms = self._bounds(part, order, facts.now), _connected_ms(order, facts.now)
        admitted = casting.admission(self._settings, book, bounds, system, greeting, connected_ms)
        purse = await facts.purse()
        grant = purse.first(row.id, row.epoch, at_least=admitted.at_least, wanted=admitted.at_least)
        if grant is None:
            raise _too_little(purse, row, admitted.at_least)
        money = casting.allowance(grant, admitted)
        started = casting.started(
            row.id, part, self._settings, self._engines, book, money, bounds, row.created_at
        )
        return Funded(started, grant.held, admitted.margin)


def _connected_ms(order: PlaceCall, now: datetime) -> int:
    """How long the line of a call that came in is up already."""
    return 0 if order.rung is None else max(0, round((now - order.rung.at).total_seconds() * 1000))


def overloaded() -> Refused:
    return Refused("overloaded", "The server takes no more calls just now.", status=503, retry_after=30)


def _too_little(purse: ledger.Drawing, row: CallRow, needed: Nanos) -> Refused:
    """Which of the limits was too low."""
    left = purse.budgets_left(row.id)
    kind = min(left, key=lambda kind: left[kind], default=None)
    if kind is not None and left[kind] < needed:
        return _refusal("budget_exhausted", BUDGETS[kind], needed, left[kind])
    return _refusal("insufficient_credit", "your available credit", needed, purse.available)


BUDGETS = {
    "call": "your budget per call", "day": "what is left of your daily budget",
    "month": "what is left of your monthly budget",
}  # fmt: skip


def _cents(amount: Nanos, *, up: bool = False) -> str:
    """Dollars and cents for a sentence; of what is there too little of never more than there is."""
    cents = -(-amount // NANOS_PER_CENT) if up else amount // NANOS_PER_CENT
    return f"${cents // 100}.{cents % 100:02d}"


def _refusal(code: str, what: str, needed: Nanos, available: Nanos) -> Refused:
    figures = {"needed_usd": usd(needed), "available_usd": usd(available)}
    return Refused(
        code,
        f"The first minute may cost {_cents(needed, up=True)}, and {what} is {_cents(available)}.",
        status=402,
        members=figures,
    )
