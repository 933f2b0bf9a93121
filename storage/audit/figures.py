"""Sums for the report: how much money moved and how much of it is explained, what is held, what the operator paid."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, text

from pipeline.core.money import Nanos
from storage.audit.report import Breach, Counted, Figures
from storage.db import Tx

CHUNK = 500
OF_ACCOUNTS = frozenset({"I1", "I2"})
"""Invariants whose breaches name a user; those of the others name a call."""

COUNTS: dict[Counted, str] = {
    "accounts": "SELECT COUNT(*) FROM user_credits",
    "postings": "SELECT COUNT(*) FROM credit_transactions",
    "holds": "SELECT COUNT(*) FROM credit_holds",
    "calls": "SELECT COUNT(*) FROM calls",
    "closed calls": "SELECT COUNT(*) FROM calls WHERE final_at IS NOT NULL",
    "open holds": "SELECT COUNT(*) FROM credit_holds WHERE status = 'open'",
    "lines": "SELECT COUNT(*) FROM call_cost_breakdowns",
    "charges": "SELECT COUNT(*) FROM call_cost_events",
    "losses": "SELECT COUNT(*) FROM operator_losses",
}

_USED = """
    SELECT COALESCE(SUM(c.total_nano - c.settled_nano), 0) FROM calls c WHERE c.final_at IS NULL"""
_EXPOSED = """
    SELECT COALESCE(SUM(beyond), 0) FROM (SELECT c.total_nano - c.settled_nano - COALESCE(h.amount_nano, 0) AS beyond
        FROM calls c LEFT JOIN credit_holds h ON h.call_id = c.id AND h.status = 'open'
        WHERE c.final_at IS NULL) AS open_calls WHERE beyond > 0"""
_UNBILLED = """
    SELECT COALESCE(SUM(c.carrier_seconds), 0) FROM calls c WHERE c.final_at IS NOT NULL AND c.channel = 'phone'
        AND NOT EXISTS (SELECT 1 FROM call_cost_breakdowns b WHERE b.call_id = c.id AND b.service = 'carrier')"""
_LUMPS = "SELECT COALESCE(SUM(amount_nano), 0) FROM operator_losses WHERE reason LIKE 'unconfirmed:%'"
_POSTED = "SELECT COALESCE(SUM(ABS(amount_nano)), 0) FROM credit_transactions"
# A posting counts once, whether its account or its call is unclear.
_UNCLEAR_POSTED = text(_POSTED + " WHERE user_id IN :users").bindparams(bindparam("users", expanding=True))
_UNCLEAR_OF_CALLS = text(
    "SELECT user_id, SUM(ABS(amount_nano)) FROM credit_transactions WHERE call_id IN :calls GROUP BY user_id"
).bindparams(bindparam("calls", expanding=True))
_UNCLEAR_OPEN = text(
    "SELECT COALESCE(SUM(total_nano - settled_nano), 0) FROM calls WHERE final_at IS NULL AND id IN :calls"
).bindparams(bindparam("calls", expanding=True))


def by_kind(losses: Iterable[tuple[str, int]]) -> dict[str, Nanos]:
    """Losses by the kind of their reason: what follows a colon only tells one crash of a call from another."""
    found: dict[str, Nanos] = {}
    for reason, nano in losses:
        kind = reason.partition(":")[0]
        found[kind] = Nanos(found.get(kind, 0) + nano)
    return found


async def counted(tx: Tx) -> dict[Counted, int]:
    return {what: await _sum(tx, query) for what, query in COUNTS.items()}


async def figures(tx: Tx, breaches: Iterable[Breach]) -> Figures:
    used = await _sum(tx, _USED)
    volume = await _sum(tx, _POSTED) + used
    losses = await tx.execute(
        text("SELECT reason, SUM(amount_nano) FROM operator_losses GROUP BY reason ORDER BY reason")
    )
    return Figures(
        volume=Nanos(volume),
        explained=Nanos(volume - min(volume, await _unclear(tx, breaches))),
        held=Nanos(await _sum(tx, "SELECT COALESCE(SUM(held_nano), 0) FROM user_credits")),
        used_by_open_calls=Nanos(used),
        exposed=Nanos(await _sum(tx, _EXPOSED)),
        unconfirmed=Nanos(await _sum(tx, _LUMPS)),
        unbilled_seconds=await _sum(tx, _UNBILLED),
        losses=by_kind((str(reason), int(nano)) for reason, nano in losses),
    )


async def _unclear(tx: Tx, breaches: Iterable[Breach]) -> int:
    """The money that a breach touches: all postings of an account, or the posting and the use of a call."""
    found = list(breaches)
    users = {breach.subject for breach in found if breach.invariant in OF_ACCOUNTS}
    calls = sorted({breach.subject for breach in found if breach.invariant not in OF_ACCOUNTS})
    total = 0
    for some in _chunks(sorted(users)):
        total += int((await tx.execute(_UNCLEAR_POSTED, {"users": some})).scalar_one())
    for some in _chunks(calls):
        of_calls = await tx.execute(_UNCLEAR_OF_CALLS, {"calls": some})
        total += sum(int(nano) for user_id, nano in of_calls if user_id not in users)
        total += int((await tx.execute(_UNCLEAR_OPEN, {"calls": some})).scalar_one())
    return total


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]


async def _sum(tx: Tx, query: str) -> int:
    return int((await tx.execute(text(query))).scalar_one())
