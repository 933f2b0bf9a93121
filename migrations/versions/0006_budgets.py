"""Which budget periods hold how much of each call."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Index, PrimaryKeyConstraint, Text

from storage.columns import check, nanos

revision = "0006"
down_revision = "0010"

# Holds made before there were daily and monthly budgets lie in the period of their call alone.
EARLIER = """
    INSERT INTO hold_periods (call_id, user_id, key, held_nano, spent_nano)
    SELECT h.call_id, h.user_id, b.key, b.held_nano, b.spent_nano
    FROM credit_holds h JOIN budget_periods b ON b.user_id = h.user_id AND b.key = 'call:' || h.call_id"""


def upgrade() -> None:
    op.create_table(
        "hold_periods",
        Column("call_id", Text, ForeignKey("credit_holds.call_id", ondelete="CASCADE"), nullable=False),
        Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        Column("key", Text, nullable=False),
        nanos("held_nano"),
        nanos("spent_nano"),
        PrimaryKeyConstraint("call_id", "key"),
        check("held_nano >= 0 AND spent_nano >= 0", "hold_periods_money"),
        Index("ix_hold_periods_period", "user_id", "key"),
    )
    op.execute(EARLIER)
