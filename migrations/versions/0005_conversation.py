"""How fast turns were answered, and what replies begun early came to."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, PrimaryKeyConstraint, Text, false

from storage.columns import nanos

revision = "0005"
down_revision = "0004"

STAGES = ("end_of_turn_ms", "first_token_ms", "first_audio_ms", "first_frame_ms", "audible_ms")


def upgrade() -> None:
    for stage in STAGES:
        op.add_column("call_turns", Column(stage, BigInteger))
    op.create_table(
        "call_eager_replies",
        Column("call_id", Text, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False),
        Column("reply", BigInteger, nullable=False),
        Column("committed", Boolean, nullable=False, server_default=false()),
        nanos("nano"),
        PrimaryKeyConstraint("call_id", "reply"),
    )
