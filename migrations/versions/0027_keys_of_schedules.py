"""A schedule has the idempotency key it was asked for under, so that asking again makes no second one"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

from storage.columns import Words

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.add_column("scheduled_calls", Column("idem_key", Words))
    op.add_column("scheduled_calls", Column("idem_hash", Text))
    op.create_index(
        "uq_scheduled_calls_user_idem_key", "scheduled_calls", ["user_id", "idem_key"], unique=True
    )
