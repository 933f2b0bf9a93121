"""Several nodes on one database: where each is reached, and what they leave for one another."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, ForeignKey, Index, Text, false

from storage.columns import BIG_ID, name, words, written

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("nodes", words("url"))
    op.add_column("nodes", Column("draining", Boolean, nullable=False, server_default=false()))
    op.create_table(
        "call_messages",
        Column("id", BIG_ID, primary_key=True, autoincrement=True),
        Column("call_id", Text, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False),
        words("kind", default=None),
        words("payload", default="{}"),
        written(),
        Index("ix_call_messages_call", "call_id", "id"),
    )
    op.create_table("bus_parcels", name(), words("body", default=None), written())
    op.create_table("erased_calls", name("call_id"), written("erased_at"))
