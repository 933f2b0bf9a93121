"""What of an interrupted turn was to be said and was not heard any more"""

from __future__ import annotations

from alembic import op

from storage.columns import words

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("call_turns", words("unheard"))
