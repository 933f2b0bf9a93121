"""Credit packs: credited when they are paid, and what was reversed of them (a part of I12)."""

from __future__ import annotations

from storage.audit.report import Breach, broken
from storage.db import Tx


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
                d.disputed
                    + CASE WHEN d.totals - d.failed > d.single THEN d.totals - d.failed ELSE d.single END AS known
            FROM purchases p JOIN (
                SELECT p.id AS id,
                    COALESCE(SUM(CASE WHEN r.kind = 'dispute' AND r.status = 'standing'
                        THEN r.cents END), 0) AS disputed,
                    COALESCE(SUM(CASE WHEN r.kind = 'refund' AND r.charge IS NULL THEN r.cents END), 0) AS totals,
                    COALESCE(SUM(CASE WHEN r.charge IS NOT NULL AND r.failed_at IS NULL
                        THEN r.cents END), 0) AS single,
                    COALESCE(SUM(CASE WHEN r.charge IS NOT NULL AND r.failed_at IS NOT NULL
                        THEN r.cents END), 0) AS failed
                FROM purchases p LEFT JOIN payment_reversals r ON r.payment_intent = p.payment_intent
                GROUP BY p.id) AS d ON d.id = p.id) AS facts
        WHERE reversed <> CASE WHEN known < cents THEN known ELSE cents END
            OR (status = 'refunded') <> (reversed = cents)"""
    return [
        *await broken(tx, "I12", credited),
        *await broken(tx, "I12", unordered),
        *await broken(tx, "I12", taken),
        *await broken(tx, "I12", reversed_),
    ]
