"""May this call be placed, and with how much money: decided in one transaction, before anything rings.

Writes the call's row and the hold that pays for it together, or neither. Whether the number
may be rung at all is `numbers.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from pipeline.core.events import CallStarted
from pipeline.core.money import Nanos, usd
from pipeline.core.tariff import Price
from pipeline.core.terms import Limits
from pipeline.ports import Engines
from server import casting
from server.parts import PlaceCall
from server.remembering import today
from server.settings import Settings
from storage import calls, ids, ledger, memories, opt_outs, personas, pricing, scenarios
from storage.db import Tx
from storage.records import CallRow, IdemTaken, NewCall, User


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call whose money is set aside: its row, its first event, its persona's voice and model."""

    row: CallRow
    started: CallStarted
    voice: str
    model: str


class Admissions:
    def __init__(self, settings: Settings, engines: Engines, clock: Clock, node: str) -> None:
        self._settings = settings
        self._engines = engines
        self._clock = clock
        self._node = node

    async def admit(
        self, tx: Tx, user: User, order: PlaceCall, e164: str | None, idem: tuple[str, str] | None
    ) -> Admitted:
        """Raises `Refused`, or `IdemTaken` where the same request came through meanwhile."""
        # First of all: orders of one user queue here, so that each sees the call and the key of the one before.
        await ledger.lock_account(tx, user.id)
        if idem is not None and (earlier := await calls.by_idem(tx, user.id, idem[0])) is not None:
            raise IdemTaken(earlier)
        now = self._clock.utc()
        if e164 is not None and await opt_outs.has(tx, e164):
            raise Refused(
                "opted_out",
                "Somebody at this number asked for no more calls. Verify the number again to lift that: "
                "POST /api/me/phone.",
                status=403,
            )
        part = await self._part(tx, user, order)
        if await calls.count_live(tx, user.id) >= 1:
            raise Refused("call_in_progress", "Your phone is already on a call with us.", status=409)
        book = casting.pinned(
            await pricing.current(tx, now, self._settings.price_list), self._engines, order.channel
        )
        minutes = self._minutes(part, order)
        bounds = casting.limits(self._settings, part.persona, minutes)
        new = NewCall(
            id=ids.new_id(),
            user_id=user.id,
            persona_id=part.persona.id,
            channel=order.channel,
            created_at=now,
            price_ids=tuple(price.price_id for price in book),
            owner=self._node,
            scenario_id=order.scenario_id,
            phone_e164=e164,
            context=order.context,
            max_minutes=minutes,
            idem_key=None if idem is None else idem[0],
            idem_hash=None if idem is None else idem[1],
        )
        row = await calls.create(tx, new)
        started = await self._fund(tx, row, part, book, bounds)
        if order.scenario_id is not None:
            await scenarios.used(tx, order.scenario_id)
        return Admitted(row, started, part.voice, part.persona.model)

    async def _part(self, tx: Tx, user: User, order: PlaceCall) -> casting.Part:
        persona = await personas.by_id(tx, order.persona_id)
        if persona is None:
            raise Refused("not_found", "There is no such persona.", status=404)
        scenario = None
        if order.scenario_id is not None:
            scenario = await scenarios.get(tx, user.id, order.scenario_id)
            if scenario is None:
                raise Refused("not_found", "There is no such scenario.", status=404)
        relation = await personas.relationship(tx, user.id, persona.id)
        return casting.Part(
            persona,
            user.name,
            relation,
            scenario,
            order.context,
            memories=tuple(await memories.of(tx, user.id, persona.id)),
            today=today(user, self._clock.utc()),
        )

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
        self, tx: Tx, row: CallRow, part: casting.Part, book: tuple[Price, ...], bounds: Limits
    ) -> CallStarted:
        system, greeting = casting.layers(part), casting.phrases(part, self._settings).greeting
        admitted = casting.admission(book, bounds, system, greeting)
        budget = await ledger.budget(tx, row.user_id)
        limit = budget.per_call_nano if budget.auto_cutoff else None
        granted = await ledger.hold(
            tx, user_id=row.user_id, call_id=row.id, epoch=row.epoch,
            at_least=admitted.at_least, wanted=admitted.wanted, budget_limit=limit,
        )  # fmt: skip
        if granted == 0 and limit is not None and limit < admitted.at_least:
            raise _too_little("budget_exhausted", "your budget per call", admitted.at_least, limit)
        if granted == 0:
            free = (await ledger.balance(tx, row.user_id)).available
            raise _too_little("insufficient_credit", "your available credit", admitted.at_least, free)
        money = casting.allowance(
            granted, admitted, budget.per_call_nano, budget.warn_percent, hard=budget.auto_cutoff
        )
        return casting.started(
            row.id, part, self._settings, self._engines, book, money, bounds, row.created_at
        )


def _too_little(code: str, what: str, needed: Nanos, available: Nanos) -> Refused:
    figures = {"needed_usd": usd(needed), "available_usd": usd(available)}
    return Refused(
        code,
        f"The first minute needs {usd(needed)} USD set aside; {what} is {usd(available)} USD.",
        status=402,
        members=figures,
    )
