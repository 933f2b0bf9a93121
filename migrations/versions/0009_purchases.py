"""Credit packs: what was ordered, and what the payment provider took back of it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Text, UniqueConstraint, false

from storage.columns import check, count, moment, name, nanos, words, written

revision = "0009"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "purchases",
        name(),
        Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        words("pack", default=None),
        Column("amount_cents", BigInteger, nullable=False),
        words("currency", default="usd"),
        Column("livemode", Boolean, nullable=False, server_default=false()),
        words("status", default="open"),
        Column("idem_key", Text),
        Column("session_id", Text),
        Column("checkout_url", Text),
        Column("payment_intent", Text),
        count("reversed_cents"),
        nanos("taken_nano"),
        nanos("lost_nano"),
        count("takebacks"),
        written("created_at"),
        written("updated_at"),
        moment("paid_at"),
        UniqueConstraint("user_id", "idem_key", name="uq_purchases_idem_key"),
        UniqueConstraint("session_id", name="uq_purchases_session"),
        UniqueConstraint("payment_intent", name="uq_purchases_payment_intent"),
        check("status IN ('open', 'expired', 'failed', 'paid', 'refunded')", "purchases_status"),
        check("amount_cents > 0 AND reversed_cents BETWEEN 0 AND amount_cents", "purchases_cents"),
        check("taken_nano >= 0 AND lost_nano >= 0", "purchases_money"),
        check("taken_nano + lost_nano = reversed_cents * 10000000", "purchases_reversed"),
        Index("ix_purchases_user", "user_id", "created_at"),
        Index("ix_purchases_status", "status", "created_at"),
    )
    op.create_table(
        "payment_reversals",
        name(),
        Column("payment_intent", Text, nullable=False),
        words("kind", default=None),
        count("cents"),
        words("status", default="standing"),
        written("created_at"),
        written("updated_at"),
        check("kind IN ('refund', 'dispute')", "payment_reversals_kind"),
        check("status IN ('standing', 'won')", "payment_reversals_status"),
        check("cents >= 0", "payment_reversals_cents"),
        Index("ix_payment_reversals_payment_intent", "payment_intent"),
    )
