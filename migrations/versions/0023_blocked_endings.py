"""A blocked number is known again by its last two digits"""

from __future__ import annotations

from alembic import op

from storage.columns import words

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("inbound_blocks", words("last2"))
