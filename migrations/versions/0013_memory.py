"""What a persona remembers of a person, what was deleted of it, and how each of them is to be spoken with"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, ForeignKey, PrimaryKeyConstraint, Text

from storage.columns import words, written

revision = "0013"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("memories", words("kind", default="fact"))
    op.add_column("memories", words("subject"))
    op.add_column("memories", Column("said_on", Date))
    op.create_table(
        "forgotten",
        Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        Column("persona_id", Text, ForeignKey("personas.id"), nullable=False),
        Column("mark", Text, nullable=False),
        written(),
        PrimaryKeyConstraint("user_id", "persona_id", "mark"),
    )
    op.add_column("personas", words("model"))
    op.add_column("user_persona_relationships", words("voice"))
    op.add_column("user_persona_relationships", words("manner"))
    op.add_column("calls", Column("memory", Text))
