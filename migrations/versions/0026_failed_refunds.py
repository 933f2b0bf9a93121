"""A single refund says by a column of its own that it failed: versions before 0025 count it no second time"""

from __future__ import annotations

from alembic import op

from storage.columns import moment

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("payment_reversals", moment("failed_at"))
    op.execute(
        "UPDATE payment_reversals SET failed_at = updated_at WHERE charge IS NOT NULL AND status = 'won'"
    )
    op.execute("UPDATE payment_reversals SET status = 'won' WHERE charge IS NOT NULL")
