"""How the books stand at this moment, from indexes and small tables: cheap enough to be asked every few seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline.core.money import Nanos
from storage.audit.figures import by_kind
from storage.columns import UtcNow
from storage.db import Tx
from storage.records import OVER
from storage.tables import calls, credit_holds, operator_losses


@dataclass(frozen=True, slots=True)
class Standing:
    """Nanodollars and seconds. `exposed` is what open calls cost beyond their holds: 0 unless something is wrong.

    `oldest_unsettled_s` is how long ago the call ended that waits longest for its ledger to be closed.
    """

    losses: Mapping[str, Nanos]
    """What the operator paid, by reason."""
    holds: int
    held: Nanos
    exposed: Nanos
    oldest_unsettled_s: float


async def standing(tx: Tx) -> Standing:
    lost = await tx.execute(
        select(operator_losses.c.reason, func.sum(operator_losses.c.amount_nano)).group_by(
            operator_losses.c.reason
        )
    )
    held: list[int] = []
    exposed, oldest = 0, 0.0
    now = (await tx.execute(select(UtcNow()))).scalar_one()
    query = select(
        calls.c.status_rank,
        calls.c.ended_at,
        calls.c.total_nano,
        calls.c.settled_nano,
        credit_holds.c.amount_nano,
    )
    joined = calls.outerjoin(
        credit_holds, (credit_holds.c.call_id == calls.c.id) & (credit_holds.c.status == "open")
    )
    for row in await tx.execute(query.select_from(joined).where(calls.c.final_at.is_(None))):
        if row.amount_nano is not None:
            held.append(row.amount_nano)
        exposed += max(0, row.total_nano - row.settled_nano - (row.amount_nano or 0))
        if row.status_rank >= OVER and row.ended_at is not None:
            oldest = max(oldest, (now - row.ended_at).total_seconds())
    return Standing(
        losses=by_kind((reason, int(nano)) for reason, nano in lost),
        holds=len(held),
        held=Nanos(sum(held)),
        exposed=Nanos(exposed),
        oldest_unsettled_s=oldest,
    )
