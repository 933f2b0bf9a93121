"""What a call says of the things its scenario leaves open, for whoever goes on with it"""

from __future__ import annotations

from alembic import op

from storage.columns import words

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("calls", words("variables", default="{}"))
