"""What outlives an account says nothing of whose it was: codes sent are counted apart, numbers hashed under a key.
Who was told that they are rung back, and was not, finds out why"""

from __future__ import annotations

import hashlib
from typing import Any

from alembic import op
from sqlalchemy import Boolean, Column, ForeignKey, Index, Text, column, false, select, table

from storage.columns import BIG_ID, Moment, moment, name, words, written

revision = "0020"
down_revision = "0019"

SENT = table(
    "phone_verifications",
    *(column(text, Text) for text in ("id", "e164", "region", "network")),
    *(column(at, Moment) for at in ("created_at", "expires_at", "finished_at")),
)
CODES = table(
    "codes_sent",
    *(
        column(text, Text)
        for text in ("verification_id", "number_hash", "prefix_hash", "network_hash", "region")
    ),
    *(column(at, Moment) for at in ("at", "expires_at")),
    column("confirmed", Boolean),
)


def upgrade() -> None:
    op.add_column("users", words("missed_call_back"))
    op.add_column("users", moment("missed_call_back_at"))
    op.create_table("number_keys", name("kid"), Column("sealed", Text, nullable=False), written())
    op.create_table(
        "codes_sent",
        Column("id", BIG_ID, primary_key=True, autoincrement=True),
        Column("verification_id", Text, ForeignKey("phone_verifications.id", ondelete="SET NULL")),
        Column("number_hash", Text, nullable=False),
        Column("prefix_hash", Text, nullable=False),
        Column("network_hash", Text, nullable=False),
        words("region"),
        Column("at", Moment, nullable=False),
        Column("expires_at", Moment, nullable=False),
        Column("confirmed", Boolean, nullable=False, server_default=false()),
        Index("ix_codes_sent_verification", "verification_id"),
        Index("ix_codes_sent_number", "number_hash", "at"),
        Index("ix_codes_sent_prefix", "prefix_hash", "at"),
        Index("ix_codes_sent_network", "network_hash", "at"),
        Index("ix_codes_sent_region", "region", "at"),
    )
    # Those that no limit looks back to any more go with the next retention.
    if rows := [_counted(row) for row in op.get_bind().execute(select(SENT))]:
        op.bulk_insert(CODES, rows)
    op.drop_index("ix_phone_verifications_e164", "phone_verifications")
    op.drop_column("phone_verifications", "region")
    op.drop_column("phone_verifications", "network")


def _counted(row: Any) -> dict[str, Any]:
    """Without the key, which the next start puts to it."""
    return {
        "verification_id": row.id, "number_hash": _unkeyed("code", row.e164), "region": row.region,
        "prefix_hash": _unkeyed("code", row.e164[:-4]), "network_hash": _unkeyed("code from", row.network),
        "at": row.created_at, "expires_at": row.expires_at, "confirmed": row.finished_at is not None,
    }  # fmt: skip


def _unkeyed(purpose: str, value: str) -> str:
    return hashlib.sha256(f"callmeback {purpose} {value}".encode()).hexdigest()
