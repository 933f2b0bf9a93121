"""Whom a caller reaches: a user the persona that rang them last, a stranger the first there is."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.core.errors import Refused
from server.calls import open_points
from server.parts import PlaceCall, Rung
from server.settings import Settings
from storage import calls, personas, scenarios
from storage.db import Tx
from storage.records import CallRow, User

UNANSWERED = frozenset({"busy", "no-answer", "canceled", "failed"})
RETURNED = timedelta(days=1)
"""A missed call that is returned within that is about what it was to be about."""


async def stranger_order(tx: Tx, settings: Settings, rung: Rung) -> PlaceCall:
    persona = next(iter(await personas.all(tx)), None)
    if persona is None:
        raise Refused("not_found", "There is no persona.", status=404)
    return PlaceCall(persona.id, None, "", settings.inbound_trial_minutes, "phone", rung=rung)


async def user_order(tx: Tx, user: User, minutes: int | None, now: datetime, rung: Rung | None) -> PlaceCall:
    """The call a user asks for by ringing: with whoever rang them last; a missed call is taken up where it was."""
    last = await calls.latest_to_phone(tx, user.id)
    if last is None:
        persona = await personas.closest(tx, user.id)
        if persona is None:
            raise Refused("not_found", "There is no persona.", status=404)
        return PlaceCall(persona.id, None, "", minutes, "phone", rung=rung)
    if last.status not in UNANSWERED or now - last.created_at > RETURNED:
        return PlaceCall(last.persona_id, None, "", minutes, "phone", rung=rung)
    scenario_id = await _scenario(tx, last)
    return PlaceCall(last.persona_id, scenario_id, last.context, minutes, "phone", rung=rung)


async def _scenario(tx: Tx, missed: CallRow) -> str | None:
    """The missed call's, where it still is and leaves nothing open that only that call had said."""
    if missed.scenario_id is None:
        return None
    scenario = await scenarios.get(tx, missed.user_id, missed.scenario_id)
    if scenario is None:
        return None
    try:
        open_points.checked(scenario, {})
    except Refused:
        return None
    return scenario.id
