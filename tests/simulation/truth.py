"""The ledger held to what the telephone network knows: the provider of record."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from storage.db import Tx
from tests.simulation.telephone import Network

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
    charged: int
    problems: tuple[str, ...]


async def compare(tx: Tx, network: Network) -> Truth:
    rows = (
        await tx.execute(
            text(
                "SELECT c.id, c.twilio_call_sid AS sid, c.epoch, COALESCE(b.quantity, 0) AS billed, c.total_nano"
                " FROM calls c LEFT JOIN call_cost_breakdowns b ON b.call_id = c.id AND b.service = 'carrier'"
            )
        )
    ).all()
    known = {row.id: row for row in rows}
    problems: list[str] = []
    legs: dict[str, list[int]] = {}
    for leg in network.calls.values():
        legs.setdefault(leg.call_id, []).append(leg.seconds)
        if leg.call_id not in known:
            problems.append(f"a leg of the unknown call {leg.call_id}")
    unbilled = 0
    for row in rows:
        found = legs.get(row.id, [])
        if len(found) > 1:
            problems.append(f"call {row.id} was dialled {len(found)} times")
        minutes = sum(-(-seconds // STEP_S) * STEP_S for seconds in found)
        if row.billed > minutes:
            problems.append(f"call {row.id} was billed {row.billed} s, the carrier counts {found}")
        # A call that was answered while its process was dead, and that nobody took: that minute nobody is charged for.
        unbilled += minutes - row.billed
        if minutes - row.billed > (STEP_S * (row.epoch - 1) if row.billed == 0 else 0):
            problems.append(f"call {row.id}: the carrier counts {found} s, {row.billed} billed")
    losses = await tx.execute(
        text("SELECT COALESCE(SUM(amount_nano), 0) FROM operator_losses WHERE reason = 'over_hold'")
    )
    overspent = int(losses.scalar_one())
    if overspent:
        problems.append(f"calls cost {overspent} nanodollars beyond their holds")
    unconfirmed = await tx.execute(
        text("SELECT COALESCE(SUM(amount_nano), 0) FROM operator_losses WHERE reason LIKE 'unconfirmed:%'")
    )
    return Truth(
        legs=len(network.calls),
        taken_over=sum(row.epoch > 1 for row in rows),
        carrier_s=sum(leg.seconds for leg in network.calls.values()),
        billed_s=sum(row.billed for row in rows),
        unbilled_s=unbilled,
        overspent=overspent,
        unconfirmed=int(unconfirmed.scalar_one()),
        charged=sum(row.total_nano for row in rows),
        problems=tuple(problems),
    )
