"""The time zone of a call's budgets, the zones of days and months, and up to when a user knows what was missed"""

from __future__ import annotations

from alembic import op

from storage.columns import moment, words

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("budget_periods", words("zones"))
    op.add_column("credit_holds", words("timezone"))
    op.add_column("users", moment("missed_seen_at"))
    # Until now everything went by the zone that its user has.
    op.execute(
        "UPDATE budget_periods SET zones = (SELECT timezone FROM users WHERE users.id = budget_periods.user_id)"
        " WHERE key NOT LIKE 'call:%'"
    )
    op.execute(
        "UPDATE credit_holds SET timezone = (SELECT timezone FROM users WHERE users.id = credit_holds.user_id)"
    )
