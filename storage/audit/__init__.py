"""The books, checked: the invariants of the ledger on the live database, in one read snapshot.

Only looks; it never repairs. Each query answers the rows that break one promise, so a clean ledger answers nothing.
The promises are in `report.py`, the checks in `accounts.py`, `purchases.py`, `charges.py` and `closing.py`, the sums
in `figures.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import select, text

from storage.audit import accounts, charges, closing, figures, purchases
from storage.audit.report import (
    PROMISES,
    AuditReport,
    Breach,
    Check,
    Figures,
    Invariant,
    Promise,
)
from storage.columns import UtcNow
from storage.db import Tx

__all__ = ["PROMISES", "AuditReport", "Breach", "Check", "Figures", "Invariant", "Promise", "audit"]

CHECKS: tuple[Callable[[Tx], Awaitable[list[Breach]]], ...] = (
    accounts.balances_are_their_postings,
    accounts.held_is_the_open_holds,
    charges.tiles_have_no_gap,
    charges.totals_are_their_tiles,
    closing.somebody_paid,
    closing.final_is_final,
    closing.carrier_seconds_are_charged,
    charges.unconfirmed_are_few,
    charges.nobody_wrote_after_losing_it,
    accounts.money_came_from_somewhere,
    purchases.purchases_are_their_postings,
    charges.numbers_have_no_hole,
)


async def audit(tx: Tx, now: datetime | None = None) -> AuditReport:
    """Run it in a read transaction: all checks then see the same moment. `now` is the database's unless told."""
    if tx.dialect.name == "postgresql":
        # Whole tables are read here, which takes longer than a live call's statement may.
        await tx.execute(text("SET LOCAL statement_timeout = '10min'"))
    breaches: list[Breach] = []
    for check in CHECKS:
        breaches += await check(tx)
    breaches += await closing.no_hold_is_forgotten(
        tx, now or (await tx.execute(select(UtcNow()))).scalar_one()
    )
    counts, broken = await figures.counted(tx), Counter(breach.invariant for breach in breaches)
    return AuditReport(
        checks=tuple(Check(promise, counts[promise.over], broken[promise.invariant]) for promise in PROMISES),
        breaches=breaches,
        calls=counts["calls"],
        events=counts["charges"],
        figures=await figures.figures(tx, breaches),
    )
