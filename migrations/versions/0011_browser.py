"""The session that asked for a browser's ticket"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0011"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("stream_tokens", Column("session_jti", Text))
    op.add_column("stream_tokens", Column("session_version", BigInteger))
