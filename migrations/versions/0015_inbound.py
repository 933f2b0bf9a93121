"""Calls in: which way a call went, who rang, numbers that are not answered, and the carrier's price of being rung"""

from __future__ import annotations

from datetime import UTC, date, datetime

from alembic import op
from sqlalchemy import BigInteger, Column, Date, ForeignKey, Index, Text, column, table

from storage.columns import Moment, count, name, words, written

revision = "0015"
down_revision = "0012"

PRICING = table(
    "pricing",
    *(column(text, Text) for text in ("provider", "service", "model", "unit", "note", "source")),
    *(column(number, BigInteger) for number in ("price_nano", "block_units", "increment")),
    column("seen_on", Date),
    column("effective_from", Moment),
)
RUNG = {
    "provider": "twilio", "service": "carrier", "model": "twilio-inbound", "unit": "second", "price_nano": 8_500_000,
    "block_units": 60, "increment": 60, "note": "US inbound, local number, each started minute",
    "source": "documents of the original app; an old support article of the carrier's",
    "seen_on": date(2025, 11, 21), "effective_from": datetime(2020, 1, 1, tzinfo=UTC),
}  # fmt: skip


def upgrade() -> None:
    op.add_column("calls", words("direction", default="outbound"))
    op.create_table(
        "inbound_rings",
        name("sid"),
        Column("call_id", Text, nullable=False),
        Column("number_hash", Text, nullable=False),
        Column("user_id", Text, ForeignKey("users.id", ondelete="SET NULL")),
        words("stage", default="menu"),
        count("guesses"),
        Column("at", Moment, nullable=False),
        Index("ix_inbound_rings_number", "number_hash", "at"),
        Index("ix_inbound_rings_user", "user_id", "at"),
        Index("ix_inbound_rings_at", "at"),
    )
    op.create_table("inbound_blocks", name("number_hash"), words("method"), written())
    op.bulk_insert(PRICING, [RUNG])
