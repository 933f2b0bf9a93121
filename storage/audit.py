"""The books, checked: invariants I1 to I6 and I12 of the ledger, on the live database, in one read snapshot.

Only looks; it never repairs. Each query answers the rows that break one promise, so a clean ledger answers nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select, text

from pipeline.core.tariff import Price, PriceBook, cost
from storage.db import Tx
from storage.pricing import by_ids
from storage.records import OVER
from storage.tables import call_cost_breakdowns, calls

Invariant = Literal["I1", "I2", "I3", "I4", "I5", "I6", "I12"]

CHUNK = 1_000
"""Price lines re-rated at a time."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken promise. `subject` is an id, `detail` figures in nanodollars or units."""

    invariant: Invariant
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`explained_share` is the part of the calls whose every nano is accounted for; 1.0 is right."""

    breaches: list[Breach]
    calls: int
    events: int
    explained_share: float


async def audit(tx: Tx) -> AuditReport:
    """Run it in a read transaction: all checks then see the same moment."""
    if tx.dialect.name == "postgresql":
        # Whole tables are read here, which takes longer than a live call's statement may.
        await tx.execute(text("SET LOCAL statement_timeout = '10min'"))
    breaches: list[Breach] = []
    for check in CHECKS:
        breaches += await check(tx)
    counted = (await tx.execute(text("SELECT count(*) FROM calls"))).scalar_one()
    events = (await tx.execute(text("SELECT count(*) FROM call_cost_events"))).scalar_one()
    unclear = {breach.subject for breach in breaches if breach.invariant in {"I3", "I4", "I5", "I6"}}
    return AuditReport(
        breaches, counted, events, 1.0 if not counted else 1 - min(counted, len(unclear)) / counted
    )


async def _rows(tx: Tx, invariant: Invariant, query: str, **parameters: object) -> list[Breach]:
    """A query answers a subject and then the figures that do not agree, under telling names."""
    return [
        Breach(invariant, str(subject), ", ".join(f"{key} {value}" for key, value in figures.items()))
        for subject, figures in (
            (row["subject"], {key: value for key, value in row.items() if key != "subject"})
            for row in (await tx.execute(text(query), parameters)).mappings()
        )
    ]


async def balances_are_their_postings(tx: Tx) -> list[Breach]:
    """I1: the postings of an account add up to its balance, and each one leaves what it says."""
    sums = """
        SELECT c.user_id AS subject, c.balance_nano AS balance, COALESCE(SUM(t.amount_nano), 0) AS postings
        FROM user_credits c LEFT JOIN credit_transactions t ON t.user_id = c.user_id
        GROUP BY c.user_id, c.balance_nano HAVING c.balance_nano <> COALESCE(SUM(t.amount_nano), 0)"""
    homeless = """
        SELECT t.user_id AS subject, SUM(t.amount_nano) AS postings_without_account FROM credit_transactions t
        WHERE NOT EXISTS (SELECT 1 FROM user_credits c WHERE c.user_id = t.user_id) GROUP BY t.user_id"""
    chain = """
        SELECT user_id AS subject, id AS posting, balance_after_nano AS balance_after, expected FROM (
            SELECT user_id, id, balance_after_nano, amount_nano
                + COALESCE(LAG(balance_after_nano) OVER (PARTITION BY user_id ORDER BY id), 0) AS expected
            FROM credit_transactions) AS chained
        WHERE balance_after_nano <> expected"""
    return [*await _rows(tx, "I1", sums), *await _rows(tx, "I1", homeless), *await _rows(tx, "I1", chain)]


async def held_is_the_open_holds(tx: Tx) -> list[Breach]:
    """I2: 0 <= held <= balance, held is the sum of the open holds, the same for each budget period."""
    accounts = """
        SELECT c.user_id AS subject, c.balance_nano AS balance, c.held_nano AS held,
            COALESCE(SUM(h.amount_nano), 0) AS open_holds
        FROM user_credits c LEFT JOIN credit_holds h ON h.user_id = c.user_id AND h.status = 'open'
        GROUP BY c.user_id, c.balance_nano, c.held_nano
        HAVING c.held_nano <> COALESCE(SUM(h.amount_nano), 0) OR c.held_nano < 0 OR c.held_nano > c.balance_nano"""
    periods = """
        SELECT b.user_id AS subject, b.key AS period, b.held_nano AS held, b.spent_nano AS spent,
            COALESCE(b.limit_nano, -1) AS budget, COALESCE(h.amount_nano, 0) AS open_hold
        FROM budget_periods b LEFT JOIN credit_holds h
            ON b.key = 'call:' || h.call_id AND h.user_id = b.user_id AND h.status = 'open'
        WHERE b.held_nano < 0 OR b.spent_nano < 0 OR b.spent_nano + b.held_nano > b.limit_nano
            OR (b.key LIKE 'call:%' AND b.held_nano <> COALESCE(h.amount_nano, 0))"""
    unbudgeted = """
        SELECT h.user_id AS subject, h.call_id AS hold_without_period, h.amount_nano AS held
        FROM credit_holds h WHERE h.status = 'open' AND NOT EXISTS (
            SELECT 1 FROM budget_periods b WHERE b.user_id = h.user_id AND b.key = 'call:' || h.call_id)"""
    parts = """
        SELECT b.user_id AS subject, b.key AS period, b.held_nano AS held, b.spent_nano AS spent,
            COALESCE(SUM(p.held_nano), 0) AS held_by_calls, COALESCE(SUM(p.spent_nano), 0) AS spent_by_calls
        FROM budget_periods b LEFT JOIN hold_periods p ON p.user_id = b.user_id AND p.key = b.key
        GROUP BY b.user_id, b.key, b.held_nano, b.spent_nano
        HAVING b.held_nano <> COALESCE(SUM(p.held_nano), 0) OR b.spent_nano <> COALESCE(SUM(p.spent_nano), 0)"""
    return [
        *await _rows(tx, "I2", accounts),
        *await _rows(tx, "I2", periods),
        *await _rows(tx, "I2", unbudgeted),
        *await _rows(tx, "I2", parts),
    ]


async def tiles_have_no_gap(tx: Tx) -> list[Breach]:
    """I3: a line's tiles follow each other from 0 and end at the line's quantity; only corrections go back.

    A correction goes up only where the carrier counted more after the call was settled."""
    gaps = """
        SELECT call_id AS subject, line, seq, from_qty AS begins, expected, to_qty AS ends FROM (
            SELECT call_id, line, seq, from_qty, to_qty, nano, status,
                COALESCE(LAG(to_qty) OVER (PARTITION BY call_id, line ORDER BY seq), 0) AS expected
            FROM call_cost_events WHERE status <> 'unconfirmed') AS laid
        WHERE from_qty <> expected
            OR (status = 'confirmed' AND (to_qty <= from_qty OR nano < 0))
            OR (status = 'adjust' AND (to_qty = from_qty OR (to_qty < from_qty AND nano > 0) OR (to_qty > from_qty
                AND (nano < 0 OR (line NOT LIKE 'carrier:%' AND line NOT LIKE 'stream:%')))))"""
    ends = """
        SELECT b.call_id AS subject, b.line AS line, b.quantity AS quantity,
            COALESCE(SUM(e.to_qty - e.from_qty), 0) AS tiles
        FROM call_cost_breakdowns b LEFT JOIN call_cost_events e
            ON e.call_id = b.call_id AND e.line = b.line AND e.status <> 'unconfirmed'
        GROUP BY b.call_id, b.line, b.quantity HAVING b.quantity <> COALESCE(SUM(e.to_qty - e.from_qty), 0)"""
    unlisted = """
        SELECT DISTINCT e.call_id AS subject, e.line AS line_without_breakdown FROM call_cost_events e
        WHERE NOT EXISTS (
            SELECT 1 FROM call_cost_breakdowns b WHERE b.call_id = e.call_id AND b.line = e.line)"""
    return [*await _rows(tx, "I3", gaps), *await _rows(tx, "I3", ends), *await _rows(tx, "I3", unlisted)]


async def totals_are_their_tiles(tx: Tx) -> list[Breach]:
    """I4: tiles add up to each line, lines to the call, and both to what the pinned prices make of the quantities."""
    lines = """
        SELECT b.call_id AS subject, b.line AS line, b.amount_nano AS amount, COALESCE(SUM(e.nano), 0) AS tiles
        FROM call_cost_breakdowns b LEFT JOIN call_cost_events e
            ON e.call_id = b.call_id AND e.line = b.line AND e.status <> 'unconfirmed'
        GROUP BY b.call_id, b.line, b.amount_nano HAVING b.amount_nano <> COALESCE(SUM(e.nano), 0)"""
    totals = """
        SELECT c.id AS subject, c.total_nano AS total, COALESCE(SUM(b.amount_nano), 0) AS lines
        FROM calls c LEFT JOIN call_cost_breakdowns b ON b.call_id = c.id
        GROUP BY c.id, c.total_nano HAVING c.total_nano <> COALESCE(SUM(b.amount_nano), 0)"""
    return [*await _rows(tx, "I4", lines), *await _rows(tx, "I4", totals), *await _rerated(tx)]


async def _rerated(tx: Tx) -> list[Breach]:
    query = select(
        call_cost_breakdowns.c.call_id,
        call_cost_breakdowns.c.line,
        call_cost_breakdowns.c.quantity,
        call_cost_breakdowns.c.amount_nano,
        calls.c.price_ids,
    ).join(calls, calls.c.id == call_cost_breakdowns.c.call_id)
    breaches: list[Breach] = []
    known: dict[int, Price] = {}
    rows = (await tx.execute(query)).partitions(CHUNK)
    for chunk in rows:
        missing = {ident for row in chunk for ident in row.price_ids} - known.keys()
        known |= {priced.price.price_id: priced.price for priced in await by_ids(tx, missing)}
        for call_id, line, quantity, amount, price_ids in chunk:
            book = PriceBook(tuple(known[ident] for ident in price_ids if ident in known))
            try:
                right = cost(book.line(line), quantity)
            except KeyError:
                breaches.append(Breach("I4", call_id, f"line {line}, not in the call's price book"))
                continue
            if right != amount:
                breaches.append(Breach("I4", call_id, f"line {line}, amount {amount}, re-rated {right}"))
    return breaches


async def somebody_paid(tx: Tx) -> list[Breach]:
    """I5: a final call's total is what the user and the operator paid; before that the hold covers what is written."""
    final = """
        SELECT c.id AS subject, c.total_nano AS total, c.settled_nano AS settled,
            COALESCE(t.paid, 0) AS paid_by_user, COALESCE(o.paid, 0) AS paid_by_operator
        FROM calls c
        LEFT JOIN (SELECT call_id, -SUM(amount_nano) AS paid FROM credit_transactions
            WHERE kind IN ('usage', 'adjustment') GROUP BY call_id) AS t ON t.call_id = c.id
        LEFT JOIN (SELECT call_id, SUM(amount_nano) AS paid FROM operator_losses GROUP BY call_id) AS o
            ON o.call_id = c.id
        WHERE c.final_at IS NOT NULL AND (c.settled_nano <> COALESCE(t.paid, 0)
            OR c.total_nano <> COALESCE(t.paid, 0) + COALESCE(o.paid, 0))"""
    running = """
        SELECT c.id AS subject, c.total_nano AS total, c.settled_nano AS settled, COALESCE(h.amount_nano, 0) AS hold
        FROM calls c LEFT JOIN credit_holds h ON h.call_id = c.id AND h.status = 'open'
        WHERE c.final_at IS NULL AND c.total_nano - c.settled_nano > COALESCE(h.amount_nano, 0)"""
    return [*await _rows(tx, "I5", final), *await _rows(tx, "I5", running)]


