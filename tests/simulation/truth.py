"""The ledger held to what the telephone network knows: the provider of record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text

from pipeline.carriers.base import OVER
from storage.db import Tx
from tests.simulation.telephone import Network, NetworkCall

STEP_S = 60


@dataclass(frozen=True, slots=True)
class Truth:
    """Seconds are the carrier's, billed in started minutes; `unbilled_s` nobody paid for, which the operator loses."""

    legs: int
    taken_over: int
    """Calls whose process was gone."""
    carrier_s: int
    billed_s: int
    unbilled_s: int
    overspent: int
    """Nanodollars that calls cost beyond their holds."""
    unconfirmed: int
    """Nanodollars of what dying processes had asked engines for: the operator's."""
    most_unconfirmed: int
    """Of one crash of one call."""
    charged: int
    problems: tuple[str, ...]


async def closed_as_counted(tx: Tx, network: Network) -> list[str]:
    """What is wrong with calls whose books are closed, whatever is adjusted later: what was charged as they were
    closed is what the carrier counts, by itself and not as the ledger has noted it."""
    query = text("""
        SELECT c.id, c.epoch, COALESCE(SUM(e.to_qty - e.from_qty), 0) AS billed FROM calls c
        LEFT JOIN call_cost_events e ON e.call_id = c.id AND e.line LIKE 'carrier:%'
            AND NOT (e.status = 'adjust' AND e.node = '')
        WHERE c.final_at IS NOT NULL GROUP BY c.id, c.epoch""")
    legs = _legs(network)
    problems: list[str] = []
    for row in await tx.execute(query):
        found = legs.get(row.id, [])
        # One that a process dialled after it had lost the call is hung up by its answer's webhook at the latest.
        if row.billed and any(leg.status not in OVER for leg in found):
            problems.append(f"call {row.id} was closed over a leg that goes on")
        elif all(leg.status in OVER for leg in found):
            problems += _differs(row, [leg.seconds for leg in found])
    return problems


def _legs(network: Network) -> dict[str, list[NetworkCall]]:
    legs: dict[str, list[NetworkCall]] = {}
    for leg in network.calls.values():
        legs.setdefault(leg.call_id, []).append(leg)
    return legs


def _minutes(found: Sequence[int]) -> int:
    return sum(-(-seconds // STEP_S) * STEP_S for seconds in found)


def _differs(row: Row[Any], found: Sequence[int]) -> list[str]:
    """A call that was answered while its process was dead, and that nobody took: that minute nobody is charged for."""
    missing = _minutes(found) - row.billed
    if 0 <= missing <= (STEP_S * (row.epoch - 1) if row.billed == 0 else 0):
        return []
    return [f"call {row.id} was billed {row.billed} s, the carrier counts {found}"]


async def compare(tx: Tx, network: Network, *, beyond: bool = False) -> Truth:
    """`beyond`: calls may cost more than their holds."""
    rows = (
        await tx.execute(
            text(
                "SELECT c.id, c.twilio_call_sid AS sid, c.epoch, COALESCE(b.quantity, 0) AS billed, c.total_nano"
                " FROM calls c LEFT JOIN call_cost_breakdowns b ON b.call_id = c.id AND b.service = 'carrier'"
            )
        )
    ).all()
    known = {row.id: row for row in rows}
    legs = _legs(network)
    problems = [f"a leg of the unknown call {call_id}" for call_id in legs if call_id not in known]
    unbilled = 0
    for row in rows:
        found = [leg.seconds for leg in legs.get(row.id, [])]
        if len(found) > 1:
            problems.append(f"call {row.id} was dialled {len(found)} times")
        unbilled += _minutes(found) - row.billed
        problems += _differs(row, found)
    losses = await tx.execute(
        text("SELECT COALESCE(SUM(amount_nano), 0) FROM operator_losses WHERE reason = 'over_hold'")
    )
    overspent = int(losses.scalar_one())
    if overspent and not beyond:
        problems.append(f"calls cost {overspent} nanodollars beyond their holds")
    unconfirmed = await tx.execute(
        text(
            "SELECT COALESCE(SUM(amount_nano), 0) AS nano, COALESCE(MAX(amount_nano), 0) AS most"
            " FROM operator_losses WHERE reason LIKE 'unconfirmed:%'"
        )
    )
    lumps = unconfirmed.one()
    return Truth(
        legs=len(network.calls),
        taken_over=sum(row.epoch > 1 for row in rows),
        carrier_s=sum(leg.seconds for leg in network.calls.values()),
        billed_s=sum(row.billed for row in rows),
        unbilled_s=unbilled,
        overspent=overspent,
        unconfirmed=int(lumps.nano),
        most_unconfirmed=int(lumps.most),
        charged=sum(row.total_nano for row in rows),
        problems=tuple(problems),
    )
