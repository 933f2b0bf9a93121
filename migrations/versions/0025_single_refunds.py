"""A refund by itself is kept beside the total of its charge: it may fail later"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("payment_reversals", sa.Column("charge", sa.Text))
