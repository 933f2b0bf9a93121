"""What each persona leaves on a voicemail, where it has words of its own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import words

revision = "0019"
down_revision = "0018"

SEEDED = {
    "brad": "Hey, it's Brad, calling like you asked. You missed me this time. Go get 'em, talk soon!",
    "sarah": "Hi, it's Sarah. I called as you asked and just missed you. I hope your day is kind to you. Bye for now!",
    "alex": "Alex here, as ordered. You owe me a story next time. Goodbye!",
}
"""Whoever plays the message may not be whom it is for: nothing private is in it."""


def upgrade() -> None:
    op.add_column("personas", words("voicemail"))
    personas = sa.table("personas", sa.column("id", sa.Text), sa.column("voicemail", sa.Text))
    for ident, message in SEEDED.items():
        op.execute(personas.update().where(personas.c.id == ident).values(voicemail=message))
