"""The time zone of a call's budgets, which stays though its user's changes, and the zones of days and months"""

from __future__ import annotations

from alembic import op

from storage.columns import words

revision = "0021"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("budget_periods", words("zones"))
    op.add_column("credit_holds", words("timezone"))
    # Until now everything went by the zone that its user has.
    op.execute(
        "UPDATE budget_periods SET zones = (SELECT timezone FROM users WHERE users.id = budget_periods.user_id)"
        " WHERE key NOT LIKE 'call:%'"
    )
    op.execute(
        "UPDATE credit_holds SET timezone = (SELECT timezone FROM users WHERE users.id = credit_holds.user_id)"
    )
