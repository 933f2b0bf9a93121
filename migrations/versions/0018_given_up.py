"""Calls that the carrier is asked to end and has not ended yet: no node connects anybody to them"""

from __future__ import annotations

from alembic import op

from storage.columns import moment

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("calls", moment("given_up_at"))
