"""What was dialled lately, quiet hours of one's own, and what came of the codes that were sent"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Index, Text

from storage.columns import Moment, moment, name, words

revision = "0012"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "dials",
        name(),
        Column("user_id", Text, ForeignKey("users.id", ondelete="SET NULL")),
        Column("number_hash", Text, nullable=False),
        words("purpose"),
        Column("call_id", Text, ForeignKey("calls.id", ondelete="SET NULL")),
        Column("at", Moment, nullable=False),
        Index("ix_dials_number", "number_hash", "at"),
        Index("ix_dials_user", "user_id", "at"),
    )
    op.add_column("users", moment("phone_used_at"))
    op.add_column("users", words("phone_notice"))
    op.add_column("users", Column("quiet_hours", Text))
    op.add_column("scheduled_calls", words("reason"))
    op.add_column("phone_verifications", words("region"))
    op.add_column("phone_verifications", words("network"))
    op.add_column("phone_verifications", Column("sid", Text))