async def final_is_final(tx: Tx) -> list[Breach]:
    """I6: a final call is over, holds nothing, and was settled by exactly one posting."""
    query = """
        SELECT * FROM (
            SELECT c.id AS subject, c.status AS status, c.status_rank AS status_rank,
                (SELECT COUNT(*) FROM credit_holds h WHERE h.call_id = c.id AND h.status = 'open') AS open_holds,
                (SELECT COUNT(*) FROM credit_transactions t
                    WHERE t.call_id = c.id AND t.idem_key = 'final:' || c.id) AS final_postings,
                (SELECT COUNT(*) FROM credit_transactions t
                    WHERE t.call_id = c.id AND t.kind = 'usage') AS usage_postings
            FROM calls c WHERE c.final_at IS NOT NULL) AS closed
        WHERE status_rank < :over OR open_holds <> 0 OR final_postings <> 1 OR usage_postings <> 1"""
    return await _rows(tx, "I6", query, over=OVER)


async def purchases_are_their_postings(tx: Tx) -> list[Breach]:
    """I12: a pack is credited when it is paid and only then; what was reversed of it is taken back or a loss."""
    credited = """
        SELECT p.id AS subject, p.status AS status, p.amount_cents AS cents, COALESCE(t.amount_nano, 0) AS credited
        FROM purchases p LEFT JOIN credit_transactions t
            ON t.idem_key = 'stripe:' || p.session_id AND t.user_id = p.user_id AND t.kind = 'purchase'
        WHERE COALESCE(t.amount_nano, 0)
            <> CASE WHEN p.status IN ('paid', 'refunded') THEN p.amount_cents * 10000000 ELSE 0 END"""
    unordered = """
        SELECT t.user_id AS subject, t.id AS posting_without_purchase FROM credit_transactions t
        WHERE t.kind = 'purchase' AND t.idem_key LIKE 'stripe:%' AND NOT EXISTS (
            SELECT 1 FROM purchases p WHERE t.idem_key = 'stripe:' || p.session_id AND p.user_id = t.user_id)"""
    taken = """
        SELECT p.id AS subject, p.taken_nano AS taken, COALESCE(SUM(t.amount_nano), 0) AS postings
        FROM purchases p LEFT JOIN credit_transactions t
            ON t.kind = 'refund' AND t.user_id = p.user_id AND SUBSTR(t.idem_key, 8, 32) = p.id
        GROUP BY p.id, p.taken_nano HAVING p.taken_nano <> -COALESCE(SUM(t.amount_nano), 0)"""
    reversed_ = """
        SELECT * FROM (
            SELECT p.id AS subject, p.status AS status, p.amount_cents AS cents, p.reversed_cents AS reversed,
                (SELECT COALESCE(SUM(r.cents), 0) FROM payment_reversals r
                    WHERE r.payment_intent = p.payment_intent AND r.status = 'standing') AS known
            FROM purchases p) AS facts
        WHERE reversed <> CASE WHEN known < cents THEN known ELSE cents END
            OR (status = 'refunded') <> (reversed = cents)"""
    return [
        *await _rows(tx, "I12", credited),
        *await _rows(tx, "I12", unordered),
        *await _rows(tx, "I12", taken),
        *await _rows(tx, "I12", reversed_),
    ]


CHECKS: tuple[Callable[[Tx], Awaitable[list[Breach]]], ...] = (
    balances_are_their_postings,
    held_is_the_open_holds,
    tiles_have_no_gap,
    totals_are_their_tiles,
    somebody_paid,
    final_is_final,
    purchases_are_their_postings,
)
