"""Recurring schedules, what came of each of their runs, leases of claims, and what retention has cleared"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Text, UniqueConstraint, text

from storage.columns import Moment, count, moment, name, words, written

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for column in (
        Column("max_minutes", BigInteger),
        words("skips"),
        words("tzdata"),
        count("retries", 1),
        count("retry_s", 300),
        count("attempt"),
        moment("occurrence_at"),
        moment("late_at"),
        Column("claimed_by", Text),
        moment("lease_until"),
    ):
        op.add_column("scheduled_calls", column)
    op.create_index("ix_scheduled_calls_user", "scheduled_calls", ["user_id", "created_at"])
    op.create_table(
        "scheduled_dials",
        name(),
        Column("schedule_id", Text, ForeignKey("scheduled_calls.id", ondelete="CASCADE"), nullable=False),
        Column("occurrence_at", Moment, nullable=False),
        count("attempt"),
        words("status", default="claimed"),
        count("epoch"),
        words("code"),
        words("detail"),
        Column("call_id", Text),
        written("claimed_at"),
        moment("concluded_at"),
        UniqueConstraint("schedule_id", "occurrence_at", "attempt", name="uq_scheduled_dials_try"),
        Index("ix_scheduled_dials_claimed", "claimed_at"),
        Index(
            "ix_scheduled_dials_open", "status",
            sqlite_where=text("concluded_at IS NULL"), postgresql_where=text("concluded_at IS NULL"),
        ),
    )  # fmt: skip
    op.add_column("jobs", moment("lease_until"))
    op.add_column("jobs", words("error"))
    op.add_column("jobs", moment("finished_at"))
    op.add_column("calls", moment("cleared_at"))
    op.create_index(
        "ix_calls_uncleared", "calls", ["final_at"],
        sqlite_where=text("cleared_at IS NULL"), postgresql_where=text("cleared_at IS NULL"),
    )  # fmt: skip
