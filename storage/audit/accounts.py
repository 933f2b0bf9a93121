"""Accounts: their postings, what is held of them, and that no money came from nowhere (I1, I2, I12)."""

from __future__ import annotations

from storage.audit.report import Breach, broken
from storage.db import Tx


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
    return [*await broken(tx, "I1", sums), *await broken(tx, "I1", homeless), *await broken(tx, "I1", chain)]


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
        *await broken(tx, "I2", accounts),
        *await broken(tx, "I2", periods),
        *await broken(tx, "I2", unbudgeted),
        *await broken(tx, "I2", parts),
    ]


async def money_came_from_somewhere(tx: Tx) -> list[Breach]:
    """I12: what was posted, but for calls, is what accounts have left and closed calls were paid; the rest is zero."""
    clearing = """
        SELECT 'all accounts' AS subject, paid_in, balances, usage_paid FROM (SELECT
            (SELECT COALESCE(SUM(amount_nano), 0) FROM credit_transactions
                WHERE kind NOT IN ('usage', 'adjustment')) AS paid_in,
            (SELECT COALESCE(SUM(balance_nano), 0) FROM user_credits) AS balances,
            (SELECT COALESCE(SUM(settled_nano), 0) FROM calls) AS usage_paid) AS clearing
        WHERE paid_in <> balances + usage_paid"""
    signs = """
        SELECT user_id AS subject, id AS posting, kind, amount_nano AS amount FROM credit_transactions
        WHERE kind = 'usage' AND amount_nano > 0"""
    return [*await broken(tx, "I12", clearing), *await broken(tx, "I12", signs)]
