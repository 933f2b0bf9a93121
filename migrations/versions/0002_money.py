"""Prices, accounts, holds, budgets and what calls cost."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
    true,
)

from storage.columns import BIG_ID, Moment, check, count, moment, nanos, words, written

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _pricing()
    _user_credits()
    _credit_transactions()
    _user_budget_settings()
    _budget_periods()
    _credit_holds()
    _call_cost_breakdowns()
    _call_cost_events()
    _operator_losses()


def _user() -> Column[str]:
    return Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


def _call() -> Column[str]:
    return Column("call_id", Text, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False)


def _pricing() -> None:
    op.create_table(
        "pricing",
        Column("id", BIG_ID, primary_key=True, autoincrement=True),
        words("provider"),
        words("service", default=None),
        words("model", default=None),
        words("unit", default=None),
        Column("price_nano", BigInteger, nullable=False),
        count("block_units", 1),
        count("increment", 1),
        count("minimum"),
        words("price_list", default="list"),
        words("note"),
        words("source"),
        Column("seen_on", Date),
        Column("effective_from", Moment, nullable=False),
        moment("effective_to"),
        UniqueConstraint("service", "model", "unit", "price_list", "effective_from", name="uq_pricing_line"),
        check("price_nano >= 0 AND block_units > 0 AND increment > 0 AND minimum >= 0", "pricing_figures"),
        check("price_list IN ('list', 'free')", "pricing_list"),
    )


def _user_credits() -> None:
    op.create_table(
        "user_credits",
        Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        nanos("balance_nano"),
        nanos("held_nano"),
        written("updated_at"),
        # The last guard: `storage.ledger` never asks for more than is free.
        check("held_nano >= 0 AND balance_nano >= held_nano", "user_credits_money"),
    )


def _credit_transactions() -> None:
    op.create_table(
        "credit_transactions",
        Column("id", BIG_ID, primary_key=True, autoincrement=True),
        _user(),
        Column("call_id", Text),
        words("kind", default=None),
        Column("amount_nano", BigInteger, nullable=False),
        Column("balance_after_nano", BigInteger, nullable=False),
        words("idem_key", default=None),
        words("note"),
        written(),
        UniqueConstraint("idem_key", name="uq_credit_transactions_idem_key"),
        check("balance_after_nano >= 0", "credit_transactions_money"),
        Index("ix_credit_transactions_user", "user_id", "id"),
        Index("ix_credit_transactions_call", "call_id"),
    )


def _user_budget_settings() -> None:
    op.create_table(
        "user_budget_settings",
        Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        Column("per_call_nano", BigInteger),
        Column("daily_nano", BigInteger),
        Column("monthly_nano", BigInteger),
        count("warn_percent", 80),
        Column("auto_cutoff", Boolean, nullable=False, server_default=true()),
        written("updated_at"),
        check("per_call_nano >= 0 AND daily_nano >= 0 AND monthly_nano >= 0", "user_budget_settings_money"),
        check("warn_percent BETWEEN 1 AND 100", "user_budget_settings_warn"),
    )


def _budget_periods() -> None:
    op.create_table(
        "budget_periods",
        _user(),
        Column("key", Text, nullable=False),
        Column("limit_nano", BigInteger),
        nanos("spent_nano"),
        nanos("held_nano"),
        moment("closed_at"),
        PrimaryKeyConstraint("user_id", "key"),
        check("spent_nano >= 0 AND held_nano >= 0", "budget_periods_money"),
        check("spent_nano + held_nano <= limit_nano", "budget_periods_limit"),
    )


def _credit_holds() -> None:
    op.create_table(
        "credit_holds",
        # Checked at commit: a call and its hold are written in one transaction, in either order.
        Column(
            "call_id",
            Text,
            ForeignKey("calls.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
            primary_key=True,
        ),
        _user(),
        count("epoch", 1),
        nanos("amount_nano"),
        nanos("used_nano"),
        words("status", default="open"),
        written("opened_at"),
        moment("closed_at"),
        check("used_nano >= 0 AND amount_nano >= used_nano", "credit_holds_money"),
        check("status IN ('open', 'closed')", "credit_holds_status"),
        Index("ix_credit_holds_user", "user_id", "status"),
    )  # fmt: skip


def _call_cost_breakdowns() -> None:
    op.create_table(
        "call_cost_breakdowns",
        _call(),
        Column("line", Text, nullable=False),
        Column("service", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("unit", Text, nullable=False),
        count("quantity"),
        nanos("amount_nano"),
        count("as_of_second"),
        PrimaryKeyConstraint("call_id", "line"),
        # Not of the amount: a refund is first offered as a row of its own, and that is negative.
        check("quantity >= 0", "call_cost_breakdowns_quantity"),
    )


def _call_cost_events() -> None:
    op.create_table(
        "call_cost_events",
        _call(),
        Column("line", Text, nullable=False),
        Column("from_qty", BigInteger, nullable=False),
        Column("to_qty", BigInteger, nullable=False),
        Column("nano", BigInteger, nullable=False),
        Column("seq", BigInteger, nullable=False),
        count("second"),
        written("at"),
        Column("node", Text, nullable=False, server_default=text("''")),
        Column("status", Text, nullable=False, server_default=text("'confirmed'")),
        # A refund ends where a bought tile begins, so the status belongs to the key.
        PrimaryKeyConstraint("call_id", "line", "from_qty", "status"),
        UniqueConstraint("call_id", "seq", name="uq_call_cost_events_seq"),
        check("status IN ('confirmed', 'unconfirmed', 'adjust')", "call_cost_events_status"),
    )


def _operator_losses() -> None:
    op.create_table(
        "operator_losses", Column("id", BIG_ID, primary_key=True, autoincrement=True),
        Column("call_id", Text, nullable=False), words("reason"),
        Column("amount_nano", BigInteger, nullable=False), written(),
        UniqueConstraint("call_id", "reason", name="uq_operator_losses_call_reason"),
    )  # fmt: skip
