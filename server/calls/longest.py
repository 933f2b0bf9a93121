"""How long a call may be, and who says so: the shortest of what was asked for and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from storage import personas, scenarios
from storage.db import Tx

LimitedBy = Literal["order", "scenario", "persona", "server"]


@dataclass(frozen=True, slots=True)
class Longest:
    minutes: int
    by: LimitedBy


def longest(*, order: int | None, scenario: int | None, persona: int | None, server: int) -> Longest:
    """In minutes; None leaves it to the others. Of two that are equal the one nearer to the order is named."""
    said: list[tuple[int | None, LimitedBy]] = [
        (order, "order"), (scenario, "scenario"), (persona, "persona"), (server, "server"),
    ]  # fmt: skip
    return min(
        (Longest(minutes, by) for minutes, by in said if minutes is not None), key=lambda one: one.minutes
    )


async def allowed(
    tx: Tx, user_id: str, *, order: int | None, scenario_id: str | None, persona_id: str | None, server: int
) -> Longest:
    """As `longest`, by their ids. Raises `LookupError` for one that is not there."""
    scenario = None if scenario_id is None else await scenarios.get(tx, user_id, scenario_id)
    persona = None if persona_id is None else await personas.by_id(tx, persona_id)
    if (scenario_id is not None and scenario is None) or (persona_id is not None and persona is None):
        raise LookupError
    return longest(
        order=order,
        scenario=None if scenario is None else scenario.max_minutes,
        persona=None if persona is None else persona.max_minutes,
        server=server,
    )
